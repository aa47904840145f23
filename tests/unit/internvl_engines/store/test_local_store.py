"""The store in a folder: found by key, whole or not at all, damage told."""

import json
from pathlib import Path

import pytest

from internvl_engines.contract.artifact import ArtifactKey, onnxruntime_key
from internvl_engines.store.layout import artifact_folder, stores_for
from internvl_engines.store.local import (
    Artifact,
    ArtifactCorrupt,
    ArtifactMissing,
    find_artifact,
    write_artifact,
)

KEY = onnxruntime_key("vision", weights="sha256:" + "0" * 64)


def write(store: Path, *, key: ArtifactKey = KEY, text: str = "graph") -> Artifact:
    def fill(content: Path) -> None:
        (content / "vit.onnx").write_text(text)

    return write_artifact(
        store, key, fill, geometry={"S": 112}, verify=lambda _: {"vit.onnx": 1e-6}, tools={"torch": "2"}
    )


def test_what_was_written_is_found_by_its_key(tmp_path: Path) -> None:
    write(tmp_path)
    found = find_artifact(KEY, [tmp_path])
    assert found.folder == tmp_path / KEY.digest.removeprefix("sha256:")[:32]
    assert found.file("vit.onnx").read_text() == "graph"
    assert found.manifest.verified == {"vit.onnx": 1e-6}


def test_stores_are_searched_in_order_and_a_checkpoints_own_comes_last(tmp_path: Path) -> None:
    checkpoint, configured = tmp_path / "model", tmp_path / "store"
    stores = stores_for(checkpoint, [configured])
    write(checkpoint / "artifacts", text="own")
    assert find_artifact(KEY, stores).file("vit.onnx").read_text() == "own"
    write(configured, text="configured")
    assert find_artifact(KEY, stores).file("vit.onnx").read_text() == "configured"


def test_an_artifact_of_other_weights_is_not_found_and_the_message_says_how_to_build_it(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    other = onnxruntime_key("vision", weights="sha256:" + "1" * 64)
    with pytest.raises(ArtifactMissing, match="internvl_engines export /models/x --role vision"):
        find_artifact(other, [tmp_path], checkpoint=Path("/models/x"))


def test_one_flipped_byte_is_told_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    file = write(tmp_path).file("vit.onnx")
    file.write_text("grapi")
    with pytest.raises(ArtifactCorrupt, match=r"vit\.onnx differs from the SHA-256.*export it again"):
        find_artifact(KEY, [tmp_path])


def test_a_truncated_or_missing_file_is_told(tmp_path: Path) -> None:
    file = write(tmp_path).file("vit.onnx")
    file.write_text("gr")
    with pytest.raises(ArtifactCorrupt, match="has 2 bytes, its manifest says 5"):
        find_artifact(KEY, [tmp_path])
    file.unlink()
    with pytest.raises(ArtifactCorrupt, match="is missing"):
        find_artifact(KEY, [tmp_path])


def test_a_manifest_that_is_broken_or_of_another_key_is_told(tmp_path: Path) -> None:
    manifest = write(tmp_path).folder / "manifest.json"
    document = json.loads(manifest.read_text())
    document["key"]["opset"] = 21
    manifest.write_text(json.dumps(document))
    with pytest.raises(ArtifactCorrupt, match="another key"):
        find_artifact(KEY, [tmp_path])
    manifest.write_text("{}")
    with pytest.raises(ArtifactCorrupt, match="cannot be read"):
        find_artifact(KEY, [tmp_path])


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    artifact = write(tmp_path)
    (artifact.folder / "content/extra.onnx").write_text("x")
    with pytest.raises(ArtifactCorrupt, match=r"lists no file extra\.onnx"):
        artifact.file("extra.onnx")


def test_a_failed_build_or_check_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    def fail(_: Path) -> dict[str, float]:
        raise ValueError("parity")

    write(tmp_path, text="old")
    with pytest.raises(ValueError, match="parity"):
        write_artifact(tmp_path, KEY, lambda _: None, geometry={}, verify=fail, tools={})
    assert [path.name for path in tmp_path.iterdir()] == [artifact_folder(tmp_path, KEY).name]
    assert find_artifact(KEY, [tmp_path]).file("vit.onnx").read_text() == "old"


def test_an_artifact_is_invisible_until_it_is_complete(tmp_path: Path) -> None:
    def fill(content: Path) -> None:
        (content / "vit.onnx").write_text("half")
        with pytest.raises(ArtifactMissing):
            find_artifact(KEY, [tmp_path])

    write_artifact(tmp_path, KEY, fill, geometry={}, verify=lambda _: {}, tools={})
    assert find_artifact(KEY, [tmp_path])


def test_writing_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, text="old")
    write(tmp_path, text="new")
    assert find_artifact(KEY, [tmp_path]).file("vit.onnx").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1
