"""Vision without a replica while no picture comes: the service stays Ready, and what is changed meanwhile is proven."""

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.observation import ReplicaSeen, ScalingSeen
from internvl_operator.scaling.model import SideDecision
from internvl_runtimes.contract import routes
from internvl_runtimes.contract.probes import RoleAnswer
from tests.unit.internvl_operator.plan.conftest import bounds_of, entry, text_alone

SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision", "minReplicas": 0, "maxReplicas": 4},
    "language": {"pool": "language"},
}
OTHER_VISION = {**SPEC, "vision": {**SPEC["vision"], "cpu": "2"}}
OTHER_LANGUAGE = {**SPEC, "language": {"pool": "language", "maxModelLen": 512}}
OTHER_MODEL = {**SPEC, "model": {"uri": "file:///models/other"}}


def decided(world, target):
    """The last decision about vision."""
    side = SideDecision(target=target, why=f"vision -> {target}: no picture for 10 min", limited_by=None)
    seen = ScalingSeen(
        at=world.observation.now, sides={Role.VISION: side}, metrics=Reason.METRICS_SEEN, memory="m"
    )
    return world.change(scaling=seen)


def bounds(plan):
    return bounds_of(plan, Role.VISION)


def acts(world, target):
    """The number is decided, written, taken up, probed and stored."""
    decided(world, target)
    world.serve_takes(world.settle(), replica=f"r{target}").settle()
    world.probed(text_alone(world) if target == 0 else world.answer()).settle()
    return world


@pytest.fixture
def awake(worlds):
    """A Ready service whose vision may go."""
    world = worlds()
    world.see(spec=parse_spec(SPEC))
    return world.made_ready()


@pytest.fixture
def resting(awake):
    """The same without a vision replica."""
    return acts(awake, 0)


def starting(world):
    """A vision replica has been asked for and starts."""
    decided(world, 1)
    world.serve_holds(world.settle())
    return world.deployment(Role.VISION, "UPDATING", "", ReplicaSeen(id="new", state="STARTING"))


# --- going ---------------------------------------------------------------------------------------------------


def test_a_new_service_begins_with_a_replica_which_is_probed(world):
    world.see(spec=parse_spec(SPEC))
    assert bounds(world.plan())["initial_replicas"] == 1


def test_none_is_written_as_bounds_and_touches_no_other_role(awake):
    plan = decided(awake, 0).plan()
    assert plan.write
    assert bounds(plan) == {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}
    assert (
        entry(plan, Role.VISION)["user_config"]
        == entry(awake.change(scaling=None).plan(), Role.VISION)["user_config"]
    )
    assert entry(plan, Role.LANGUAGE)["num_replicas"] == 1


def test_the_service_stays_ready_all_the_while(awake):
    plan = decided(awake, 0).settle()
    assert awake.serve_holds(plan).said() == ("True", "Ready")
    awake.serve_takes(plan).settle()
    assert awake.said() == ("True", "Ready")
    awake.probed(text_alone(awake)).settle()
    assert awake.said() == ("True", "Ready")
    assert awake.condition().message.endswith("vision has no replica until a picture comes")


def test_while_it_rests_the_probe_sends_no_picture(awake):
    awake.serve_takes(decided(awake, 0).settle()).settle()
    request = awake.plan().probe
    assert request is not None and request.url.endswith(routes.PROBE_WITHOUT_VISION)


def test_the_status_says_none_of_none_and_why(resting):
    vision = resting.seen.status.roles.vision
    assert (vision.desired, vision.ready, vision.replicas, vision.target) == (0, 0, "0/0", 0)
    assert resting.said("VisionReady") == ("True", "AtZero")
    assert resting.said("Progressing")[0] == resting.said("Degraded")[0] == "False"


def test_at_rest_nothing_is_written_probed_or_reported(resting):
    again = resting.plan()
    assert (again.write, again.probe, again.status) == (False, None, resting.seen.status)


def test_another_process_that_has_decided_nothing_writes_nothing(resting):
    again = resting.change(scaling=None, probe=None).plan()
    assert (again.write, again.probe, again.status) == (False, None, resting.seen.status)


def test_a_serve_that_lost_everything_gets_none_again(resting):
    plan = resting.change(scaling=None).change_ray(applications={}).plan()
    assert plan.write and bounds(plan)["initial_replicas"] == 0


def test_where_numbers_are_only_recommended_it_gets_one_again(resting):
    """Nobody would order its pod when a picture comes."""
    plan = resting.respec({**SPEC, "scaling": {"mode": "Recommend"}}).plan()
    assert plan.write and bounds(plan)["initial_replicas"] == 1
    (step, *_) = plan.status.roles.vision.last_scaling
    assert (step.before, step.to) == (0, 1)
    assert step.why == "vision 0 -> 1: with scaling.mode Recommend nobody starts one when a picture comes"


# --- waking --------------------------------------------------------------------------------------------------


def test_waking_is_a_write_of_the_number(resting):
    plan = decided(resting, 1).plan()
    assert plan.write
    assert bounds(plan) == {"min_replicas": 1, "initial_replicas": 1, "max_replicas": 1}


def test_while_it_starts_the_service_stays_ready_and_says_that_pictures_wait(resting):
    starting(resting)
    assert resting.said() == ("True", "Ready")
    assert "pictures wait" in resting.condition().message
    assert resting.said("VisionReady")[0] == "False"
    assert resting.said("Progressing")[0] == "True"


