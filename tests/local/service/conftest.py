"""The whole path with real parts, brought up once: API server, operator, Ray, internvl-nano."""

from collections.abc import Iterator

import pytest

from e2e.cluster.relay import Relay
from e2e.demo.parts import LocalInstallation
from tests.local.service.world import World

# A killed operator's Lease runs out, and a deletion is given up, sooner than in production: the tests wait for both.
SETTINGS = {"INTERNVL_OPERATOR_LEASE_DURATION_S": "5", "INTERNVL_OPERATOR_DELETION_DEADLINE_S": "30"}


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """All parts, for all tests of this folder."""
    with (
        LocalInstallation(settings=SETTINGS) as installation,
        Relay(installation.ray.dashboard_url) as relay,
    ):
        yield World(installation, relay)


@pytest.fixture(scope="package")
def main_service(world: World) -> str:
    """A service that most tests share; each leaves it Ready."""
    world.apply("main")
    world.wait_ready("main")
    return "main"
