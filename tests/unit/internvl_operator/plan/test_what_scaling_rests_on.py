"""What the decision is made from: the spec's bounds, GPUs of the spec or the pool, schedules, and how replicas stand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.observation import LoadSeen, ReplicaSeen
from internvl_operator.plan.scaling_input import gpus_of, scaling_observation, scaling_settings
from internvl_operator.scaling.model import WorkKind

OFFER = parse_pod_settings("{image: example.test/runtime, pools: {l4: {gpus: 2}, cpu: {}}}")
MONDAY_9 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
UNKNOWN = LoadSeen(reason=Reason.METRICS_MISSING, unknown="nobody tells")
NO_GPUS = {Role.VISION: 0, Role.LANGUAGE: 0}


def spec(**more):
    return parse_spec({"model": {"uri": "file:///m"}, **more})


def settings(found, gpus=NO_GPUS, now=MONDAY_9):
    return scaling_settings(found, gpus, now, quiet_s=120.0)


def test_gpus_are_the_specs_or_else_the_pools():
    found = spec(vision={"pool": "l4"}, language={"pool": "l4", "gpus": 1})
    assert gpus_of(found, OFFER) == {Role.VISION: 2, Role.LANGUAGE: 1}
    assert gpus_of(found, None) == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_bounds_capacity_and_the_quiet_window_reach_the_decision():
    found = settings(
        spec(
            vision={"maxReplicas": 4, "capacity": {"tilesPerSecond": 20}},
            scaling={"maxGPUs": 6, "idle": "90s", "objectives": {"timeToFirstToken": "500ms"}},
        )
    )
    vision = found.sides[Role.VISION]
    assert (vision.minimum, vision.maximum, vision.capacity) == (1, 4, {WorkKind.TILES: 20.0})
    assert (found.max_gpus, found.first_token_s, found.quiet_s) == (6, 0.5, 120.0)
    assert found.idle_s == 90.0
    assert Role.LANGUAGE not in found.sides, "its number is fixed"


@pytest.mark.parametrize(("hour", "floor"), [(7, 0), (9, 3), (11, 2), (20, 0)])
def test_of_schedules_that_are_open_the_highest_counts(hour, floor):
    schedule = [
        {"cron": "0 8 * * *", "duration": "2h", "vision": 3},
        {"cron": "0 8 * * *", "duration": "4h", "vision": 2, "language": 1},
    ]
    found = spec(vision={"maxReplicas": 4}, language={"maxReplicas": 2}, scaling={"schedule": schedule})
    side = settings(found, now=MONDAY_9.replace(hour=hour)).sides[Role.VISION]
    assert side.floor == floor and ("0 8 * * *" in side.floor_why) == bool(floor)


def test_a_fixed_sides_gpus_count_in_the_budget(ready):
    found = spec(vision={"maxReplicas": 4}, language={"minReplicas": 3})
    seen = scaling_observation(
        ready.see(spec=found).seen, ready.ray, UNKNOWN, {Role.VISION: 1, Role.LANGUAGE: 2}, MONDAY_9
    )
    assert seen is not None and seen.elsewhere_gpus == 6 and set(seen.sides) == {Role.VISION}
    vision = seen.sides[Role.VISION]
    assert (vision.load, vision.unknown, vision.target, vision.ready) == (None, "nobody tells", 1, 1)


def test_before_serve_holds_a_configuration_there_is_nothing_to_decide(world):
    world.see(spec=spec(vision={"maxReplicas": 4}))
    assert scaling_observation(world.seen, world.ray, UNKNOWN, NO_GPUS, MONDAY_9) is None


@pytest.mark.parametrize(
    ("status", "message", "healthy"),
    [
        ("UPSCALING", "", True),
        ("UPSCALING", "A replica failed to start: no", False),
        ("UNHEALTHY", "", False),
    ],
)
def test_a_replica_that_cannot_start_is_no_measurement_of_starting(ready, status, message, healthy):
    ready.see(spec=spec(vision={"maxReplicas": 4})).deployment(Role.VISION, status, message)
    seen = scaling_observation(ready.seen, ready.ray, UNKNOWN, NO_GPUS, MONDAY_9)
    assert seen is not None and seen.sides[Role.VISION].healthy is healthy


def replica(world, **edit):
    """What a replica of vision is, once everything runs as the spec says."""
    edit["vision"] = {"maxReplicas": 4, **edit.get("vision", {})}
    return seen_replica(world.see(spec=spec(**edit)).made_ready())


def seen_replica(world):
    seen = scaling_observation(world.seen, world.ray, UNKNOWN, NO_GPUS, MONDAY_9)
    assert seen is not None
    return seen.sides[Role.VISION].replica


@pytest.mark.parametrize(
    "edit",
    [
        {"model": {"uri": "file:///other"}},
        {"vision": {"pool": "vision"}},
        {"vision": {"gpus": 2}},
        {"vision": {"cpu": "4"}},
    ],
)
def test_what_makes_a_replica_faster_or_slower_makes_it_another(world, edit):
    before = replica(replace(world))
    assert before and replica(replace(world), **edit) not in ("", before)


@pytest.mark.parametrize(
    "edit",
    [
        {"vision": {"minReplicas": 2, "maxReplicas": 9}},
        {"vision": {"minReplicas": 0}},
        {"vision": {"memory": "8Gi", "maxTilesPerImage": 3, "capacity": {"tilesPerSecond": 5}}},
        {"model": {"uri": "file:///m", "name": "other"}},
        {"scaling": {"maxGPUs": 4, "objectives": {"timeToFirstToken": "3s"}}},
        {"language": {"cpu": "4", "gpus": 1}},
    ],
)
def test_what_does_not_leaves_it_as_it_is(world, edit):
    assert replica(replace(world)) == replica(replace(world), **edit) != ""


def test_while_one_replaces_the_other_it_is_neither(world):
    before = replica(world)
    world.see(spec=spec(vision={"maxReplicas": 4, "cpu": "4"}))
    world.serve_holds(world.settle())
    assert seen_replica(world) == "", "Serve holds the other configuration, and has not turned to it"
    world.made_ready()
    after = seen_replica(world)
    assert after not in ("", before)
    world.deployment(Role.VISION, "UPDATING")
    assert seen_replica(world) == ""
    stopping = ReplicaSeen(id="old", state="STOPPING"), ReplicaSeen(id="new", state="RUNNING")
    world.deployment(Role.VISION, "HEALTHY", "", *stopping)
    assert seen_replica(world) == "", "the old one ends what it had"
    world.deployment(Role.VISION, "HEALTHY", "", stopping[1])
    assert seen_replica(world) == after


@pytest.mark.parametrize(
    ("status", "shown", "is_woken"),
    [
        ("HEALTHY", 0, False),
        ("HEALTHY", 1, False),
        ("DOWNSCALING", 0, False),
        ("UPSCALING", 1, True),
        ("UNHEALTHY", 1, True),
    ],
    ids=["none", "the number before, for a moment", "the last one goes", "it starts", "it does not start"],
)
def test_a_replica_that_serve_starts_by_itself_is_seen(world, status, shown, is_woken):
    world.see(spec=spec(vision={"minReplicas": 0, "maxReplicas": 4})).made_ready()
    bounds = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}
    name = names.application(world.seen.key, Role.VISION)
    known = world.ray.applications[name]
    (encoder,) = known.deployments.values()
    (entry,) = known.config["deployments"]
    changed = replace(
        known,
        config={**known.config, "deployments": [{**entry, "autoscaling_config": bounds}]},
        deployments={encoder.name: replace(encoder, status=status, target_replicas=shown, replicas=())},
    )
    world.change_ray(applications={**world.ray.applications, name: changed})
    seen = scaling_observation(world.seen, world.ray, UNKNOWN, NO_GPUS, MONDAY_9)
    assert seen is not None
    assert (seen.sides[Role.VISION].target, seen.sides[Role.VISION].is_woken) == (0, is_woken)
