"""The whole service without a replica: Ready says what was proven, nothing is probed, and what wakes it is proven."""

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import RolloutStage, RolloutStatus
from internvl_operator.plan.observation import LoadSeen, ReplicaSeen, ScalingSeen
from internvl_operator.plan.scaling_input import scaling_observation
from internvl_operator.scaling.model import SIDES, SideDecision
from internvl_runtimes.contract import routes
from internvl_runtimes.contract.probes import RoleAnswer
from tests.unit.internvl_operator.plan.conftest import bounds_of, text_alone

SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision", "minReplicas": 0, "maxReplicas": 4},
    "language": {"pool": "language", "minReplicas": 0, "maxReplicas": 4},
}
OTHER_LANGUAGE = {**SPEC, "language": {**SPEC["language"], "maxModelLen": 512}}
OTHER_VISION = {**SPEC, "vision": {**SPEC["vision"], "cpu": "2"}}
OTHER_MODEL = {**SPEC, "model": {"uri": "file:///models/other"}}
NONE = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}
A_PROBE_AGO_S = 60
UNSCHEDULED = (
    "Deployment has 1 replicas that have taken more than 30s to be scheduled. This may be due to waiting for the "
    "cluster to auto-scale. Resources required for each replica: {'CPU': 8.0}, total resources available: {}."
)


def decided(world, vision, language):
    """The last decision about both sides."""
    sides = {
        role: SideDecision(target=target, why=f"{role} -> {target}: no request for 10 min")
        for role, target in zip(SIDES, (vision, language), strict=True)
    }
    at = world.observation.now
    return world.change(scaling=ScalingSeen(at=at, sides=sides, metrics=Reason.METRICS_SEEN, memory="m"))


def number(plan, role=Role.LANGUAGE):
    return bounds_of(plan, role)["initial_replicas"]


def acts(world, vision, language, *, replica="r1"):
    """The numbers are decided, written, taken up and stored."""
    decided(world, vision, language)
    return taken_up(world, replica=replica)


def taken_up(world, *, replica="r1"):
    world.serve_takes(world.settle(), replica=replica).settle()
    return world


def keeps(world):
    """What the decision is told to keep language for."""
    return told(world).kept


def told(world):
    """What the decision is told about language."""
    unknown = LoadSeen(reason=Reason.METRICS_MISSING, unknown="nobody tells")
    seen = scaling_observation(world.seen, world.ray, unknown, dict.fromkeys(SIDES, 0), world.observation.now)
    assert not seen.sides[Role.VISION].is_probed
    return seen.sides[Role.LANGUAGE]


@pytest.fixture
def awake(worlds):
    """A Ready service both sides of which may go."""
    world = worlds()
    world.see(spec=parse_spec(SPEC))
    return world.made_ready()


@pytest.fixture
def without_vision(awake):
    """The same without a vision replica; language was probed alone."""
    acts(awake, 0, 1)
    awake.probed(text_alone(awake)).settle()
    return awake


@pytest.fixture
def asleep(without_vision):
    """The same without any."""
    return acts(without_vision.pass_time(A_PROBE_AGO_S), 0, 0)


def starting(world, *roles):
    """First replicas have been asked for and start."""
    decided(world, int(Role.VISION in roles), int(Role.LANGUAGE in roles))
    world.serve_holds(world.settle())
    for role in roles:
        world.deployment(role, "UPDATING", "", ReplicaSeen(id="new", state="STARTING"))
    return world


# --- going ---------------------------------------------------------------------------------------------------


def test_a_new_service_begins_with_replicas_which_are_probed(world):
    world.see(spec=parse_spec(SPEC))
    plan = world.plan()
    assert number(plan) == number(plan, Role.VISION) == 1
    world.serve_takes(world.settle()).settle()
    assert number(decided(world, 0, 0).plan()) == 1
    assert keeps(world) == "the first probe needs one"


