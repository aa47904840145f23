"""Restarts of the operator and of the API server change nothing that serves."""

import time

import pytest

from e2e.cluster.control_plane import Component, ControlPlane
from tests.local.service.world import World


def test_a_restart_of_the_operator_writes_nothing(world: World, main_service: str) -> None:
    before = world.wait_ready(main_service)
    writes = world.ray_relay.count("PUT")
    world.installation.stop_operator()
    world.installation.start_operator()
    reads = world.ray_relay.count("GET")
    world.wait(
        main_service, lambda _: world.ray_relay.count("GET") >= reads + 4, "the operator to look around"
    )
    after = world.get(main_service)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert world.ray_relay.count("PUT") == writes


@pytest.mark.parametrize("moment", ["before the write", "after the write", "while it starts"])
def test_a_change_is_finished_after_the_operator_was_killed(
    world: World, main_service: str, moment: str
) -> None:
    world.wait_ready(main_service)
    writes = world.ray_relay.count("PUT")
    vision = world.replicas(main_service, "VisionEncoder")
    length = 700 + ["before the write", "after the write", "while it starts"].index(moment)
    if moment == "before the write":
        world.installation.kill_operator()
    world.apply(main_service, language={"maxModelLen": length})
    if moment != "before the write":
        _poll(lambda: world.ray_relay.count("PUT") > writes)
        if moment == "while it starts":
            world.wait(
                main_service, lambda s: s["status"]["observedGeneration"] == s["metadata"]["generation"], "it"
            )
        world.installation.kill_operator()
    world.installation.start_operator()
    world.wait_ready(main_service)
    deployed = world.applications()[f"default.{main_service}"]["deployed_app_config"]
    language = next(d for d in deployed["deployments"] if d["name"] == "LanguageModel")
    assert language["user_config"]["max_model_len"] == length
    assert world.replicas(main_service, "VisionEncoder") == vision


def test_a_restart_of_the_api_server_disturbs_nobody(world: World, main_service: str) -> None:
    cluster = world.installation.cluster
    assert isinstance(cluster, ControlPlane)
    url = world.wait_ready(main_service)["status"]["url"]
    language = world.replicas(main_service, "LanguageModel")
    cluster.stop_component(Component.API_SERVER)
    assert world.answers_rightly(url)  # serving does not need it
    cluster.start_component(Component.API_SERVER)
    world.apply(main_service, language={"maxModelLen": 650})
    world.wait_ready(main_service)
    assert world.replicas(main_service, "LanguageModel") == language


def _poll(done, timeout_s: float = 120.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
