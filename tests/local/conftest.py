"""Real parts on this machine: what all folders here need."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 1800.0
"""For a hang: each wait within a test has a limit of its own, and says what it waited for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of real parts a limit, unless it says otherwise itself: for a hang, not for a slow machine."""
    for item in items:
        if "tests/local/" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The checkpoint that is served: internvl-nano, or any other with its artifacts."""
    path = Path(
        os.environ.get("INTERNVL_TEST_CHECKPOINT", ROOT / "engines/internvl_engines/models/internvl-nano")
    )
    assert (path / "artifacts").is_dir(), f"{path} has no artifacts: run `make nano`"
    return path
