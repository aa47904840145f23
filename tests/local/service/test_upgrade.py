"""A newer operator and its CRD take over what an older one made, and nothing restarts."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.service.world import World, condition

ROOT = Path(__file__).parents[3]
OLDER = "dc80832741280d2d325a499ae31f3b900eeca1c4"
"""The last commit before services could have pods of their own; fields were added and rights grew since."""
PARTS = (
    *("operator", "manifests", "runtimes/internvl_runtimes", "engines/internvl_engines/__init__.py"),
    *("engines/internvl_engines/contract", "engines/internvl_engines/store"),
)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The sources of then."""
    words = ["git", "-C", str(ROOT), "archive", OLDER, *PARTS]
    archive = subprocess.run(words, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def service_of_then(world: World, older: Path) -> Iterator[str]:
    """A service that the older operator has made under the older CRD."""
    world.installation.stop_operator()
    world.installation.install_kind(older)
    world.installation.start_operator(older)
    world.apply("of-then")
    world.wait_ready("of-then")
    yield "of-then"
    world.delete("of-then")


def test_an_upgrade_restarts_no_replica_and_writes_nothing_to_ray(world: World, service_of_then: str) -> None:
    fields = world.installation.kubectl("explain", "internvlservice.spec", "--recursive")
    assert "gateway" not in fields, "the older CRD is in force"
    replicas = {
        name: world.replicas(service_of_then, name) for name in ("VisionEncoder", "LanguageModel", "Gateway")
    }
    assert all(replicas.values())
    url = world.get(service_of_then)["status"]["url"]

    world.installation.stop_operator()
    world.installation.install_kind()
    writes, reads = world.ray_relay.count("PUT"), world.ray_relay.count("GET")
    world.installation.start_operator()
    world.wait(
        service_of_then, lambda _: world.ray_relay.count("GET") >= reads + 4, "the operator to look around"
    )
    after = world.wait_ready(service_of_then)
    assert condition(after, "Ready")["reason"] == "Ready"
    assert world.ray_relay.count("PUT") == writes
    assert {name: world.replicas(service_of_then, name) for name in replicas} == replicas
    assert world.answers_rightly(url)
    assert "gateway" in world.installation.kubectl("explain", "internvlservice.spec", "--recursive")
