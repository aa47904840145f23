"""The two applications on a real Ray, deployed once for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.ray_nodes import RayNodes
from internvl_engines.contract.checkpoint import read_checkpoint_config
from tests.local.dataplane.service import Service, printed

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def large_picture(checkpoint: Path) -> bytes:
    """One of so many tiles, none of them compressed, that its features are larger than Ray returns inline (100 KB)."""
    config = read_checkpoint_config(checkpoint)
    picture_bytes = printed(1, (config.image_size * 4, config.image_size * 3))
    assert 13 * config.tokens_per_tile * config.language.hidden_size * 4 > 100 * 1024
    return picture_bytes


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[RayNodes]:
    """A Ray cluster of a head (pool gateway) and one node each in the pools vision and language."""
    # What a user's replicas run in. Among training's packages Ray's dozen processes take twice as long to import.
    with RayNodes(python=ROOT / ".venv" / "bin" / "python") as nodes:
        yield nodes


@pytest.fixture(scope="package")
def _deployed(ray_cluster: RayNodes, checkpoint: Path) -> Service:
    service = Service(ray_cluster, checkpoint)
    service.apply()
    return service


@pytest.fixture
def service(_deployed: Service) -> Iterator[Service]:
    """The running service, in its first configuration again after the test."""
    yield _deployed
    _deployed.apply()
