"""Digests of checkpoints and artifact keys: stable, and sensitive to everything that makes them."""

from pathlib import Path

import pytest

from internvl_engines.contract.artifact import ArtifactKey, onnxruntime_key
from internvl_engines.contract.checkpoint import CheckpointNotFound, checkpoint_digest

KEY = ArtifactKey(
    role="vision",
    engine="onnxruntime",
    weights="sha256:00",
    recipe="onnx-vision-1",
    precision="fp32",
    device="cpu",
    opset=20,
)


def test_a_key_has_the_same_digest_in_every_process_and_release() -> None:
    # A literal: whoever changes the canonical form loses every artifact that was ever stored.
    assert KEY.digest == "sha256:fcf172561a4133a5b7a2f464c2f9c4729ef1fd18ff60bcbdff9189dcf3753bfa"


@pytest.mark.parametrize("field", list(ArtifactKey.model_fields))
def test_every_field_of_a_key_is_in_its_digest(field: str) -> None:
    other = {"role": "language", "opset": 21}.get(field, "another")
    assert KEY.model_copy(update={field: other}).digest != KEY.digest


def test_the_two_roles_of_one_checkpoint_have_different_artifacts() -> None:
    assert onnxruntime_key("vision", weights="a").digest != onnxruntime_key("language", weights="a").digest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    return tmp_path


def test_a_checkpoint_digest_does_not_depend_on_where_it_lies_nor_on_its_readme(
    checkpoint: Path, tmp_path: Path
) -> None:
    before = checkpoint_digest(checkpoint)
    (checkpoint / "README.md").write_text("words")
    assert checkpoint_digest(checkpoint) == before
    assert checkpoint_digest(checkpoint.rename(tmp_path.parent / "elsewhere")) == before


@pytest.mark.parametrize("file", ["config.json", "model-1.safetensors", "model-2.safetensors"])
def test_a_checkpoint_digest_sees_each_file_change(checkpoint: Path, file: str) -> None:
    before = checkpoint_digest(checkpoint)
    (checkpoint / file).write_bytes((checkpoint / file).read_bytes() + b" ")
    assert checkpoint_digest(checkpoint) != before


def test_a_checkpoint_digest_sees_weights_swapped_between_files(checkpoint: Path) -> None:
    before = checkpoint_digest(checkpoint)
    (checkpoint / "model-1.safetensors").write_bytes(b"two")
    (checkpoint / "model-2.safetensors").write_bytes(b"one")
    assert checkpoint_digest(checkpoint) != before


@pytest.mark.parametrize("missing", ["config.json", "*.safetensors"])
def test_an_incomplete_checkpoint_has_no_digest(checkpoint: Path, missing: str) -> None:
    for file in checkpoint.glob(missing):
        file.unlink()
    with pytest.raises(CheckpointNotFound, match="holds no"):
        checkpoint_digest(checkpoint)
