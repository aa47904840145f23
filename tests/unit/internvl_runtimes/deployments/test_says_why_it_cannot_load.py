"""Each failure to load has its code and says what to do."""

from pathlib import Path

import pytest

from internvl_engines.store.local import ArtifactCorrupt
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed, parse_failure
from internvl_runtimes.contract.serve_args import ModelSource, VisionConfig
from internvl_runtimes.deployments.loading import (
    load_failures,
    open_artifact,
    open_checkpoint,
    parse_config,
)

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"


def source(path: Path | str, revision: str | None = None) -> ModelSource:
    return ModelSource(uri=f"file://{path}", revision=revision, name="m")


def code_of(call: object, *args: object) -> FailureCode:
    with pytest.raises(ReplicaFailed) as caught:
        call(*args)  # type: ignore[operator]
    seen = parse_failure(f"Traceback ...\n{type(caught.value).__name__}: {caught.value}\n")
    assert seen is not None and seen.message.endswith((".", "again.", "vision"))
    return seen.code


def test_no_folder_is_not_found(tmp_path: Path) -> None:
    assert code_of(open_checkpoint, source(tmp_path / "none")) is FailureCode.MODEL_NOT_FOUND


def test_a_folder_with_another_config_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert code_of(open_checkpoint, source(tmp_path)) is FailureCode.MODEL_INVALID


def test_another_revision_is_a_mismatch() -> None:
    assert code_of(open_checkpoint, source(SHIPPED, "sha256:" + "0" * 12)) is FailureCode.REVISION_MISMATCH


def test_a_shortened_revision_matches() -> None:
    revision = open_checkpoint(source(SHIPPED)).revision
    assert open_checkpoint(source(SHIPPED, revision[:19])).revision == revision


def test_no_artifact_is_missing_and_the_command_is_given(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    checkpoint = open_checkpoint(source(tmp_path))
    with pytest.raises(ReplicaFailed, match=r"export .* --role vision") as caught:
        open_artifact("vision", checkpoint, ())
    assert caught.value.code is FailureCode.ARTIFACT_MISSING


def test_damaged_files_are_corrupt() -> None:
    with pytest.raises(ReplicaFailed) as caught, load_failures():
        raise ArtifactCorrupt("x differs from its manifest.")
    assert caught.value.code is FailureCode.ARTIFACT_CORRUPT


def test_a_remote_uri_is_a_wrong_configuration() -> None:
    remote = ModelSource(uri="hf://a/b", name="m")
    assert code_of(open_checkpoint, remote) is FailureCode.CONFIG_INVALID


def test_a_configuration_of_another_version_names_its_field() -> None:
    with pytest.raises(ReplicaFailed, match="flavour") as caught:
        parse_config(
            VisionConfig, {"generation": "g", "model": source("/m").model_dump(), "flavour": "sweet"}
        )
    assert caught.value.code is FailureCode.CONFIG_INVALID


def test_what_is_not_known_stays_what_it_was() -> None:
    with pytest.raises(ZeroDivisionError), load_failures():
        raise ZeroDivisionError
