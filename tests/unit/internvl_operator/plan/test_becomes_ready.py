from dataclasses import replace
from datetime import timedelta

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.plan.decision import EventKind, FinalizerChange
from internvl_operator.plan.observation import ReplicaSeen
from internvl_runtimes.contract.probes import RoleAnswer

UNSCHEDULED = (
    "Deployment 'VisionEncoder' in application 'team.nano.vision' has 1 replicas that have taken more than 30s "
    "to be scheduled. Resources required for each replica: {'CPU': 1.0}, total resources available: {}."
)


def test_a_new_service_is_written_after_its_finalizer(world):
    decided = world.plan()
    assert decided.finalizer is FinalizerChange.ADD
    assert decided.write
    assert [item.name for item in decided.applications] == ["team.nano.vision", "team.nano"]
    assert world.said() == ("False", "Deploying")
    assert world.said("Progressing") == ("True", "Deploying")
    assert world.said("Degraded") == ("False", "AsDesired")


def test_what_serve_holds_is_not_written_again(world):
    world.serve_takes(world.settle())
    assert not world.plan().write
    assert world.plan().finalizer is FinalizerChange.KEEP


def test_running_replicas_are_not_ready_before_the_probe(world):
    world.serve_takes(world.settle())
    decided = world.plan()
    assert world.said() == ("False", "ProbePending")
    assert world.said("ProbePassed") == ("Unknown", "ProbePending")
    assert world.said("VisionReady") == ("True", "Ready")
    assert decided.probe is not None
    assert decided.probe.url == "http://head:8000/team/nano/-/probe"
    assert decided.requeue_after_s == decided.probe.timeout_s


def test_a_passed_probe_makes_it_ready(world):
    world.serve_takes(world.settle()).settle()
    world.probed(world.answer())
    decided = world.plan()
    assert world.said() == ("True", "Ready")
    assert world.said("ProbePassed") == ("True", "Ready")
    assert decided.probe is None
    assert decided.status.url == "http://head:8000/team/nano"
    assert decided.status.roles.vision.replicas == "1/1"
    assert decided.status.roles.vision.revision == decided.status.model.revision
    assert [(event.kind, event.reason.value) for event in decided.events] == [(EventKind.NORMAL, "Ready")]
    assert decided.why == ("the service is Ready",)


def test_an_unchanged_world_gives_an_equal_status_and_nothing_to_do(ready):
    before = ready.seen.status
    ready.pass_time(3600)
    decided = ready.plan()
    assert decided.status == before
    assert decided.status.to_mapping() == before.to_mapping()
    assert not decided.write
    assert not decided.events
    assert decided.probe is None
    assert decided.requeue_after_s is None


def test_a_restarted_operator_changes_nothing(ready):
    before = ready.seen.status
    ray = ready.ray
    asleep = ready.change(probe=None, ray=None).plan()
    assert asleep.status == before
    assert not asleep.events
    awake = ready.change(ray=ray).plan()
    assert awake.status == before
    assert awake.probe is None
    assert not awake.write


def test_a_replaced_replica_is_probed_without_leaving_ready(ready):
    ready.deployment(Role.VISION, "HEALTHY", "", ReplicaSeen(id="r2", state="RUNNING", node_id="n"))
    decided = ready.settle()
    assert decided.probe is not None
    assert ready.said() == ("True", "Ready")
    assert ready.said("ProbePassed") == ("Unknown", "ProbePending")
    assert ready.said("Progressing") == ("True", "ProbePending")
    ready.probed(ready.answer()).settle()
    assert ready.said("ProbePassed") == ("True", "Ready")
    assert ready.plan().probe is None


def test_ready_ends_when_the_probe_of_a_replaced_replica_fails(ready):
    ready.deployment(Role.VISION, "HEALTHY", "", ReplicaSeen(id="r2", state="RUNNING", node_id="n"))
    broken = RoleAnswer(ok=False, error="cuda gone")
    ready.probed(ready.answer(ok=False, vision=broken))
    assert ready.said() == ("False", "ProbeFailed")


