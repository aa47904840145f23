"""What the load decided reaches pods and Ray Serve; a service with fixed numbers knows nothing of it."""

from dataclasses import replace

import pytest

from internvl_operator.api.conditions import ConditionType, Reason
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import parse_stored_status
from internvl_operator.plan.observation import ScalingSeen
from internvl_operator.plan.scaling_status import WRITTEN_BEFORE
from internvl_operator.scaling.model import Limit, SideDecision, WorkKind

SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision", "minReplicas": 1, "maxReplicas": 4},
    "language": {"pool": "language"},
}
RECOMMEND = {**SPEC, "scaling": {"mode": "Recommend"}}


def decided(world, target, why="", *, limit=None, metrics=Reason.METRICS_SEEN, memory="m1", **more):
    """The last decision about vision."""
    side = SideDecision(
        target=target,
        why=why or f"vision -> {target}: 61 tiles/s / 19.8 per replica",
        limited_by=limit,
        capacity={WorkKind.TILES: 19.8123},
    )
    seen = ScalingSeen(
        at=world.observation.now, sides={Role.VISION: side}, metrics=metrics, memory=memory, **more
    )
    return world.change(scaling=seen)


def wanted(decided_plan, role=Role.VISION):
    """Replicas in what is written, or else None."""
    for application in decided_plan.applications:
        for item in application.deployments:
            if item.name == DEPLOYMENTS[role]:
                return item.num_replicas
    return None


@pytest.fixture
def scaled(worlds):
    """A Ready service whose vision follows the load; nothing was decided yet."""
    world = worlds()
    world.see(spec=parse_spec(SPEC))
    return world.made_ready()


def roles(world):
    return world.seen.status.roles


# --- numbers -----------------------------------------------------------------------------------------------


def test_more_are_written_for_that_side_alone(scaled):
    plan = decided(scaled, 3).plan()
    assert plan.write
    assert (wanted(plan), wanted(plan, Role.LANGUAGE)) == (3, 1)
    assert plan.status.roles.vision.desired == 3


def test_a_new_number_keeps_the_service_ready_and_restarts_no_replica(scaled):
    before = scaled.plan().status.roles.vision.generation
    plan = decided(scaled, 3).settle()
    assert plan.status.roles.vision.generation == before
    scaled.serve_holds(plan)
    assert scaled.said() == ("True", "Ready")


def test_nothing_is_written_twice(scaled):
    decided(scaled, 3)
    scaled.serve_takes(scaled.settle()).settle()
    scaled.probed(scaled.answer()).settle()
    again = scaled.plan()
    assert not again.write and not again.events and again.status == scaled.seen.status


def test_the_bounds_of_the_spec_hold_whatever_was_decided(scaled):
    assert wanted(decided(scaled, 9).plan()) == 4
    scaled.respec({**SPEC, "vision": {**SPEC["vision"], "minReplicas": 2}})
    assert wanted(decided(scaled, 1).plan()) == 2


def test_until_something_was_decided_the_number_that_stands_stays(scaled):
    decided(scaled, 3)
    scaled.serve_takes(scaled.settle()).settle()
    scaled.change(scaling=None)  # another process
    assert wanted(scaled.plan()) == 3 and not scaled.plan().write


def test_a_serve_that_forgot_everything_gets_the_number_of_before(scaled):
    decided(scaled, 3)
    scaled.serve_takes(scaled.settle()).settle()
    scaled.change(scaling=None).change_ray(applications={})
    plan = scaled.plan()
    assert plan.write and wanted(plan) == 3


def test_a_side_that_cannot_start_does_not_hold_up_the_other(worlds):
    world = worlds()
    world.see(spec=parse_spec({**SPEC, "language": {"pool": "language", "maxReplicas": 4}}))
    world.made_ready()
    decided(world, 3)
    world.serve_takes(world.settle()).settle()
    runs = world.ray.applications["team.nano.vision"].deployments["VisionEncoder"].replicas[:1]
    world.deployment(Role.VISION, "UPSCALING", "2 replicas failed to start: no luck", *runs).settle()
    side = SideDecision(target=2, why="language 1 -> 2")
    seen = world.observation.scaling
    world.change(scaling=replace(seen, sides={**seen.sides, Role.LANGUAGE: side}))
    plan = world.plan()
    assert plan.write and wanted(plan, Role.LANGUAGE) == 2
    assert world.said() == ("True", "Ready")