def test_once_it_runs_both_sides_are_probed_and_the_service_stays_ready_meanwhile(resting):
    resting.serve_takes(decided(resting, 1).settle(), replica="new").settle()
    request = resting.plan().probe
    assert request is not None and request.url.endswith(routes.PROBE)
    assert resting.said() == ("True", "Ready")
    resting.probed(resting.answer()).settle()
    assert resting.said("ProbePassed")[0] == resting.said("VisionReady")[0] == "True"


def test_one_that_does_not_start_is_said_and_takes_ready_away(resting):
    starting(resting).deployment(Role.VISION, "DEPLOY_FAILED", "RuntimeError: no such engine")
    assert resting.said()[0] == "False"
    assert resting.said("Degraded")[0] == "True"


def test_a_probe_that_did_not_ask_vision_proves_nothing_of_one_that_runs(resting):
    resting.serve_takes(decided(resting, 1).settle(), replica="new").settle()
    resting.probed(text_alone(resting)).settle()
    assert resting.said("ProbePassed") == ("False", "ProbeFailed")


def test_another_number_takes_no_replica_for_an_old_one(awake):
    plan = decided(awake, 3).settle()
    awake.serve_holds(plan)
    running = ReplicaSeen(id="r1-VisionEncoder-0", state="RUNNING", node_id="node")
    awake.deployment(Role.VISION, "UPDATING", "", running, ReplicaSeen(id="r2", state="STARTING"))
    assert awake.said() == ("True", "Ready")
    assert awake.plan().status.roles.vision.updated == 1


# --- edits while it rests ------------------------------------------------------------------------------------


def test_an_edit_of_vision_is_written_and_waits_for_a_picture(resting):
    plan = resting.respec(OTHER_VISION).settle()
    assert plan.write and bounds(plan)["initial_replicas"] == 0
    assert resting.said() == ("True", "Ready")
    resting.serve_takes(plan, replica="r0").settle()
    assert resting.plan().probe is None
    assert resting.said("VisionReady") == ("True", "AtZero")
    assert "is probed then" in resting.condition("VisionReady").message


def test_what_was_edited_is_ready_only_when_it_was_probed(resting):
    resting.serve_takes(resting.respec(OTHER_VISION).settle()).settle()
    starting(resting)
    assert resting.said()[0] == "False"
    resting.serve_takes(resting.settle(), replica="new").settle()
    assert resting.said() == ("False", "ProbePending")
    resting.probed(resting.answer()).settle()
    assert resting.said() == ("True", "Ready")


def test_an_edit_of_language_goes_through_its_probe(resting):
    resting.serve_takes(resting.respec(OTHER_LANGUAGE).settle()).settle()
    assert resting.said() == ("False", "ProbePending")
    failed = text_alone(resting).model_copy(
        update={"ok": False, "language": RoleAnswer(ok=False, error="no answer")}
    )
    resting.probed(failed).settle()
    assert "language: a small text did not come through: no answer" in resting.condition().message
    resting.pass_time(60).probed(text_alone(resting)).settle()
    assert resting.said() == ("True", "Ready")


def test_another_model_starts_beside_with_a_vision_replica_to_be_probed(resting):
    plan = resting.respec(OTHER_MODEL).settle()
    vision = plan.applications[0]
    assert vision.name.endswith(".next") and vision.deployments[0].num_replicas == 1
    resting.serve_takes(plan, replica="next").settle()
    request = resting.plan().probe
    assert request is not None and request.url.endswith(f"{routes.STAND_IN}{routes.PROBE}")
    assert resting.said() == ("True", "Ready")


# --- pods ----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_pods(podless):
    podless.see(spec=parse_spec(SPEC))
    podless.kubernetes_takes(podless.settle()).kuberay_acts()
    return podless.made_ready()


def test_the_pod_goes_when_serve_has_drained_it(in_pods):
    group = in_pods.group(Role.VISION)
    (pod,) = in_pods.pods_of(group)
    plan = decided(in_pods, 0).settle()
    in_pods.kubernetes_takes(plan)
    assert in_pods.groups()[group] == 1
    in_pods.serve_takes(plan).replicas_on(Role.VISION, stopping=pod)
    in_pods.kubernetes_takes(in_pods.settle())
    assert in_pods.groups()[group] == 1, "it still ends its work"
    in_pods.replicas_on(Role.VISION)
    in_pods.kubernetes_takes(in_pods.settle())
    assert in_pods.groups()[group] == 0


def test_waking_orders_the_pod_and_the_replica_in_one_plan(in_pods):
    group = in_pods.group(Role.VISION)
    acts(in_pods, 0)
    in_pods.kubernetes_takes(in_pods.settle()).loses_pods(group)
    assert in_pods.groups()[group] == 0
    plan = decided(in_pods, 1).settle()
    in_pods.kubernetes_takes(plan)
    assert in_pods.groups()[group] == 1 and bounds(plan)["initial_replicas"] == 1


def test_a_disruption_budget_of_nothing_is_valid(in_pods):
    acts(in_pods, 0)
    budgets = [item for item in in_pods.cluster.objects.values() if item["kind"] == "PodDisruptionBudget"]
    assert {item["spec"]["minAvailable"] for item in budgets} == {0}