def test_language_stays_until_it_was_probed_without_vision(awake):
    assert keeps(awake) == "one is kept until language has passed its probe without vision"
    assert number(decided(awake.pass_time(A_PROBE_AGO_S), 0, 0).plan()) == 1
    acts(awake, 0, 0)
    assert number(awake.plan()) == 1 and awake.said("ProbePassed")[0] == "Unknown"
    assert told(awake).is_probed
    awake.probed(text_alone(awake)).settle()
    assert number(awake.plan()) == 1 and keeps(awake) == "one is kept for 45 s after a probe"
    assert told(awake).is_probed
    awake.pass_time(46)
    assert not told(awake).is_probed
    assert keeps(awake) == "" and number(awake.plan()) == 0


def test_it_says_what_keeps_one(without_vision):
    (step, *_) = decided(without_vision, 0, 0).plan().status.roles.language.last_scaling or [None]
    assert step is None, "nothing changed"
    assert without_vision.plan().status.roles.language.why == "one is kept for 45 s after a probe"


def test_a_failed_probe_is_not_hidden_by_going(awake):
    acts(awake, 0, 1)
    failed = text_alone(awake).model_copy(
        update={"ok": False, "language": RoleAnswer(ok=False, error="no answer")}
    )
    awake.probed(failed).settle()
    decided(awake.pass_time(3600), 0, 0).settle()
    assert number(awake.plan()) == 1 and keeps(awake)
    assert awake.said("Ready") == awake.said("ProbePassed") == ("False", "ProbeFailed")


def test_language_that_failed_after_vision_went_is_not_hidden_either(without_vision):
    taken_up(without_vision.respec(OTHER_LANGUAGE))
    without_vision.probed(error="no answer within 30 s").settle()
    decided(without_vision.pass_time(3600), 0, 0).settle()
    assert number(without_vision.plan()) == 1 and keeps(without_vision)
    assert without_vision.said("Ready") == ("False", "ProbeFailed")


@pytest.mark.parametrize("stage", RolloutStage)
def test_whatever_stage_a_rollout_is_at_it_keeps_what_stands(without_vision, stage):
    status = without_vision.pass_time(3600).seen.status
    rollout = RolloutStatus(stage=stage, generation=1, since=without_vision.observation.now)
    without_vision.see(status=status.model_copy(update={"rollout": rollout}))
    assert keeps(without_vision) == "one is kept for the rollout that is under way"


def test_an_edit_that_is_not_proven_yet_keeps_it(without_vision):
    without_vision.pass_time(A_PROBE_AGO_S).respec(OTHER_LANGUAGE)
    assert number(decided(without_vision, 0, 0).plan()) == 1
    assert keeps(without_vision)


def test_none_is_written_as_bounds_and_leaves_the_gateway(without_vision):
    without_vision.pass_time(A_PROBE_AGO_S)
    plan = decided(without_vision, 0, 0).plan()
    assert plan.write and bounds_of(plan, Role.LANGUAGE) == bounds_of(plan, Role.VISION) == NONE
    gateway = plan.applications[1].deployment(DEPLOYMENTS[Role.GATEWAY])
    assert gateway.num_replicas == 1


def test_the_service_stays_ready_all_the_while(without_vision):
    plan = decided(without_vision.pass_time(A_PROBE_AGO_S), 0, 0).settle()
    assert without_vision.serve_holds(plan).said() == ("True", "Ready")
    without_vision.serve_takes(plan).settle()
    assert without_vision.said() == ("True", "Ready")
    said = without_vision.condition().message
    assert said.endswith(
        "vision and language have no replica, and the next request starts those that it needs"
    )


# --- at rest -------------------------------------------------------------------------------------------------