# --- pods --------------------------------------------------------------------------------------------------


@pytest.fixture
def scaled_pods(worlds):
    """The same in pods of its own."""
    world = worlds().without_ray()
    world.see(spec=parse_spec(SPEC))
    world.kubernetes_takes(world.settle()).kuberay_acts()
    return world.made_ready()


def test_pods_and_replicas_come_together(scaled_pods):
    plan = decided(scaled_pods, 3).plan()
    assert plan.write and wanted(plan) == 3
    scaled_pods.kubernetes_takes(plan)
    assert scaled_pods.groups()[scaled_pods.group(Role.VISION)] == 3
    assert scaled_pods.groups()[scaled_pods.group(Role.LANGUAGE)] == 1


def test_a_pod_goes_when_its_replica_has_gone_and_it_is_that_pod(scaled_pods):
    world = decided(scaled_pods, 3)
    world.kubernetes_takes(world.settle()).kuberay_acts()
    world.serve_takes(world.settle()).settle()
    world.probed(world.answer()).settle()

    group = world.group(Role.VISION)
    first, second, third = world.pods_of(group)
    plan = decided(world, 2).settle()
    assert plan.write and wanted(plan) == 2
    world.kubernetes_takes(plan)
    assert world.groups()[group] == 3, "every pod has a replica still"

    world.serve_holds(plan).kubernetes_takes(world.settle())
    assert world.groups()[group] == 3, "Serve has not taken it up"

    world.serve_takes(plan).replicas_on(Role.VISION, first, third, stopping=second)
    world.kubernetes_takes(world.settle())
    assert world.groups()[group] == 3, "the replica is being drained"

    world.replicas_on(Role.VISION, first, third)
    world.kubernetes_takes(world.settle())
    assert world.groups()[group] == 2
    (entry,) = [item for item in world.ray_cluster["spec"]["workerGroupSpecs"] if item["groupName"] == group]
    assert entry["scaleStrategy"]["workersToDelete"] == [second.name]


# --- Recommend ---------------------------------------------------------------------------------------------


def test_a_recommendation_is_said_and_nothing_is_written(scaled):
    scaled.respec(RECOMMEND).settle()
    plan = decided(scaled, 3, "vision 1 -> 3: because").plan()
    assert not plan.write and plan.status.roles.vision.desired == 1
    vision = plan.status.roles.vision
    assert (vision.target, vision.why, vision.last_scaling) == (3, "vision 1 -> 3: because", None)
    assert plan.status.condition(ConditionType.SCALING_ACTIVE).reason is Reason.RECOMMENDED_ONLY
    assert not [note for note in plan.events if note.reason is Reason.SCALED_UP]


def test_what_cannot_be_decided_is_not_recommended_either(scaled):
    decided(scaled.respec(RECOMMEND), 3).settle()
    decided(scaled, 3, undecided="nothing has been decided since 12:00:00 UTC: away").settle()
    vision = roles(scaled).vision
    assert (vision.target, vision.desired) == (3, 1)
    assert vision.why.startswith("vision stays at 3: held, because nothing has been decided since")
    assert scaled.said("ScalingActive") == ("False", "ScalingHeld")


# --- what is said ------------------------------------------------------------------------------------------


def test_each_change_is_a_line_in_the_status_and_an_event(scaled):
    decided(scaled, 1, "vision stays at 1").settle()
    scaled.pass_time(60)
    plan = decided(scaled, 3, "vision 1 -> 3: 61 tiles/s / 19.8 per replica = 3.1").settle()
    (note,) = plan.events
    assert (note.reason, note.message) == (
        Reason.SCALED_UP,
        "vision 1 -> 3: 61 tiles/s / 19.8 per replica = 3.1",
    )
    vision = roles(scaled).vision
    (step,) = vision.last_scaling
    assert (step.before, step.to, step.why) == (1, 3, note.message)
    assert (vision.owner, vision.target, vision.why) == ("operator", 3, note.message)
    assert vision.capacity.tiles_per_second == 19.8
    assert scaled.seen.status.scaling.memory == "m1"
    assert not scaled.plan().events, "once"


