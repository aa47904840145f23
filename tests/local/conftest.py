"""Real parts on this machine: fixtures shared by the suites that need Ray."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.ray_nodes import RayNodes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The checkpoint that is served: internvl-nano, or any other with its artifacts."""
    path = Path(
        os.environ.get("INTERNVL_TEST_CHECKPOINT", ROOT / "engines/internvl_engines/models/internvl-nano")
    )
    assert (path / "artifacts").is_dir(), f"{path} has no artifacts: run `make nano`"
    return path


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayNodes]:
    """A Ray cluster of a head (pool gateway) and one node each in the pools vision and language."""
    with RayNodes() as nodes:
        yield nodes