def test_the_status_says_none_of_none_of_both_sides(asleep):
    for role in SIDES:
        side = asleep.seen.status.roles.of(role)
        assert (side.desired, side.ready, side.replicas, side.target) == (0, 0, "0/0", 0)
    assert asleep.said("LanguageReady") == asleep.said("VisionReady") == ("True", "AtZero")
    assert asleep.condition("LanguageReady").message.endswith("no request comes; the next one starts one")
    assert asleep.said("ProbePassed") == ("True", "Ready")
    assert asleep.said("Progressing")[0] == asleep.said("Degraded")[0] == "False"


def test_at_rest_nothing_is_written_probed_or_reported(asleep):
    for _ in range(3):
        again = asleep.pass_time(3600).plan()
        assert (again.write, again.probe, again.status) == (False, None, asleep.seen.status)


def test_another_process_that_has_decided_nothing_says_the_same(asleep):
    again = asleep.change(scaling=None, probe=None).plan()
    assert (again.write, again.probe, again.status) == (False, None, asleep.seen.status)


def test_what_was_proven_keeps_its_time_and_says_that_language_slept_since(without_vision):
    before = without_vision.seen.status.probe
    acts(without_vision.pass_time(A_PROBE_AGO_S), 0, 0)
    after = without_vision.seen.status.probe
    assert after.time == before.time and after.subject != before.subject


def test_another_process_without_that_memory_proves_it_anew(asleep):
    asleep.see(status=asleep.seen.status.model_copy(update={"probe": None}))
    plan = asleep.change(scaling=None, probe=None).plan()
    assert number(plan) == number(plan, Role.VISION) == 1


def test_a_serve_that_lost_everything_gets_none_again(asleep):
    plan = asleep.change(scaling=None).change_ray(applications={}).settle()
    assert plan.write and number(plan) == number(plan, Role.VISION) == 0
    asleep.serve_takes(plan).settle()
    assert asleep.said() == ("True", "Ready") and asleep.plan().probe is None


def test_where_numbers_are_only_recommended_both_get_one_again(asleep):
    plan = asleep.respec({**SPEC, "scaling": {"mode": "Recommend"}}).plan()
    assert plan.write and number(plan) == number(plan, Role.VISION) == 1
    why = plan.status.roles.language.last_scaling[0].why
    assert why == "language 0 -> 1: with scaling.mode Recommend nobody starts one when a request comes"


# --- edits while it rests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", [OTHER_LANGUAGE, OTHER_VISION])
def test_an_edit_is_written_and_waits_for_a_request(asleep, edit):
    plan = asleep.respec(edit).settle()
    assert plan.write and number(plan) == number(plan, Role.VISION) == 0
    asleep.serve_takes(plan, replica="r0").settle()
    assert asleep.plan().probe is None and not asleep.plan().write
    assert asleep.said() == ("True", "Ready")
    assert asleep.said("Progressing")[0] == "False"


def test_an_edit_of_language_is_not_called_proven(asleep):
    taken_up(asleep.respec(OTHER_LANGUAGE))
    for _ in range(2):
        assert asleep.said("ProbePassed") == ("Unknown", "AtZero")
        assert asleep.condition("LanguageReady").message.endswith(
            "what was changed since language was probed last is probed then"
        )
        asleep.change(scaling=None, probe=None)  # another process
    taken_up(asleep.respec(SPEC))
    assert asleep.said("ProbePassed") == ("True", "Ready"), "that is what was proven"


def test_what_was_edited_is_ready_only_when_it_was_probed(asleep):
    taken_up(asleep.respec(OTHER_LANGUAGE))
    starting(asleep, Role.LANGUAGE)
    assert asleep.said()[0] == "False"
    taken_up(asleep, replica="new")
    assert asleep.said() == ("False", "ProbePending")
    asleep.probed(text_alone(asleep)).settle()
    assert asleep.said() == ("True", "Ready")


