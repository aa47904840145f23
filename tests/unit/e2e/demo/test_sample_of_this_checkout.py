import runpy
import sys
from pathlib import Path

import pytest

from internvl_operator.standalone.service_file import read_service_file


def test_the_written_sample_is_a_service_whose_model_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "build" / "service.yaml"
    monkeypatch.setattr(sys, "argv", ["service", str(target)])
    monkeypatch.delitem(sys.modules, "e2e.demo.service", raising=False)
    runpy.run_module("e2e.demo.service", run_name="__main__")
    [written] = read_service_file(target)
    folder = Path(written.spec.model.uri.removeprefix("file://"))
    assert (folder / "config.json").is_file()
    assert (folder / "artifacts").is_dir()
