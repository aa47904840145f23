import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from e2e.images.layout import Image, ImageLayout

PAUSE = Image("pause", "abc")


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    layout = ImageLayout(tmp_path / "layout")
    layout.add_from_files(PAUSE, {"/pause": program}, entrypoint=["/pause"])
    return layout


def archive_of(layout: ImageLayout, known: frozenset[str] = frozenset()) -> dict[str, bytes]:
    output = io.BytesIO()
    layout.write_archive(PAUSE, output, known=known)
    output.seek(0)
    with tarfile.open(fileobj=output) as archive:
        contents = {}
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            contents[member.name] = file.read()
        return contents


def test_an_archive_names_its_image_as_pods_do(layout: ImageLayout) -> None:
    index = json.loads(archive_of(layout)["index.json"])
    assert index["manifests"][0]["annotations"] == {"io.containerd.image.name": "internvl.local/pause:abc"}


def test_every_blob_of_the_manifest_is_in_the_archive(layout: ImageLayout) -> None:
    names = {f"blobs/{digest.replace(':', '/')}" for digest in layout.blobs(PAUSE)}
    assert names == {name for name in archive_of(layout) if name.startswith("blobs/")}
    assert len(names) == 3


def test_what_a_node_has_does_not_travel_but_the_manifest_does(layout: ImageLayout) -> None:
    blobs = layout.blobs(PAUSE)
    found = [name for name in archive_of(layout, frozenset(blobs)) if name.startswith("blobs/")]
    assert found == [f"blobs/{blobs[0].replace(':', '/')}"]


def test_the_same_program_makes_the_same_image(layout: ImageLayout, tmp_path: Path) -> None:
    again = ImageLayout(tmp_path / "again")
    again.add_from_files(PAUSE, {"/pause": tmp_path / "pause"}, entrypoint=["/pause"])
    assert again.blobs(PAUSE) == layout.blobs(PAUSE)


def test_another_image_leaves_the_first_where_it_is(layout: ImageLayout, tmp_path: Path) -> None:
    other = Image("pause", "def")
    assert not layout.has(other)
    layout.add_from_files(other, {"/other": tmp_path / "pause"}, entrypoint=["/other"])
    assert layout.has(PAUSE)
    assert layout.has(other)


def docker_archive(path: Path, *layers: bytes) -> Path:
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": digests}}).encode()
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [], "Layers": names}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in [
            ("manifest.json", manifest),
            ("c.json", config),
            *zip(names, layers, strict=True),
        ]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_of_an_archive_only_new_layers_are_written(layout: ImageLayout, tmp_path: Path) -> None:
    old, new = Image("runtime", "old"), Image("runtime", "new")
    layout.add_docker_archive(old, docker_archive(tmp_path / "old.tar", b"environment", b"code"))
    kept = layout.folder / "blobs/sha256" / hashlib.sha256(b"environment").hexdigest()
    before = kept.stat().st_mtime_ns
    layout.add_docker_archive(new, docker_archive(tmp_path / "new.tar", b"environment", b"changed"))
    assert kept.stat().st_mtime_ns == before
    assert len(set(layout.blobs(new)) - set(layout.blobs(old))) == 3, "manifest, configuration, one layer"
    assert layout.has(old)


def test_a_layer_that_is_not_what_its_digest_says_is_refused(layout: ImageLayout, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "broken.tar", b"environment")
    path.write_bytes(path.read_bytes().replace(b"environment", b"environmenT"))
    with pytest.raises(ValueError, match="not what its image says"):
        layout.add_docker_archive(Image("runtime", "broken"), path)
    assert not layout.has(Image("runtime", "broken"))


def test_an_image_with_a_lost_blob_is_not_there(layout: ImageLayout) -> None:
    lost = layout.blobs(PAUSE)[-1].partition(":")[2]
    (layout.folder / "blobs/sha256" / lost).unlink()
    assert not layout.has(PAUSE)