def test_replicas_that_are_added_under_load_may_be_too_busy_for_their_probe(ready):
    """What waits is why they were added; the probe's picture waits behind it."""
    vision = ready.answer().vision.model_copy(update={"ok": False, "error": "No answer", "busy": True})
    ready.deployment(Role.VISION, "HEALTHY", "", ReplicaSeen(id="r2", state="RUNNING", node_id="n"))
    ready.settle()
    for _ in range(3):
        plan = ready.probed(ready.answer(ok=False, vision=vision)).settle()
        assert (ready.said(), ready.said("VisionReady")) == (("True", "Ready"), ("True", "Ready"))
        assert ready.said("ProbePassed") == ("Unknown", "ProbePending")
        assert "It may be busy, and is asked again." in ready.condition("ProbePassed").message
        assert not plan.events and plan.probe is None and plan.requeue_after_s == pytest.approx(5)
        ready.pass_time(5)
    ready.pass_time(60).probed(ready.answer(ok=False, vision=vision)).settle()
    assert ready.said() == ("False", "ProbeFailed"), "what hangs is not busy for ever"
    ready.pass_time(5).probed(ready.answer(ok=False, vision=vision)).settle()
    assert ready.said() == ("False", "ProbeFailed"), "and stays so"
    ready.pass_time(5).probed(ready.answer()).settle()
    assert ready.said() == ("True", "Ready")


def test_what_was_changed_is_not_taken_for_busy(world):
    world.serve_takes(world.settle()).settle()
    vision = world.answer().vision.model_copy(update={"ok": False, "error": "No answer", "busy": True})
    world.probed(world.answer(ok=False, vision=vision)).settle()
    assert world.said() == ("False", "ProbeFailed")


def test_a_changed_configuration_is_not_ready_before_its_own_probe(ready):
    model = {"uri": "file:///models/other"}
    spec = {"model": model, "vision": {"pool": "vision"}, "rollout": {"strategy": "InPlace"}}
    written = ready.respec(spec).settle()
    assert ready.said() == ("False", "Deploying")
    ready.serve_takes(written)
    assert ready.said() == ("False", "ProbePending")
    ready.probed(ready.answer()).settle()
    assert ready.said() == ("True", "Ready")
    assert ready.seen.status.model.name == "other"


def test_a_change_of_one_side_leaves_the_other_side_ready(ready):
    spec = {
        "model": {"uri": "file:///models/nano"},
        "vision": {"pool": "vision"},
        "language": {"pool": "language", "cpu": 2},
    }
    decided = ready.respec(spec).plan()
    assert decided.write
    assert ready.said("VisionReady") == ("True", "Ready")
    assert ready.said("LanguageReady") == ("False", "Deploying")


def test_scaling_keeps_ready(ready):
    spec = {
        "model": {"uri": "file:///models/nano"},
        "vision": {"pool": "vision", "minReplicas": 2},
        "language": {"pool": "language"},
    }
    decided = ready.respec(spec).settle()
    assert decided.write
    assert ready.said() == ("True", "Ready")
    ready.serve_takes(decided)
    ready.deployment(
        Role.VISION,
        "UPSCALING",
        "",
        ReplicaSeen(id="r1-VisionEncoder-0", state="RUNNING", node_id="n"),
        ReplicaSeen(id="r1-VisionEncoder-1", state="STARTING"),
    )
    assert ready.said() == ("True", "Ready")
    assert ready.said("Progressing") == ("True", "Deploying")
    assert ready.plan().status.roles.vision.replicas == "1/2"


def test_what_serve_forgot_is_written_again(ready):
    decided = ready.change_ray(applications={}).plan()
    assert decided.write
    assert ready.said() == ("False", "Deploying")


def test_a_configuration_that_somebody_changed_is_written_again(ready):
    name = "team.nano.vision"
    shown = ready.ray.applications[name]
    config = {**shown.config, "import_path": "somebody:else"}
    ready.change_ray(applications={**ready.ray.applications, name: replace(shown, config=config)})
    decided = ready.plan()
    assert decided.write
    assert decided.why[1] == "team.nano.vision differs from what Ray Serve holds: write it"


def test_without_a_proxy_there_is_no_url_and_no_ready(ready):
    ready.change_ray(http_address=None)
    assert ready.said() == ("False", "HttpProxyMissing")
    assert ready.plan().status.url is None
    assert ready.said("ProbePassed") == ("Unknown", "HttpProxyMissing")


