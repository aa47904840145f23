from pathlib import Path

import pytest

from e2e.setup import progress, tools
from e2e.setup.cache import Cache
from e2e.setup.errors import ToolMissing


def test_without_ensurepip_and_rights_the_command_to_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ToolMissing, match="apt-get install -y python3-venv"):
        tools.ensure_uv(Cache(tmp_path))


def test_without_ensurepip_root_installs_it_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if commands else None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        progress, "run_command", lambda command, **_: commands.append(" ".join(map(str, command)))
    )

    def pretend_filled(final: Path, fill: object) -> Path:
        assert callable(fill)
        fill(final)
        return final

    cache = Cache(tmp_path)
    monkeypatch.setattr(Cache, "complete_in_place", lambda self, final, fill: pretend_filled(final, fill))
    tools.ensure_uv(cache)
    assert commands[0] == "apt-get update"
    assert commands[1].startswith("apt-get install -y") and commands[1].endswith("python3-venv")
    assert "installing Debian's python3-venv" in capsys.readouterr().err


def test_without_curl_and_rights_the_command_to_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ToolMissing, match=r"curl is not on PATH\. Run: sudo apt-get install -y curl"):
        tools.ensure_curl(Cache(tmp_path))
