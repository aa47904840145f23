"""Which files a role reads when it loads, with the shipped model: its own part, and with a seal no weights besides."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from internvl_engines.store.layout import seal_file
from internvl_engines.store.seal import write_seal
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.contract.serve_args import GatewayConfig, LanguageConfig, ModelSource, VisionConfig
from internvl_runtimes.deployments.gateway import Gateway
from internvl_runtimes.deployments.language_model import LanguageModel
from internvl_runtimes.deployments.loading import open_artifact, open_checkpoint
from internvl_runtimes.deployments.vision_encoder import VisionEncoder
from tests.unit.internvl_runtimes.deployments.fakes import FakeSides, Recorded

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"
LONG_AGO = 1_700_000_000
WEIGHTS = "model.safetensors"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the shipped model that has no seal."""
    target = tmp_path / "nano"
    shutil.copytree(SHIPPED, target, ignore=shutil.ignore_patterns("seal.json"))
    os.utime(target / WEIGHTS, (LONG_AGO, LONG_AGO))
    return target


@pytest.fixture
def sealed(checkpoint: Path) -> Path:
    write_seal(checkpoint)
    return checkpoint


def source(checkpoint: Path, revision: str | None = None) -> ModelSource:
    return ModelSource(uri=checkpoint.as_uri(), revision=revision, name="nano")


async def load(role: str, model: ModelSource) -> dict[str, float]:
    """Load a replica of the role; the bytes that it counted, by what they were."""
    recorded = Recorded()
    replica: Any
    match role:
        case "vision":
            replica = VisionEncoder(recorded)
            config: Any = VisionConfig(generation="v", model=model)
        case "language":
            replica = LanguageModel(recorded)
            config = LanguageConfig(generation="l", model=model)
        case _:
            sides: Any = FakeSides([])
            replica = Gateway(vision=lambda _: sides, language=sides, recorder=recorded)
            config = GatewayConfig(generation="g", model=model, vision_application="v")
    await replica.reconfigure(config)
    counted = {
        tags["what"]: value
        for name, value, tags in recorded.values
        if name == metrics.MODEL_BYTES_READ.name and tags["role"] == role
    }
    assert sum(counted.values()) == recorded.total(metrics.MODEL_BYTES_READ)
    return counted


def size(*files: Path) -> int:
    return sum(file.stat().st_size for file in files)


def part_of(role: str, checkpoint: Path) -> dict[str, int]:
    """Sizes of what the role needs, from the disk."""
    config, tokenizer = checkpoint / "config.json", checkpoint / "tokenizer.json"
    marker = {"vision": "vit.onnx", "language": "decoder.onnx"}.get(role)
    graphs = [
        file for file in checkpoint.glob("artifacts/*/content/*") if (file.parent / f"{marker}").exists()
    ]
    return {
        "description": size(config) if role == "vision" else size(config, tokenizer),
        "weights": 0,
        "artifact": size(*graphs),
    }


@pytest.mark.parametrize("role", ["vision", "language", "gateway"])
async def test_a_role_of_a_sealed_checkpoint_reads_its_own_part_and_no_weights(
    role: str, sealed: Path
) -> None:
    counted = await load(role, source(sealed))
    assert counted == part_of(role, sealed)
    assert (counted["artifact"] > 0) == (role != "gateway")


@pytest.mark.parametrize("role", ["vision", "language", "gateway"])
async def test_the_weights_of_a_sealed_checkpoint_are_not_opened_even_where_a_revision_is_asked_for(
    role: str, sealed: Path
) -> None:
    revision = open_checkpoint(source(sealed)).revision
    (sealed / WEIGHTS).write_bytes(bytes(size(sealed / WEIGHTS)))  # whoever opens them finds zeros
    os.utime(sealed / WEIGHTS, (LONG_AGO, LONG_AGO))
    assert (await load(role, source(sealed, revision)))["weights"] == 0


@pytest.mark.parametrize("role", ["vision", "language"])
async def test_without_a_seal_the_weights_are_counted_besides(role: str, checkpoint: Path) -> None:
    assert await load(role, source(checkpoint)) == {
        **part_of(role, checkpoint),
        "weights": size(checkpoint / WEIGHTS),
    }


async def test_a_gateway_reads_weights_only_where_a_revision_is_asked_for(checkpoint: Path) -> None:
    assert (await load("gateway", source(checkpoint)))["weights"] == 0
    revision = open_checkpoint(source(checkpoint)).revision
    assert (await load("gateway", source(checkpoint, revision)))["weights"] == size(checkpoint / WEIGHTS)


def test_only_the_weight_files_that_the_seal_does_not_tell_are_read(sealed: Path) -> None:
    (sealed / "more.safetensors").write_bytes(b"123")
    opened = open_checkpoint(source(sealed))
    assert opened.hashed_bytes == 3
    seal_file(sealed).unlink()
    assert open_checkpoint(source(sealed)).revision == opened.revision


def test_an_exchanged_weight_file_is_another_revision_though_the_seal_is_still_there(sealed: Path) -> None:
    before = open_checkpoint(source(sealed)).revision
    weights = bytearray((sealed / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (sealed / WEIGHTS).write_bytes(weights)  # of the same size
    with pytest.raises(ReplicaFailed) as caught:
        open_checkpoint(source(sealed, before))
    assert caught.value.code is FailureCode.REVISION_MISMATCH
    with pytest.raises(ReplicaFailed) as caught:
        open_artifact("vision", open_checkpoint(source(sealed)), ())
    assert caught.value.code is FailureCode.ARTIFACT_MISSING


@pytest.fixture
def log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """What a replica logs, whether or not Ray was imported before and keeps its loggers to itself."""
    logger = logging.getLogger("ray.serve")
    monkeypatch.setattr(logger, "propagate", False)
    caplog.set_level(logging.INFO, logger="ray.serve")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def messages(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage() for record in log.records if (record.name, record.levelno) == ("ray.serve", level)
    ]


async def test_a_damaged_seal_is_logged_and_the_weights_are_read(
    sealed: Path, log: pytest.LogCaptureFixture
) -> None:
    seal_file(sealed).write_text('{"weights"')
    assert (await load("language", source(sealed)))["weights"] == size(sealed / WEIGHTS)
    (warning,) = messages(log, logging.WARNING)
    assert str(seal_file(sealed)) in warning and "\n" not in warning


async def test_the_log_says_what_was_read_and_how_to_spare_the_weights(
    checkpoint: Path, log: pytest.LogCaptureFixture
) -> None:
    await load("vision", source(checkpoint))
    write_seal(checkpoint)
    await load("vision", source(checkpoint))
    unsealed, sealed = messages(log, logging.INFO)
    assert f"Loaded vision from {checkpoint}" in unsealed
    assert f"weights {size(checkpoint / WEIGHTS) / 1e6:.1f} MB" in unsealed
    assert unsealed.endswith("Where the folder can be written: python -m internvl_engines seal FOLDER")
    assert "weights 0.0 MB" in sealed and "internvl_engines seal" not in sealed