def test_another_model_starts_beside_with_both_sides_and_comes_back_to_be_proven(asleep):
    plan = asleep.respec(OTHER_MODEL).settle()
    assert all(item.name.endswith(".next") for item in plan.applications)
    assert number(plan) == number(plan, Role.VISION) == 1
    assert asleep.said() == ("True", "Ready")
    asleep.serve_takes(plan, replica="next").settle()
    assert keeps(asleep) == "", "the stand-in is proven first"
    asleep.probed(asleep.answer()).settle()
    assert asleep.seen.status.rollout.stage is RolloutStage.HANDOVER
    assert keeps(asleep) == "one is kept for the rollout that is under way"
    taken_up(asleep, replica="own")
    request = asleep.plan().probe
    assert request is not None and request.url.endswith(routes.PROBE_WITHOUT_VISION)
    asleep.probed(text_alone(asleep)).settle()
    asleep.serve_drops(asleep.settle()).settle()
    assert asleep.seen.status.rollout is None and asleep.said() == ("True", "Ready")
    assert number(asleep.pass_time(A_PROBE_AGO_S).plan()) == 0


def test_another_model_in_place_is_proven_before_the_service_rests_again(asleep):
    asleep.respec({**OTHER_MODEL, "rollout": {"strategy": "InPlace"}})
    asleep.serve_takes(asleep.settle(), replica="r0").settle()
    plan = asleep.plan()
    assert number(plan) == 1 and plan.write
    taken_up(asleep, replica="r2")
    asleep.probed(text_alone(asleep)).settle()
    assert asleep.seen.status.rollout is None and asleep.said() == ("True", "Ready")


# --- waking --------------------------------------------------------------------------------------------------


def test_waking_is_a_write_of_the_numbers(asleep):
    plan = decided(asleep, 1, 1).plan()
    one = {"min_replicas": 1, "initial_replicas": 1, "max_replicas": 1}
    assert plan.write and bounds_of(plan, Role.LANGUAGE) == bounds_of(plan, Role.VISION) == one


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ((Role.LANGUAGE,), "language starts again, and requests wait for it"),
        (SIDES, "vision and language start again, and requests wait for them"),
    ],
)
def test_while_sides_start_the_service_stays_ready_and_says_what_waits(asleep, roles, words):
    starting(asleep, *roles)
    for _ in range(3):
        assert asleep.said() == ("True", "Ready")
        assert asleep.condition().message.endswith(words)
        assert asleep.said("LanguageReady") == ("False", "Deploying")
        assert asleep.plan().probe is None
        asleep.pass_time(5).settle()


def test_once_a_text_has_started_language_it_is_probed_alone_and_stays_ready_meanwhile(asleep):
    acts(asleep, 0, 1, replica="new")
    request = asleep.plan().probe
    assert request is not None and request.url.endswith(routes.PROBE_WITHOUT_VISION)
    assert asleep.said() == ("True", "Ready")
    asleep.probed(text_alone(asleep)).settle()
    assert asleep.said() == asleep.said("ProbePassed") == ("True", "Ready")
    assert keeps(asleep) == "one is kept for 45 s after a probe"


def test_once_a_picture_has_started_both_both_are_probed(asleep):
    acts(asleep, 1, 1, replica="new")
    request = asleep.plan().probe
    assert request is not None and request.url.endswith(routes.PROBE)
    assert asleep.said() == ("True", "Ready")
    asleep.probed(asleep.answer()).settle()
    assert asleep.said() == asleep.said("ProbePassed") == ("True", "Ready")
    assert keeps(asleep) == "one is kept until language has passed its probe without vision"


def test_one_that_does_not_start_is_said_and_takes_ready_away(asleep):
    starting(asleep, Role.LANGUAGE).deployment(Role.LANGUAGE, "DEPLOY_FAILED", "RuntimeError: no such engine")
    assert asleep.said()[0] == "False"
    assert asleep.said("Degraded")[0] == "True"


def test_language_that_died_is_no_language_that_wakes(without_vision):
    without_vision.deployment(Role.LANGUAGE, "UPDATING", "", ReplicaSeen(id="again", state="STARTING"))
    assert without_vision.said()[0] == "False"


