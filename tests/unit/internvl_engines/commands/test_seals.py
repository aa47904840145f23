"""``python -m internvl_engines seal``: for a checkpoint that has its artifacts already."""

import builtins
import importlib
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from internvl_engines import __main__ as command
from internvl_engines.contract.checkpoint import checkpoint_digest
from internvl_engines.store.seal import read_seal

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    shutil.copyfile(SHIPPED / "config.json", tmp_path / "config.json")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    os.utime(tmp_path / "model.safetensors", (1_700_000_000, 1_700_000_000))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["internvl_engines", *map(str, arguments)])
    return command.main()


def test_it_prints_the_digest_and_runs_where_no_torch_is(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really_import = builtins.__import__

    def without_torch(name: str, *args: Any, **kwargs: Any) -> Any:
        assert not name.startswith(("torch", "internvl_engines.export", "internvl_engines.verify")), name
        return really_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    importlib.reload(command)
    assert run(monkeypatch, "seal", checkpoint) == 0
    assert checkpoint_digest(checkpoint) in capsys.readouterr().out
    assert read_seal(checkpoint).sha256(checkpoint / "model.safetensors")


def test_a_model_that_nobody_could_serve_is_told_before_it_is_hashed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "config.json").write_text('{"model_type": "llama"}')
    assert run(monkeypatch, "seal", checkpoint) == 1
    assert "supported is internvl_chat" in capsys.readouterr().err
    assert run(monkeypatch, "seal", checkpoint / "nowhere") == 1
    assert "There is no checkpoint folder" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_what_is_no_checkpoint_is_not_sealed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    (checkpoint / missing).unlink()
    assert run(monkeypatch, "seal", checkpoint) == 1
    assert f"{checkpoint} holds no" in capsys.readouterr().err
    assert not list(checkpoint.glob("*seal*"))


def test_an_export_seals_and_a_folder_that_takes_no_seal_is_no_failed_export(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    built: list[tuple[object, ...]] = []
    parity = SimpleNamespace(ParityFailed=ArithmeticError)  # the module itself imports torch
    monkeypatch.setitem(sys.modules, "internvl_engines.verify.parity", parity)
    monkeypatch.setattr(command, "_build", lambda *arguments: built.append(arguments))
    assert run(monkeypatch, "export", checkpoint, "--store", tmp_path / "store", "--role", "vision") == 0
    assert read_seal(checkpoint).weights

    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert run(monkeypatch, "export", checkpoint) == 0
    assert "Read-only file system" in capsys.readouterr().err
    assert built == [(checkpoint, tmp_path / "store", "vision"), (checkpoint, checkpoint / "artifacts", None)]