def test_the_last_ten_changes_are_kept_newest_first(scaled):
    for number in range(14):
        scaled.pass_time(60)
        scaled.serve_takes(decided(scaled, 2 - number % 2, f"step {number}").settle())
    steps = roles(scaled).vision.last_scaling
    assert [step.why for step in steps] == [f"step {number}" for number in range(13, 3, -1)]


@pytest.mark.parametrize("has_decided", [False, True])
def test_a_number_that_was_written_before_its_reason_is_told_all_the_same(scaled, has_decided):
    """The process before this one wrote to Serve and was killed before it wrote the status."""
    before = roles(scaled).vision
    scaled.serve_takes(decided(scaled, 3, "vision 1 -> 3: 61 tiles/s").plan())
    if has_decided:
        decided(scaled, 3, "vision stays at 3: 61 tiles/s")
    else:
        scaled.change(scaling=None)
    plan = scaled.settle()
    step = plan.status.roles.vision.last_scaling[0]
    assert (step.before, step.to) == (before.desired, 3)
    assert step.why == f"vision {before.desired} -> 3: {WRITTEN_BEFORE}"
    assert [note.message for note in plan.events if note.reason is Reason.SCALED_UP] == [step.why]
    assert not scaled.settle().events, "once"


def test_a_status_that_could_not_be_written_is_written_with_its_reason(scaled):
    scaled.serve_takes(decided(scaled, 3, "vision 1 -> 3: 61 tiles/s").plan())
    assert scaled.settle().status.roles.vision.last_scaling[0].why == "vision 1 -> 3: 61 tiles/s"


def test_a_change_down_has_its_own_event(scaled):
    decided(scaled, 3).settle()
    (note,) = [note for note in decided(scaled, 1).plan().events if note.reason.startswith("Scaled")]
    assert note.reason is Reason.SCALED_DOWN


@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_maximum_that_was_lowered_is_the_reason_of_the_change_and_not_the_load(scaled, is_new_process):
    decided(scaled, 4, "vision 1 -> 4: 61 tiles/s / 19.8 per replica = 3.1")
    scaled.serve_takes(scaled.settle()).settle()
    scaled.probed(scaled.answer()).settle()
    scaled.pass_time(60).respec({**SPEC, "vision": {**SPEC["vision"], "maxReplicas": 2}})
    if is_new_process:
        scaled.change(scaling=None)
    plan = scaled.settle()
    step, before = plan.status.roles.vision.last_scaling
    assert (step.time, step.before, step.to) == (scaled.observation.now, 4, 2)
    assert step.why == "vision 4 -> 2: 4 are wanted, but maxReplicas is 2"
    assert (before.before, before.to) == (1, 4)
    assert [(note.reason, note.message) for note in plan.events] == [(Reason.SCALED_DOWN, step.why)]
    assert not scaled.plan().events and scaled.plan().status == scaled.seen.status, "once"


def test_a_minimum_that_was_raised_is_the_reason_of_the_change(scaled):
    decided(scaled, 1, "vision stays at 1: no load").settle()
    plan = scaled.respec({**SPEC, "vision": {**SPEC["vision"], "minReplicas": 2}}).settle()
    (step,) = plan.status.roles.vision.last_scaling
    assert step.why == "vision 1 -> 2: minReplicas is 2"
    assert plan.status.roles.vision.why == "minReplicas is 2"