# --- pods ----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_pods(podless):
    podless.see(spec=parse_spec(SPEC))
    podless.kubernetes_takes(podless.settle()).kuberay_acts()
    podless.made_ready()
    acts(podless, 0, 1)
    podless.probed(text_alone(podless)).settle()
    return podless.pass_time(A_PROBE_AGO_S)


def test_the_pods_of_language_go_when_serve_has_drained_them_and_the_gateways_stay(in_pods):
    group, gateways = in_pods.group(Role.LANGUAGE), in_pods.groups()[in_pods.group(Role.GATEWAY)]
    (pod,) = in_pods.pods_of(group)
    plan = decided(in_pods, 0, 0).settle()
    in_pods.kubernetes_takes(plan)
    assert in_pods.groups()[group] == 1
    in_pods.serve_takes(plan).replicas_on(Role.LANGUAGE, stopping=pod)
    in_pods.kubernetes_takes(in_pods.settle())
    assert in_pods.groups()[group] == 1, "it still ends its work"
    in_pods.replicas_on(Role.LANGUAGE)
    in_pods.kubernetes_takes(in_pods.settle())
    assert in_pods.groups()[group] == 0
    assert in_pods.groups()[in_pods.group(Role.GATEWAY)] == gateways == 1


@pytest.fixture
def asleep_in_pods(in_pods):
    acts(in_pods, 0, 0)
    in_pods.kubernetes_takes(in_pods.settle())
    for role in SIDES:
        in_pods.loses_pods(in_pods.group(role))
    in_pods.settle()
    return in_pods


def test_waking_orders_pods_and_replicas_in_one_plan(asleep_in_pods):
    plan = decided(asleep_in_pods, 1, 1).settle()
    asleep_in_pods.kubernetes_takes(plan)
    for role in SIDES:
        assert asleep_in_pods.groups()[asleep_in_pods.group(role)] == 1 == number(plan, role)


def test_a_node_that_is_on_its_way_is_no_failure_for_as_long_as_a_start_takes(asleep_in_pods):
    world = asleep_in_pods
    plan = decided(world, 0, 1).settle()
    world.kubernetes_takes(plan).kuberay_acts().serve_holds(plan)
    world.deployment(Role.LANGUAGE, "UPDATING", "", ReplicaSeen(id="new", state="STARTING"))
    (pod,) = world.pods_of(world.group(Role.LANGUAGE))
    world.trouble(pod.name, "Unschedulable", "0/3 nodes are available")
    for _ in range(3):
        assert world.said() == ("True", "Ready")
        assert world.said("Degraded")[0] == "False"
        world.settle()
        world.pass_time(55)
    world.pass_time(30).settle()
    assert world.said() == ("False", "InsufficientResources")


def test_where_a_ray_cluster_has_no_room_for_it_that_is_said_after_as_long_too(asleep):
    starting(asleep, Role.LANGUAGE)
    waits = ReplicaSeen(id="new", state="STARTING")
    for _ in range(3):
        asleep.deployment(Role.LANGUAGE, "UPDATING", UNSCHEDULED, waits)
        assert asleep.said() == ("True", "Ready")
        assert 0 < asleep.settle().requeue_after_s <= 10
        asleep.pass_time(55)
    asleep.pass_time(30).settle()
    assert asleep.said() == ("False", "InsufficientResources")


def test_a_rollout_beside_goes_on_while_the_old_side_wakes(asleep):
    taken_up(asleep.respec(OTHER_MODEL), replica="next")
    plan = decided(asleep, 0, 1).settle()
    assert any(not item.name.endswith(".next") for item in plan.applications)
    asleep.serve_holds(plan)
    asleep.deployment(Role.LANGUAGE, "UPDATING", "", ReplicaSeen(id="new", state="STARTING"))
    assert asleep.said() == ("True", "Ready")
    assert asleep.said("Degraded")[0] == "False"


