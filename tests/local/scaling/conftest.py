"""Real parts for scaling, and Debian's Prometheus."""

from collections.abc import Iterator

import pytest

from e2e.cluster.prometheus_server import PrometheusServer
from e2e.scaling.world import World, world_of


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service whose load is read from the nodes."""
    with world_of(tmp_path_factory.mktemp("scaling")) as world:
        world.apply("by-nodes")
        world.wait_ready()
        yield world


@pytest.fixture(autouse=True)
def _no_load_is_left(world: World) -> Iterator[None]:
    """What a test that failed has left running would fail the next ones too."""
    yield
    for load in world.loads:
        if load.process.poll() is None:
            load.stopped()


@pytest.fixture
def prometheus(world: World) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes the same nodes; the operator is started anew with it, and without it at the end."""
    with PrometheusServer(world.installation.ray.dashboard_url) as server, world.with_prometheus(server.url):
        yield server
