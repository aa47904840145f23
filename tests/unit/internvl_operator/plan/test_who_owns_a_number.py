"""A side's number belongs to the operator or to somebody else, by its InternVLScale; a fixed number to neither."""

from dataclasses import replace

import pytest

from internvl_operator.api.conditions import ConditionType, Reason
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.scale import InternVLScaleStatus
from internvl_operator.api.spec import parse_spec
from internvl_operator.cluster.observe_scale import see_scale
from internvl_operator.plan.decision import ScaleErrand
from internvl_operator.plan.observation import LoadSeen, ScaleSeen, ScalesSeen, ScalingSeen
from internvl_operator.plan.scale_objects import may_stand
from internvl_operator.plan.scaling_input import scaling_observation
from internvl_operator.scaling.history import History, SideHistory, from_json, to_json
from internvl_operator.scaling.model import SideDecision
from internvl_operator.scaling.rises import Rises

SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision", "minReplicas": 1, "maxReplicas": 4},
    "language": {"pool": "language"},
}
FIXED = {**SPEC, "vision": {"pool": "vision", "minReplicas": 2}}
THEIRS = {**SPEC, "vision": {**SPEC["vision"], "scaledBy": "External"}}
NAME = "nano-vision"
LEARNED = from_json(
    to_json(
        History(
            at=1000.0,
            clock=500.0,
            sides={
                Role.VISION: SideHistory(
                    target=3,
                    asked=2,
                    busy_at=499.0,
                    rises=Rises(buckets={3: 7.0}, work=100.0, seen_s=400.0, peak=2.0),
                )
            },
        )
    )
)
"""What the operator remembers, as it is read back."""


def api_server_takes(world, plan):
    """What the plan wants of InternVLScales stands."""
    objects = {
        name: item
        for name, item in world.observation.scales.objects.items()
        if name not in plan.scales.delete
    }
    for manifest in plan.scales.objects:
        name = manifest["metadata"]["name"]
        known = objects.get(name)
        objects[name] = replace(see_scale(manifest), status=None if known is None else known.status)
    for manifest in plan.scales.statuses:
        name = manifest["metadata"]["name"]
        objects[name] = replace(objects[name], status=InternVLScaleStatus.model_validate(manifest["status"]))
    return world.change(scales=ScalesSeen(objects=objects))


def somebody_writes(world, replicas, writer="kubectl"):
    """By /scale, and the API server lets him."""
    objects = world.observation.scales.objects
    found = replace(objects[NAME], replicas=replicas, writer=writer)
    return world.change(scales=ScalesSeen(objects={**objects, NAME: found}))


def decided(world, target, memory="m"):
    seen = ScalingSeen(
        at=world.observation.now,
        sides={Role.VISION: SideDecision(target=target, why=f"vision -> {target}: by load")},
        metrics=Reason.METRICS_SEEN,
        memory=memory,
    )
    return world.change(scaling=seen)


def wanted(plan):
    """Vision replicas in what is written, or else None."""
    for application in plan.applications:
        for item in application.deployments:
            if item.name == DEPLOYMENTS[Role.VISION]:
                return item.num_replicas
    return None


def at_rest(world):
    """Rounds until nothing is written any more; at most three."""
    for _ in range(3):
        plan = world.settle()
        if plan.write:
            world.serve_takes(plan).settle()
            world.probed(world.answer()).settle()
        api_server_takes(world, plan)
    again = world.plan()
    assert again.scales == ScaleErrand() and not again.write and not again.events
    assert again.status == world.seen.status
    return world


def started(worlds, spec):
    world = worlds()
    world.see(spec=parse_spec(spec)).change(scales=ScalesSeen())
    return at_rest(world.made_ready())


@pytest.fixture
def ours(worlds):
    """A service at rest whose vision follows the load."""
    return started(worlds, SPEC)


@pytest.fixture
def theirs(worlds):
    """A service at rest whose vision somebody else may scale."""
    return started(worlds, THEIRS)


def scale(world) -> ScaleSeen:
    return world.observation.scales.objects[NAME]


# --- the operator's ----------------------------------------------------------------------------------------


def test_there_is_one_object_for_each_side_that_is_not_fixed(ours):
    assert set(ours.observation.scales.objects) == {NAME}
    assert (scale(ours).owner, scale(ours).replicas, scale(ours).decided) == ("Operator", 1, 1)


