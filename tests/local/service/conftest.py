"""The whole path with real parts, brought up once: API server, operator, Ray, internvl-nano."""

from collections.abc import Iterator

import pytest

from e2e.cluster.counting_proxy import CountingProxy
from e2e.demo.parts import LocalInstallation
from tests.local.service.world import World

# A killed operator's Lease runs out sooner than in production: the tests wait for it several times.
SETTINGS = {"INTERNVL_OPERATOR_LEASE_DURATION_S": "5"}


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """All parts, for all tests of this folder."""
    with (
        LocalInstallation(settings=SETTINGS) as installation,
        CountingProxy(installation.ray.dashboard_url) as proxy,
    ):
        yield World(installation, proxy)


@pytest.fixture(scope="session")
def main_service(world: World) -> str:
    """A service that most tests share; each leaves it Ready."""
    world.apply("main")
    world.wait_ready("main")
    return "main"
