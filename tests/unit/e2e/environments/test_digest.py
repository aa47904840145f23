from pathlib import Path

import pytest

from e2e.setup.environments import DEV, RUN, DownloadCount, environment_digest

PROJECT = """\
[project]
name = "internvl-operator"
version = "0.1.0"
dependencies = ["pydantic>=2"]
[project.optional-dependencies]
operator = ["kopf"]
[dependency-groups]
demo = ["cryptography"]
[tool.ruff]
line-length = 110
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    project, constraints = tmp_path / "pyproject.toml", tmp_path / "constraints.txt"
    project.write_text(PROJECT)
    constraints.write_text("kopf==1.45.2\n")
    return project, constraints


def digest(files: tuple[Path, Path]) -> str:
    return environment_digest(RUN, project=files[0], constraints=files[1])


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.1.0", "0.2.0"), ("line-length = 110", "line-length = 100")],
)
def test_an_edit_that_is_no_dependency_keeps_the_environment(
    files: tuple[Path, Path], old: str, new: str
) -> None:
    before = digest(files)
    files[0].write_text(PROJECT.replace(old, new))
    assert digest(files) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("pydantic>=2", "pydantic>=3"), ('"kopf"', '"kopf>=1"'), ("cryptography", "cryptography>=46")],
)
def test_a_changed_dependency_is_another_environment(files: tuple[Path, Path], old: str, new: str) -> None:
    before = digest(files)
    files[0].write_text(PROJECT.replace(old, new))
    assert digest(files) != before


def test_a_changed_constraint_is_another_environment(files: tuple[Path, Path]) -> None:
    before = digest(files)
    files[1].write_text("kopf==1.45.3\n")
    assert digest(files) != before


def test_another_python_is_another_environment(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(files)
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    assert digest(files) != before


def test_run_and_dev_differ(files: tuple[Path, Path]) -> None:
    assert environment_digest(DEV, project=files[0], constraints=files[1]) != digest(files)


def test_what_a_user_gets_has_no_torch() -> None:
    assert "train" not in RUN.groups
    assert "train" in DEV.groups


def test_downloads_are_added_up() -> None:
    count = DownloadCount()
    count(1, "Resolved 70 packages in 12ms")
    assert count(2, "Using Python 3.11") == ""
    count(3, "Downloading ray (71.5MiB)")
    assert count(4, "Downloading torch (1.5GiB)") == "(1,608 MB of large packages downloaded)"