def test_its_status_says_what_runs_whose_pods_and_who_decides(ours):
    selector = "serving.internvl.io/role=vision,serving.internvl.io/service=nano"
    assert scale(ours).status == InternVLScaleStatus(replicas=1, selector=selector, owner="operator")


def test_the_object_follows_each_decision(ours):
    plan = decided(ours, 3).plan()
    (manifest,) = plan.scales.objects
    assert manifest["spec"] == {"role": "vision", "owner": "Operator", "replicas": 3, "decided": 3}
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("uid-1", True)
    at_rest(ours)
    assert scale(ours).status.replicas == 3


def test_a_number_that_somebody_forced_into_it_is_put_right(ours):
    plan = somebody_writes(ours, 4).plan()
    assert [item["spec"]["replicas"] for item in plan.scales.objects] == [1]
    assert wanted(plan) == 1


def test_an_object_that_somebody_deleted_is_made_again(ours):
    assert len(ours.change(scales=ScalesSeen()).plan().scales.objects) == 1


def test_an_object_that_is_being_deleted_is_left_to_go(ours):
    going = replace(scale(ours), deleting=True)
    assert ours.change(scales=ScalesSeen(objects={NAME: going})).plan().scales == ScaleErrand()


def test_an_object_of_an_earlier_service_of_this_name_decides_nothing(theirs):
    somebody_writes(theirs, 4)
    earlier = replace(scale(theirs), service_uid="uid-0")
    plan = theirs.change(scales=ScalesSeen(objects={NAME: earlier})).plan()
    assert wanted(plan) == 1 and plan.scales.objects


# --- somebody else's ---------------------------------------------------------------------------------------


def test_the_number_is_taken_from_the_object(theirs):
    plan = somebody_writes(theirs, 3).plan()
    assert plan.write and wanted(plan) == 3
    at_rest(theirs)
    vision = theirs.seen.status.roles.vision
    assert (vision.owner, vision.target, vision.desired) == ("kubectl", 3, 3)
    assert vision.why == "kubectl wrote 3 into the InternVLScale nano-vision"
    assert scale(theirs).replicas == 3 and scale(theirs).status.owner == "kubectl"


def test_each_change_is_a_line_in_the_status_and_one_event(theirs):
    plan = somebody_writes(theirs, 3, "kube-controller-manager").settle()
    (note,) = plan.events
    (step,) = plan.status.roles.vision.last_scaling
    assert (note.reason, note.message) == (Reason.SCALED_UP, step.why)
    assert step.why == ("vision 1 -> 3: kube-controller-manager wrote 3 into the InternVLScale nano-vision")
    assert not [item for item in theirs.plan().events if item.reason is Reason.SCALED_UP], "once"
    (note,) = [item for item in somebody_writes(theirs, 2).plan().events if item.reason.startswith("Scaled")]
    assert note.reason is Reason.SCALED_DOWN


@pytest.mark.parametrize(
    ("asked", "given", "why"),
    [
        (9, 4, "kubectl wrote 9 into the InternVLScale nano-vision, but spec.vision.maxReplicas is 4"),
        (0, 1, "kubectl wrote 0 into the InternVLScale nano-vision, but spec.vision.minReplicas is 1"),
    ],
)
def test_the_bounds_of_the_spec_hold_and_are_named(theirs, asked, given, why):
    at_rest(somebody_writes(theirs, asked))
    vision = theirs.seen.status.roles.vision
    assert (vision.target, vision.why) == (given, why)
    assert scale(theirs).replicas == asked, "it is not ours to change"


def test_nobody_has_written_yet(theirs):
    vision = theirs.seen.status.roles.vision
    assert (vision.owner, vision.target) == ("external", 1)
    assert vision.why == "nobody has written another number than 1 into the InternVLScale nano-vision"
    assert scale(theirs).decided is None


def test_the_load_decides_nothing_there(theirs):
    plan = decided(theirs, 4).plan()
    assert wanted(plan) == 1
    assert plan.status.condition(ConditionType.SCALING_ACTIVE) is None
    assert "scaling" not in plan.status.to_mapping()


def test_its_gpus_count_in_the_budget_of_the_other_side(theirs):
    at_rest(somebody_writes(theirs, 3))
    spec = parse_spec({**THEIRS, "language": {"pool": "language", "maxReplicas": 4}})
    seen = scaling_observation(
        replace(theirs.seen, spec=spec),
        theirs.ray,
        LoadSeen(reason=Reason.METRICS_MISSING, unknown="nobody tells"),
        {Role.VISION: 2, Role.LANGUAGE: 1},
        theirs.observation.now,
    )
    assert set(seen.sides) == {Role.LANGUAGE} and seen.elsewhere_gpus == 6


