from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import RolloutStage
from internvl_operator.plan.observation import ReplicaSeen, ScalingSeen, WriteSeen
from internvl_operator.plan.plan import plan
from internvl_operator.scaling.model import SideDecision
from internvl_runtimes.contract import routes
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.contract.probes import RoleAnswer

TEXTS = st.sampled_from(
    [
        "",
        "A replica failed to start with exception. Retrying. Error:\nValueError: x",
        "ModuleNotFoundError: No module named 'internvl_runtimes'",
        *(str(ReplicaFailed(code, "why")) for code in FailureCode),
    ]
) | st.text(max_size=40)
RAY_REASONS = st.sampled_from(
    [
        Reason.RAY_UNREACHABLE,
        Reason.RAY_TIMED_OUT,
        Reason.RAY_UNAUTHORIZED,
        Reason.NOT_RAY,
        Reason.SERVE_UNAVAILABLE,
    ]
)
STATES = st.sampled_from(["UPDATING", "UNHEALTHY", "UPSCALING", "DOWNSCALING", "DEPLOY_FAILED", "BRAND_NEW"])
REPLICAS = st.lists(
    st.builds(
        ReplicaSeen,
        id=st.sampled_from("abc"),
        state=st.sampled_from(["RUNNING", "UPDATING", "RECOVERING", "PENDING_MIGRATION", "BRAND_NEW"]),
        node_id=st.just("n"),
    )
    | st.builds(ReplicaSeen, id=st.sampled_from("abc"), state=st.just("STARTING")),
    max_size=3,
)
RESTING = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"minReplicas": 0, "maxReplicas": 3},
    "language": {"minReplicas": 0, "maxReplicas": 3},
}
SCALED = st.fixed_dictionaries({"minReplicas": st.integers(0, 1), "maxReplicas": st.just(3)})
SIDES_OF_SPECS = st.fixed_dictionaries(
    {"vision": SCALED | st.fixed_dictionaries({"minReplicas": st.integers(1, 3)})},
    optional={"language": SCALED},
).filter(lambda sides: sides.get("language", {}).get("minReplicas", 1) or not sides["vision"]["minReplicas"])
STEPS = (
    "deploy",
    "hold",
    "fail",
    "build",
    "ray",
    "spec",
    "write",
    "probe",
    "time",
    "forget",
    "delete",
    "pools",
    "proxy",
    "decide",
)


def step(world, data):
    """One thing that can happen to a world."""
    kind = data.draw(st.sampled_from(STEPS))
    has_ray = not hasattr(world.observation.ray, "reason") and world.observation.ray is not None
    role = data.draw(st.sampled_from(list(Role)))
    is_written = has_ray and set(names.applications(world.seen.key)) <= set(world.ray.applications)
    if kind == "deploy" and has_ray:
        decided = world.plan()
        world.serve_takes(decided, replica=data.draw(st.sampled_from("pq"))).serve_drops(decided)
    elif kind == "hold" and is_written:
        world.serve_holds(world.plan())
    elif kind == "fail" and is_written and all(a.deployments for a in world.ray.applications.values()):
        world.deployment(role, data.draw(STATES), data.draw(TEXTS), *data.draw(REPLICAS))
    elif kind == "build" and is_written:
        world.build(role, data.draw(st.sampled_from(["DEPLOYING", "DEPLOY_FAILED", "NEW"])), data.draw(TEXTS))
    elif kind == "ray":
        world.ray_fails(data.draw(RAY_REASONS), data.draw(TEXTS))
    elif kind == "spec":
        choice = data.draw(st.sampled_from(["bad", "good"]))
        if choice == "bad":
            world.see(spec=None, spec_error=data.draw(TEXTS))
        else:
            world.respec(
                {
                    "model": {"uri": data.draw(st.sampled_from(["file:///m", "file:///models/nano"]))},
                    **data.draw(SIDES_OF_SPECS),
                    "rollout": {"strategy": data.draw(st.sampled_from(["Auto", "Beside", "InPlace"]))},
                }
            )
    elif kind == "write":
        error, waiting = data.draw(st.none() | TEXTS), data.draw(st.none() | TEXTS)
        world.change(write=WriteSeen(at=world.observation.now, error=error, waiting_for=waiting))
    elif kind == "probe" and world.plan().probe is not None:
        side = st.builds(RoleAnswer, ok=st.booleans(), generation=st.just("g"), error=TEXTS)
        answer = world.answer(ok=data.draw(st.booleans()), vision=data.draw(side))
        good = data.draw(st.booleans())
        world.probed(world.answer() if good else answer)
    elif kind == "time":
        world.pass_time(data.draw(st.integers(0, 400)))
    elif kind == "forget":
        world.see(status=None)
    elif kind == "delete" and data.draw(st.integers(0, 4)) == 0:
        world.see(deleting_since=world.observation.now)
    elif kind == "pools" and has_ray:
        world.change_ray(node_pools=data.draw(st.none() | st.just(frozenset())))
    elif kind == "proxy" and has_ray:
        world.change_ray(http_address=None)
    elif kind == "decide":
        vision = data.draw(st.integers(0, 2))
        targets = {Role.VISION: vision, Role.LANGUAGE: data.draw(st.integers(int(vision > 0), 2))}
        sides = {
            role: SideDecision(target=target, why=f"{role} -> {target}") for role, target in targets.items()
        }
        at = world.observation.now
        world.change(scaling=ScalingSeen(at=at, sides=sides, metrics=Reason.METRICS_SEEN, memory="m"))