def test_one_that_died_while_it_started_is_said(asleep):
    starting(asleep, Role.LANGUAGE).deployment(Role.LANGUAGE, "UNHEALTHY", "")
    assert asleep.said() == ("False", "ReplicaUnhealthy")


# --- what may look like sleep, and like waking ---------------------------------------------------------------


def busy(world):
    language = world.answer().language.model_copy(update={"ok": False, "error": "No answer", "busy": True})
    return text_alone(world, ok=False, language=language)


def test_what_waited_for_a_slow_start_may_keep_the_first_probe_waiting(asleep):
    starting(asleep, Role.LANGUAGE)
    for _ in range(5):
        asleep.settle()
        asleep.pass_time(30)
    taken_up(asleep, replica="new")
    for _ in range(3):
        asleep.probed(busy(asleep)).settle()
        assert (asleep.said(), asleep.said("ProbePassed")) == (("True", "Ready"), ("Unknown", "ProbePending"))
        asleep.pass_time(5)
    asleep.pass_time(60).probed(busy(asleep)).settle()
    assert asleep.said() == ("False", "ProbeFailed")


def test_replicas_that_died_while_another_model_is_proven_do_not_wake(without_vision):
    world = without_vision.pass_time(60)
    taken_up(world.respec(OTHER_MODEL), replica="next")
    world.deployment(Role.LANGUAGE, "UNHEALTHY", "")
    assert world.settle().status.rollout.stage is RolloutStage.BESIDE
    assert world.said()[0] == "False"
    decided(world, 0, 2).settle()
    world.deployment(Role.LANGUAGE, "UPDATING", "", ReplicaSeen(id="again", state="STARTING"))
    for _ in range(3):
        world.settle()
        assert world.said()[0] == "False" and world.said("Degraded")[0] == "True"
        world.pass_time(300)


def test_another_model_leaves_what_was_edited_asleep_as_ready_as_it_was(asleep):
    taken_up(asleep.respec(OTHER_LANGUAGE))
    assert asleep.said() == ("True", "Ready")
    plan = asleep.respec({**OTHER_LANGUAGE, "model": OTHER_MODEL["model"]}).settle()
    assert plan.status.rollout.stage is RolloutStage.BESIDE
    assert asleep.said() == ("True", "Ready")


def test_an_edit_before_serve_has_shown_zero_is_marked_too(without_vision):
    world = without_vision.pass_time(60)
    world.serve_takes(decided(world, 0, 0).settle(), replica="r1")
    taken_up(world.respec(OTHER_LANGUAGE))
    assert world.said("ProbePassed") == ("Unknown", "AtZero")
    starting(world, Role.LANGUAGE)
    world.deployment(Role.LANGUAGE, "UPDATING", UNSCHEDULED, ReplicaSeen(id="a", state="STARTING"))
    assert world.said("LanguageReady") == ("False", "Deploying"), "its node may be on its way"


def test_vision_that_was_edited_asleep_is_not_said_to_be_proven(asleep):
    taken_up(asleep.respec(OTHER_VISION))
    assert asleep.condition("ProbePassed").message.startswith("what answers texts passed its last probe")


def test_a_stand_in_of_a_sleeping_service_that_has_no_room_is_given_up_as_soon_as_any_other(asleep):
    world = asleep
    world.serve_takes(world.respec(OTHER_MODEL).settle(), replica="next")
    for _ in range(4):
        world.stand_in_takes(Role.VISION, "UPDATING", "", ReplicaSeen(id="a", state="STARTING"))
        world.stand_in_takes(Role.LANGUAGE, "UPDATING", UNSCHEDULED, ReplicaSeen(id="b", state="STARTING"))
        world.settle()
        world.pass_time(20)
    assert world.seen.status.rollout.stage is RolloutStage.IN_PLACE
