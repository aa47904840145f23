"""Deleting never hangs, and leaves nothing where something can be removed."""

import json
import time

from e2e.cluster.relay import Relay
from tests.local.service.world import World

DEADLINE_S = 30
"""`INTERNVL_OPERATOR_DELETION_DEADLINE_S` of these tests' operator."""


def test_a_deleted_service_leaves_nothing_in_ray(world: World) -> None:
    world.apply("short")
    world.wait_ready("short")
    world.delete("short")
    assert [name for name in world.applications() if "short" in name] == []


def test_a_service_whose_ray_is_gone_for_good_is_let_go_at_the_deadline(
    world: World, main_service: str
) -> None:
    world.wait_ready(main_service)
    with Relay(world.installation.ray.dashboard_url) as doomed:
        world.apply("orphan", address=doomed.url)
        world.wait("orphan", lambda service: service["metadata"].get("finalizers"), "the finalizer")
        doomed.shut()
        began = time.monotonic()
        world.delete("orphan")
        assert DEADLINE_S - 2 < time.monotonic() - began < DEADLINE_S + 10
    events = json.loads(world.installation.kubectl("get", "events", "-o", "json"))["items"]
    assert any("may stay behind" in event.get("message", event.get("note", "")) for event in events)
