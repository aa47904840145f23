"""Real parts on this machine: what all folders here need."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The checkpoint that is served: internvl-nano, or any other with its artifacts."""
    path = Path(
        os.environ.get("INTERNVL_TEST_CHECKPOINT", ROOT / "engines/internvl_engines/models/internvl-nano")
    )
    assert (path / "artifacts").is_dir(), f"{path} has no artifacts: run `make nano`"
    return path
