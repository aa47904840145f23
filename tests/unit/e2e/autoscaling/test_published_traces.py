"""Which published traces a run has, and what is said where they are not there."""

import sys
from pathlib import Path

import pytest

from e2e.bench.autoscaling import __main__ as command
from e2e.bench.autoscaling.traces import azure, servegen
from e2e.bench.autoscaling.traces.catalogue import TRACES


def options(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path | None:
    monkeypatch.setattr(sys, "argv", ["autoscaling", *arguments])
    folder: Path | None = command._options().traces
    return folder


def test_a_folder_that_is_asked_for_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert options(monkeypatch, "--traces", str(tmp_path)) == tmp_path
    absent = tmp_path / "absent"
    with pytest.raises(SystemExit) as refused:
        options(monkeypatch, "--traces", str(absent))
    assert refused.value.code == 2
    assert f"--traces {absent} is no folder: name the one" in capsys.readouterr().err


def test_a_folder_that_nobody_asked_for_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SHARED_TRACES", tmp_path)
    assert options(monkeypatch) == tmp_path
    monkeypatch.setattr(command, "SHARED_TRACES", tmp_path / "absent")
    assert options(monkeypatch) is None


def test_each_trace_that_is_made_for_want_of_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    stamps = "TIMESTAMP\r\n" + "".join(f"2023-11-16 18:{minute:02}:00.0000000\r\n" for minute in range(10))
    text = tmp_path / azure.TEXT
    text.mkdir()
    code, conversations = (text / f"AzureLLMInferenceTrace_{kind}.csv" for kind in ("code", "conv"))
    code.write_text(stamps)
    assert list(command.missing(tmp_path, ["smooth", "bursts", "servegen", "bursts"])) == [
        f"bursts is made up: {conversations} is missing",
        f"servegen is made up: no chunk-*-trace.csv in {tmp_path / servegen.FOLDER}",
    ]
    conversations.write_text(stamps)
    assert list(command.missing(tmp_path, ["bursts"])) == []
    assert TRACES["bursts"].traffic(tmp_path, 60).note.startswith("Azure LLM 2023")
