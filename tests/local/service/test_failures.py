"""The status tells the truth about what is broken, says what to do, and heals by itself."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from e2e.demo.service import MODELS
from tests.local.service.world import World, condition


def test_a_wrong_path_is_named_and_heals_when_the_model_appears(world: World, tmp_path: Path) -> None:
    missing = tmp_path / "later"
    world.apply("lost", uri=f"file://{missing}")
    try:
        service = world.wait_reason("lost", "ModelNotFound", timeout_s=300)
        assert str(missing) in condition(service, "Ready")["message"]
        assert "model.uri" in condition(service, "Ready")["message"]
        shutil.copytree(MODELS / "internvl-nano", missing)
        world.wait_ready("lost")  # nobody touched the object
    finally:
        world.delete("lost")


def test_a_model_that_cannot_load_is_named(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(MODELS / "internvl-nano", broken)
    (broken / "config.json").write_text("{}")
    world.apply("broken", uri=f"file://{broken}")
    try:
        service = world.wait_reason("broken", "ModelInvalid", timeout_s=300)
        assert "config.json" in condition(service, "Ready")["message"]
    finally:
        world.delete("broken")


def test_a_vision_replica_that_hangs_is_seen_and_replaced(world: World, main_service: str) -> None:
    world.wait_ready(main_service)
    before = world.replicas(main_service, "VisionEncoder")
    process = replica_process(main_service, "VisionEncoder")
    os.kill(process, signal.SIGSTOP)
    try:
        world.wait(
            main_service,
            lambda service: condition(service, "VisionReady")["status"] != "True",
            "VisionReady to go",
            timeout_s=180,
        )
        world.wait_ready(main_service)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert world.replicas(main_service, "VisionEncoder").isdisjoint(before)


def test_a_ray_that_refuses_is_seen_within_5_s_and_one_that_hangs_within_15_s(
    world: World, main_service: str
) -> None:
    world.wait_ready(main_service)
    world.ray_relay.shut()
    world.wait_reason(main_service, "RayUnreachable", timeout_s=5)
    world.ray_relay.open()
    world.wait_ready(main_service, timeout_s=60)
    world.ray_relay.fall_silent(new_ones_too=True)
    world.wait_reason(main_service, "RayTimedOut", timeout_s=15)
    world.ray_relay.speak_again()
    world.wait_ready(main_service, timeout_s=60)


def test_a_dead_ray_is_seen_within_seconds_and_everything_returns_with_it(
    world: World, main_service: str
) -> None:
    world.wait_ready(main_service)
    ray = world.installation.ray
    for node in ray.nodes:
        ray.kill(node.name)
    service = world.wait_reason(main_service, "RayUnreachable", timeout_s=5)
    assert world.ray_relay.url in condition(service, "Ready")["message"]
    for node in ray.nodes:
        ray.restart(node.name)
    url = world.wait_ready(main_service)["status"]["url"]
    assert world.answers_rightly(url)


def replica_process(service: str, deployment: str) -> int:
    """Process id of the only replica of a deployment; Ray writes its actor's name into the command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                title = (entry / "cmdline").read_text(errors="replace")
                if title.startswith(f"ray::ServeReplica:default.{service}") and deployment in title:
                    found.append(int(entry.name))
    assert len(found) == 1, found
    return found[0]