@pytest.mark.timeout(60)
@settings(max_examples=300)
@given(data=st.data())
def test_every_world_has_a_plan_and_a_reason(worlds, data):
    world = worlds()
    for _ in range(data.draw(st.integers(1, 8))):
        step(world, data)
        decided = world.settle()
        ready = decided.status.condition(ConditionType.READY)
        assert decided.why and all(decided.why)
        assert ready is not None and ready.message
        assert decided.requeue_after_s is None or decided.requeue_after_s >= 0
        assert set(decided.remove).isdisjoint(item.name for item in decided.applications)
        assert not (decided.write and not decided.applications and not decided.remove)


@pytest.mark.timeout(60)
@settings(max_examples=200)
@given(data=st.data())
def test_planning_twice_changes_nothing(worlds, data):
    world = worlds()
    for _ in range(data.draw(st.integers(1, 6))):
        step(world, data)
        world.settle()
    again = world.plan()
    assert again.status == world.seen.status
    assert again.events == () or world.seen.deleting_since is not None
    later = replace(world.observation, now=world.observation.now + timedelta(milliseconds=1))
    assert plan(later, world.settings).status == world.seen.status


@pytest.mark.timeout(60)
@settings(max_examples=200)
@given(data=st.data())
def test_ready_is_never_said_without_a_replica_of_each_role(worlds, data):
    world = worlds().made_ready()
    for _ in range(data.draw(st.integers(1, 5))):
        step(world, data)
        decided = world.settle()
        ready = decided.status.condition(ConditionType.READY)
        assert ready is not None
        if ready.status is ConditionStatus.TRUE and decided.requeue_after_s != world.settings.poll_interval_s:
            assert decided.status.probe is not None
            roles, rollout = decided.status.roles, decided.status.rollout
            at_zero = {role for role in Role if not roles.of(role).desired}
            waking = {role for role in Role if f"{role} start" in ready.message.replace(" and language", "")}
            is_new = all((roles.of(role).updated or 0) > 0 for role in set(Role) - at_zero - waking)
            is_old = rollout is not None and all((roles.of(role).ready or 0) > 0 for role in Role)
            assert is_new or is_old or (rollout is not None and rollout.stage is RolloutStage.HANDOVER)


@pytest.mark.timeout(60)
@settings(max_examples=200)
@given(data=st.data())
def test_there_is_language_wherever_there_is_vision_and_whenever_something_is_probed(worlds, data):
    world = worlds()
    world.see(spec=parse_spec(RESTING))
    world.made_ready()
    for _ in range(data.draw(st.integers(1, 8))):
        step(world, data)
        decided = world.settle()
        roles = decided.status.roles
        assert roles.language.desired or not roles.vision.desired
        is_own = decided.probe is not None and routes.STAND_IN not in decided.probe.url
        assert roles.language.desired or not is_own