def test_the_number_stays_while_the_object_is_gone(theirs):
    at_rest(somebody_writes(theirs, 3)).change(scales=ScalesSeen())
    plan = theirs.plan()
    assert wanted(plan) == 3 and not plan.write
    assert [item["spec"]["replicas"] for item in plan.scales.objects] == [3]


def test_the_number_stays_while_objects_cannot_be_read_and_that_is_said(theirs):
    at_rest(somebody_writes(theirs, 3)).change(
        scales=ScalesSeen(trouble="the API server knows no InternVLScale", is_readable=False)
    )
    plan = theirs.plan()
    assert wanted(plan) == 3 and plan.scales == ScaleErrand()
    assert plan.status.roles.vision.why == "the API server knows no InternVLScale; vision stays at 3"
    assert theirs.said() == ("True", "Ready")


def test_without_an_api_server_the_number_stays(worlds):
    world = worlds()
    world.see(spec=parse_spec(THEIRS))
    plan = world.made_ready().plan()
    assert wanted(plan) == 1 and plan.scales == ScaleErrand()
    assert plan.status.roles.vision.why == (
        "spec.vision.scaledBy External needs an API server, where others write the number; vision stays at 1"
    )


def test_while_ray_is_away_the_object_keeps_what_it_said(theirs):
    theirs.pass_time(5)
    theirs.ray_fails(Reason.RAY_UNREACHABLE)
    assert theirs.plan().scales == ScaleErrand()


# --- from one to the other ---------------------------------------------------------------------------------


def test_who_takes_a_number_over_gets_it_as_it_stands(ours):
    at_rest(decided(ours, 3)).respec(THEIRS).change(scaling=None)
    (manifest,) = ours.plan().scales.objects
    assert manifest["spec"] == {"role": "vision", "owner": "External", "replicas": 3}
    at_rest(ours)
    assert ours.seen.status.roles.vision.target == 3


def test_the_operator_takes_a_number_back(theirs):
    at_rest(somebody_writes(theirs, 4)).respec(SPEC)
    plan = decided(theirs, 2).plan()
    (manifest,) = plan.scales.objects
    assert manifest["spec"] == {"role": "vision", "owner": "Operator", "replicas": 2, "decided": 2}
    assert wanted(plan) == 2
    at_rest(theirs)
    assert theirs.seen.status.roles.vision.owner == "operator"


def test_what_was_learned_is_kept_for_when_the_operator_has_the_number_again(ours):
    at_rest(decided(ours, 3, memory=to_json(LEARNED)))
    at_rest(ours.respec(THEIRS).change(scaling=None))
    kept = from_json(ours.seen.status.scaling.memory)
    side, before = kept.of(Role.VISION), LEARNED.of(Role.VISION)
    assert replace(side, target=3, asked=2) == before, "all but what was decided"
    assert (side.target, side.asked) == (None, None), "their number counts from now on"
    at_rest(ours.respec(SPEC))
    assert from_json(ours.seen.status.scaling.memory) == kept
    assert at_rest(ours.respec(FIXED)).seen.status.scaling is None


def test_a_service_that_is_applied_again_by_gitops_changes_nothing(theirs):
    at_rest(somebody_writes(theirs, 3)).respec(THEIRS)
    plan = theirs.plan()
    assert not plan.write and plan.scales == ScaleErrand()


# --- fixed numbers -----------------------------------------------------------------------------------------


def test_a_service_with_fixed_numbers_has_no_object(ready):
    assert not may_stand(ready.seen)
    plan = ready.change(scales=ScalesSeen()).plan()
    assert plan.scales == ScaleErrand()
    assert "owner" not in plan.status.to_mapping()["roles"]["vision"]


def test_a_service_that_is_being_deleted_is_not_asked_about(ours):
    assert may_stand(ours.seen)
    assert not may_stand(replace(ours.seen, deleting_since=ours.observation.now))


def test_the_object_goes_when_the_number_is_fixed_and_is_looked_for_until_then(ours):
    plan = ours.respec(FIXED).change(scaling=None).settle()
    assert plan.scales == ScaleErrand(delete=(NAME,))
    assert may_stand(ours.seen), "another process would have to delete it"
    api_server_takes(ours, plan).settle()
    assert not may_stand(ours.seen)
    assert "owner" not in ours.seen.status.to_mapping()["roles"]["vision"]