def test_transition_times_move_only_with_the_status(world):
    first = world.settle().status
    world.pass_time(60).serve_takes(world.plan()).settle()
    ready_condition = world.condition()
    assert ready_condition.reason == "ProbePending"
    assert ready_condition.last_transition_time == first.conditions[0].last_transition_time
    world.pass_time(1).probed(world.answer())
    assert world.condition().last_transition_time == first.conditions[0].last_transition_time + timedelta(
        seconds=61
    )


def test_replicas_of_an_updating_deployment_do_not_count(ready):
    ready.deployment(Role.VISION, "UPDATING", "", ReplicaSeen(id="r", state="RUNNING", node_id="n"))
    assert ready.said() == ("False", "Deploying")
    assert ready.plan().status.roles.vision.ready == 1
    assert ready.plan().status.roles.vision.updated == 0


@pytest.mark.parametrize("trouble", ["none", "Ray is away", "an edit is refused"])
def test_a_replica_more_that_cannot_start_takes_nothing_from_those_that_answer(world, trouble):
    may_rest = {"model": {"uri": "file:///m"}, "vision": {"minReplicas": 0, "maxReplicas": 3}}
    world.respec(may_rest).see(spec=world.seen.spec.with_replicas({Role.VISION: 2})).made_ready()
    world.see(spec=world.seen.spec.with_replicas({Role.VISION: 3}))
    world.serve_holds(world.settle())
    running = [ReplicaSeen(id=f"r{number}", state="RUNNING", node_id="n") for number in (1, 2)]
    world.deployment(Role.VISION, "UPDATING", UNSCHEDULED, *running, ReplicaSeen(id="r3", state="STARTING"))
    world.settle()
    ray, spec = world.ray, world.seen.spec
    if trouble == "Ray is away":
        world.ray_fails(Reason.RAY_UNREACHABLE).settle()
        world.change(ray=ray)
    if trouble == "an edit is refused":
        world.see(spec=None, spec_error="spec.vision.cpu: no").settle()
        world.see(spec=spec, spec_error=None)
    if trouble != "none":
        world.settle()
        world.probed(world.answer())
    assert world.said() == ("True", "Ready")
    assert world.plan().status.roles.vision.updated == 2


def test_of_an_update_that_ray_hid_nobody_knows_which_replicas_run(world):
    may_rest = {"model": {"uri": "file:///m"}, "vision": {"minReplicas": 0, "maxReplicas": 3}}
    world.respec(may_rest).see(spec=world.seen.spec.with_replicas({Role.VISION: 2})).made_ready()
    changed = {**may_rest, "vision": {**may_rest["vision"], "cpu": "3"}}
    world.respec(changed).see(spec=world.seen.spec.with_replicas({Role.VISION: 2}))
    world.serve_takes(world.settle())
    running = [ReplicaSeen(id=f"r{number}", state="RUNNING", node_id="n") for number in (1, 2)]
    world.deployment(Role.VISION, "UPDATING", "", *running).settle()
    before = world.ray
    world.ray_fails(Reason.RAY_UNREACHABLE).settle()
    world.observation = replace(world.observation, ray=before)
    assert world.plan().status.roles.vision.updated == 0
    assert world.said() == ("False", "Deploying")


def test_an_application_that_is_being_built_is_deploying(world):
    world.serve_takes(world.settle()).build(Role.LANGUAGE, "DEPLOYING")
    assert world.said() == ("False", "Deploying")
    assert "building" in world.condition("LanguageReady").message


def test_a_changed_configuration_has_no_revision_before_its_own_probe(ready):
    assert ready.plan().status.roles.vision.revision
    ready.respec({"model": {"uri": "file:///models/other"}})
    assert ready.plan().status.roles.vision.revision is None


def test_what_serve_said_before_all_replicas_ran_does_not_count(ready):
    running = ReplicaSeen(id="r1-VisionEncoder-0", state="RUNNING", node_id="n")
    ready.deployment(Role.VISION, "HEALTHY", "[internvl:ModelNotFound] nothing lies there", running)
    assert ready.said("Degraded") == ("False", "AsDesired")