def test_a_recommendation_that_is_acted_on_is_a_change(scaled):
    scaled.respec(RECOMMEND).settle()
    decided(scaled, 4, "vision 1 -> 4: because").settle()
    scaled.pass_time(3600)
    plan = scaled.respec(SPEC).settle()
    (step,) = plan.status.roles.vision.last_scaling
    assert (step.time, step.before, step.to) == (scaled.observation.now, 1, 4)
    assert step.why == "vision 1 -> 4: because"
    assert [(note.reason, note.message) for note in plan.events] == [(Reason.SCALED_UP, step.why)]
    assert not scaled.plan().events, "once"


@pytest.mark.parametrize(
    ("limit", "active"),
    [
        (None, ("True", "ScaledByLoad")),
        (Limit.QUIET, ("True", "ScaledByLoad")),
        (Limit.MAXIMUM, ("True", "ScalingLimited")),
        (Limit.BUDGET, ("True", "ScalingLimited")),
        (Limit.UNKNOWN, ("False", "ScalingHeld")),
    ],
)
def test_a_condition_says_what_holds_a_number(scaled, limit, active):
    decided(scaled, 2, "vision stays at 2: because", limit=limit)
    assert scaled.said("ScalingActive") == active


def test_what_makes_the_load_unknown_is_named(scaled):
    decided(
        scaled,
        2,
        limit=Limit.UNKNOWN,
        metrics=Reason.PROMETHEUS_UNAVAILABLE,
        unknown="Prometheus at http://p:9090: refused",
    )
    assert scaled.said("MetricsAvailable") == ("False", "PrometheusUnavailable")
    assert "http://p:9090" in scaled.condition("MetricsAvailable").message
    assert scaled.said() == ("True", "Ready"), "the service answers all the same"


def test_metrics_that_come_seldom_are_available_and_the_setting_is_named(scaled):
    decided(scaled, 1, advice="Ray reports only every 10 s: set this").settle()
    assert scaled.said("MetricsAvailable") == ("True", "MetricsSeen")
    text = "all replicas tell their load, but Ray reports only every 10 s: set this"
    assert scaled.condition("MetricsAvailable").message == text


def test_a_new_process_says_nothing_until_it_has_looked(scaled):
    decided(scaled, 3, limit=Limit.MAXIMUM)
    scaled.serve_takes(scaled.settle()).settle()
    scaled.probed(scaled.answer()).settle()
    stored = parse_stored_status(scaled.seen.status.to_mapping())
    scaled.see(status=stored).change(scaling=None, probe=None).pass_time(30)
    assert scaled.plan().status == stored


def test_the_status_survives_its_way_through_the_api_server(scaled):
    decided(scaled, 1).settle()
    decided(scaled, 3).settle()
    status = scaled.seen.status
    assert parse_stored_status(status.to_mapping()) == status


# --- fixed numbers -----------------------------------------------------------------------------------------


def test_a_service_with_fixed_numbers_has_nothing_of_it(ready):
    mapping = ready.plan().status.to_mapping()
    assert "scaling" not in mapping
    assert {item["type"] for item in mapping["conditions"]} & {"ScalingActive", "MetricsAvailable"} == set()
    for role in mapping["roles"].values():
        assert set(role) & {"owner", "target", "why", "capacity", "lastScaling"} == set()


def test_numbers_that_are_fixed_again_leave_nothing_behind(scaled):
    decided(scaled, 3)
    scaled.serve_takes(scaled.settle()).settle()
    scaled.respec({**SPEC, "vision": {"pool": "vision", "minReplicas": 2}}).change(scaling=None)
    plan = scaled.plan()
    assert wanted(plan) == 2
    mapping = plan.status.to_mapping()
    assert "scaling" not in mapping and "owner" not in mapping["roles"]["vision"]
    assert scaled.seen.status.condition(ConditionType.SCALING_ACTIVE) is not None
    assert plan.status.condition(ConditionType.SCALING_ACTIVE) is None


def test_while_ray_is_away_the_last_decision_is_still_said(scaled):
    decided(scaled, 1).settle()
    decided(scaled, 3).settle()
    scaled.pass_time(5)
    scaled.ray_fails(Reason.RAY_UNREACHABLE)
    vision = scaled.plan().status.roles.vision
    assert vision.target == 3 and len(vision.last_scaling) == 1
