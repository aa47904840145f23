"""A change of model: beside the old one where there is room, and what answers is never given up for a hope."""

import pytest

from internvl_operator.api import names
from internvl_operator.api.names import Role
from internvl_operator.api.status import RolloutStage
from internvl_operator.plan.observation import ReplicaSeen
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed

KEY_OWN = {"team.nano.vision", "team.nano"}
KEY_STAND_IN = {"team.nano.vision.next", "team.nano.next"}
WAITING = ReplicaSeen(id="w", state="STARTING")
NO_NODE = (
    "Deployment has 1 replicas that have taken more than 30s to be scheduled. This may be due to waiting for the "
    'cluster to auto-scale. Resources required for each replica: {"CPU": 1.0}, total resources available: {}.'
)


def spec(uri="file:///models/second", **changes):
    return {
        "model": {"uri": uri, "name": "nano"},
        "vision": {"pool": "vision"},
        "language": {"pool": "language"},
        **changes,
    }


def to_second(world, **changes):
    return world.respec(spec(**changes))


def stage(world):
    rollout = world.plan().status.rollout
    return None if rollout is None else rollout.stage


def written(decided):
    return {item.name for item in decided.applications} if decided.write else set()


@pytest.fixture
def first(worlds):
    world = worlds()
    world.respec(spec("file:///models/nano"))
    return world.made_ready()


@pytest.fixture
def beside(first):
    """The stand-in is written and runs; nothing asked it yet."""
    to_second(first)
    return first.serve_takes(first.settle(), replica="s")


def test_the_new_model_starts_beside_and_nothing_that_answers_is_touched(first):
    to_second(first)
    decided = first.plan()
    assert written(decided) == KEY_STAND_IN
    assert decided.remove == ()
    (vision, main) = decided.applications
    assert main.route_prefix == "/team/nano/-/next"
    config = main.deployment("Gateway").user_config
    assert config["vision_application"] == vision.name == "team.nano.vision.next"
    assert config["model"]["uri"] == "file:///models/second"
    assert stage(first) is RolloutStage.BESIDE


def test_the_service_stays_ready_and_says_what_is_under_way(first):
    to_second(first)
    assert first.said() == ("True", "Ready")
    assert first.said("Progressing") == ("True", "RollingOut")
    assert first.said("Degraded") == ("False", "AsDesired")
    assert first.said("VisionReady")[0] == "False", "of the wanted generation none runs"
    assert first.plan().status.roles.vision.replicas == "1/1"


def test_scaling_goes_on_during_a_rollout(beside):
    vision = {"pool": "vision", "minReplicas": 2}
    decided = beside.respec(spec(vision=vision)).plan()
    own = next(item for item in decided.applications if item.name == "team.nano.vision")
    assert own.deployments[0].num_replicas == 2
    held = beside.ray.applications["team.nano.vision"].config["deployments"][0]
    assert own.deployments[0].to_mapping() == {**held, "num_replicas": 2}, "and it stays the old model"
    beside.serve_takes(decided, replica="s")
    assert "team.nano.vision" not in {item.name for item in beside.plan().applications}
    assert beside.said() == ("True", "Ready")


def test_only_a_stand_in_that_passed_its_own_probe_takes_over(beside):
    probe = beside.settle().probe
    assert probe.url == "http://head:8000/team/nano/-/next/-/probe"
    assert written(beside.plan()) == set()
    beside.probed(beside.answer(features_differ=False)).settle()
    assert stage(beside) is RolloutStage.BESIDE
    assert beside.said() == ("True", "Ready")
    assert beside.said("Degraded") == ("True", "FeaturesIdentical")
    beside.pass_time(6).probed(beside.answer())
    assert written(beside.plan()) == KEY_OWN
    assert stage(beside) is RolloutStage.HANDOVER
    assert beside.plan().remove == ()


def test_the_stand_in_goes_when_the_services_own_replicas_passed(beside):
    beside.probed(beside.answer())
    beside.serve_takes(beside.settle(), replica="n")
    decided = beside.settle()
    assert stage(beside) is RolloutStage.HANDOVER
    assert decided.remove == () and decided.probe.url == "http://head:8000/team/nano/-/probe"
    assert beside.said() == ("True", "Ready")
    beside.probed(beside.answer())
    decided = beside.settle()
    assert set(decided.remove) == KEY_STAND_IN and decided.write
    assert decided.status.rollout is None
    beside.serve_drops(decided)
    assert not beside.plan().write
    assert beside.said("Progressing") == ("False", "AsDesired")


def test_while_the_own_replicas_load_the_stand_in_keeps_the_service_ready(beside):
    beside.probed(beside.answer())
    beside.serve_holds(beside.settle())
    assert beside.said() == ("True", "Ready")
    assert stage(beside) is RolloutStage.HANDOVER
    beside.deployment(Role.VISION, "UPDATING")
    assert beside.said() == ("True", "Ready"), "the stand-in answers"
    gone = {name: item for name, item in beside.ray.applications.items() if name in KEY_OWN}
    beside.change_ray(applications=gone)
    assert beside.said()[0] == "False"


def test_a_model_that_does_not_load_leaves_the_old_one_answering_and_is_named(beside):
    message = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "There is no checkpoint folder /models/second."))
    beside.stand_in_takes(Role.VISION, "DEPLOY_FAILED", message)
    assert written(beside.plan()) & KEY_OWN == set()
    assert beside.said() == ("True", "Ready")
    assert beside.said("Degraded") == ("True", "ModelNotFound")
    assert "spec.model.uri" in beside.condition("Degraded").message
    assert "/models/second" in beside.plan().status.rollout.message


def test_a_replica_that_dies_meanwhile_does_not_put_an_unproven_model_in_its_place(beside):
    message = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing there"))
    beside.stand_in_takes(Role.VISION, "DEPLOY_FAILED", message).settle()
    beside.deployment(Role.VISION, "UPSCALING", "", WAITING)
    decided = beside.settle()
    assert stage(beside) is RolloutStage.BESIDE and written(decided) & KEY_OWN == set()
    assert beside.said()[0] == "False", "nothing sees at this moment"
    beside.pass_time(30 * 60 + 1).settle()
    assert stage(beside) is RolloutStage.STOPPED and beside.plan().applications == ()


def test_what_answers_meanwhile_and_dies_is_told(beside):
    beside.deployment(Role.LANGUAGE, "UNHEALTHY", "A replica's health check failed.")
    assert beside.said() == ("False", "ReplicaUnhealthy")
    assert beside.said("Degraded") == ("True", "ReplicaUnhealthy")
    assert "language: of the replicas that answer until the new ones do, 0 of 1" in beside.condition().message
    assert stage(beside) is RolloutStage.BESIDE


def test_it_stops_at_the_deadline_and_an_edit_begins_anew(beside):
    message = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing there"))
    beside.stand_in_takes(Role.VISION, "DEPLOY_FAILED", message).settle()
    beside.pass_time(30 * 60 + 1)
    decided = beside.settle()
    assert set(decided.remove) == KEY_STAND_IN and decided.write and decided.applications == ()
    assert beside.said() == ("True", "Ready")
    assert beside.said("Degraded") == ("True", "RolloutDeadlineExceeded")
    assert beside.said("Progressing") == ("False", "RolloutDeadlineExceeded")
    assert "nothing there" in beside.condition("Degraded").message
    beside.serve_drops(decided).pass_time(3600)
    assert not beside.settle().write, "and it stays stopped"
    assert stage(beside) is RolloutStage.STOPPED
    to_second(beside, rollout={"deadline": "1h"})
    assert written(beside.plan()) == KEY_STAND_IN
    assert beside.said("Degraded") == ("False", "AsDesired")


def test_the_deadline_is_looked_at_without_anybodys_call(first):
    to_second(first, rollout={"deadline": "90s"})
    first.serve_takes(first.settle(), replica="s")
    first.stand_in_takes(Role.VISION, "UPDATING", "", WAITING)
    first.pass_time(60).settle()
    assert first.plan().requeue_after_s <= 30


def test_a_revert_removes_the_stand_in_and_touches_nothing_else(beside):
    beside.respec(spec("file:///models/nano"))
    decided = beside.settle()
    assert set(decided.remove) == KEY_STAND_IN
    assert written(decided) == KEY_OWN, "the wanted set"
    assert all(item.matches(beside.ray.applications[item.name].config) for item in decided.applications)
    assert beside.said() == ("True", "Ready")
    assert decided.status.rollout is None


def test_of_many_edits_the_last_one_is_rolled_out_by_the_same_stand_in(first):
    for number in range(5):
        to_second(first, uri=f"file:///models/{number}")
        first.serve_takes(first.settle(), replica=f"s{number}")
    first.probed(first.answer())
    decided = first.settle()
    assert written(decided) == KEY_OWN
    assert set(first.ray.applications) == KEY_OWN | KEY_STAND_IN
    assert decided.applications[0].deployments[0].user_config["model"]["uri"] == "file:///models/4"


@pytest.mark.parametrize("uri", ["file:///models/third", "file:///models/nano"])
def test_an_edit_during_the_handover_converges_on_the_last_and_what_answers_stays_until_then(beside, uri):
    beside.probed(beside.answer())
    beside.serve_takes(beside.settle(), replica="n")
    beside.deployment(Role.VISION, "UPDATING")
    to_second(beside, uri=uri)
    decided = beside.settle()
    assert written(decided) == KEY_OWN and decided.remove == ()
    assert decided.applications[0].deployments[0].user_config["model"]["uri"] == uri
    beside.serve_takes(decided, replica="t")
    beside.deployment(Role.VISION, "UPDATING")
    assert beside.settle().remove == () and stage(beside) is RolloutStage.HANDOVER
    assert beside.said() == ("True", "Ready")
    beside.serve_takes(decided, replica="t").settle()
    beside.probed(beside.answer())
    beside.serve_drops(beside.settle())
    assert set(beside.ray.applications) == KEY_OWN
    assert beside.said() == ("True", "Ready") and stage(beside) is None


def test_in_place_touches_the_own_replicas_at_once(first):
    to_second(first, rollout={"strategy": "InPlace"})
    decided = first.settle()
    assert written(decided) == KEY_OWN
    assert stage(first) is RolloutStage.IN_PLACE
    first.serve_holds(decided)
    assert stage(first) is RolloutStage.IN_PLACE, "until it is done"
    first.serve_takes(first.settle(), replica="n")
    first.probed(first.answer())
    assert stage(first) is None and first.said() == ("True", "Ready")


def test_without_room_it_says_so_and_goes_in_place(beside):
    beside.stand_in_takes(Role.VISION, "UPDATING", NO_NODE, WAITING).settle()
    assert stage(beside) is RolloutStage.BESIDE
    assert beside.said("Degraded") == ("True", "InsufficientResources")
    beside.pass_time(31)
    decided = beside.settle()
    assert written(decided) == KEY_OWN and set(decided.remove) == KEY_STAND_IN
    assert "no room for it beside" in decided.status.rollout.message
    beside.serve_drops(decided).serve_holds(decided)
    assert "no room for it beside" in beside.plan().status.rollout.message, "the reason stays"


def test_a_strategy_that_wants_both_waits_for_room(beside):
    beside.respec(spec(rollout={"strategy": "Beside"})).settle()
    beside.stand_in_takes(Role.VISION, "UPDATING", NO_NODE, WAITING).settle()
    beside.pass_time(600)
    assert stage(beside) is RolloutStage.BESIDE
    assert beside.said() == ("True", "Ready")


def test_a_service_that_does_not_answer_gets_the_new_model_at_once(world):
    world.serve_takes(world.settle())
    world.deployment(Role.VISION, "DEPLOY_FAILED", str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "no")))
    world.settle()
    world.respec(spec("file:///models/right"))
    assert written(world.plan()) == KEY_OWN


def test_a_restarted_operator_goes_on_at_each_stage(beside):
    beside.change(probe=None)
    assert stage(beside) is RolloutStage.BESIDE and beside.plan().probe is not None
    beside.probed(beside.answer())
    beside.serve_holds(beside.settle())
    beside.change(probe=None, write=None)
    assert stage(beside) is RolloutStage.HANDOVER and not beside.plan().write
    assert beside.said() == ("True", "Ready")


def test_in_pods_the_stand_in_gets_pods_of_the_same_groups_and_they_go_with_it(ready_in_pods):
    world = ready_in_pods
    before = world.groups()
    world.respec({**spec(), "model": {"uri": "file:///models/second"}})
    decided = world.settle()
    world.kubernetes_takes(decided)
    vision, language = world.group(Role.VISION), world.group(Role.LANGUAGE)
    assert world.groups() == {**before, vision: 2, language: 2}, "and no second gateway"
    gateway = decided.applications[1].deployment("Gateway").ray_actor_options
    assert gateway.resources is None
    assert gateway.label_selector == {"serving.internvl.io/group": language}
    world.kuberay_acts().serve_takes(world.settle(), replica="s")
    world.probed(world.answer())
    world.serve_takes(world.settle(), replica="n")
    assert world.groups()[vision] == 2
    assert world.plan().objects == ()
    world.probed(world.answer())
    decided = world.settle()
    assert set(decided.remove) == set(names.stand_ins(world.seen.key))
    world.kubernetes_takes(decided)
    assert world.groups()[vision] == 2, "its replica stands until Serve has drained it"
    world.serve_drops(decided)
    world.kubernetes_takes(world.settle())
    assert world.groups() == before
    entry = next(i for i in world.ray_cluster["spec"]["workerGroupSpecs"] if i["groupName"] == vision)
    own = world.ray.applications["team.nano.vision"].deployments["VisionEncoder"].replicas[0]
    left = [pod.name for pod in world.pods_of(vision) if pod.address != own.node_ip]
    assert entry["scaleStrategy"] == {"workersToDelete": left}


def test_in_pods_without_a_spare_gpu_it_goes_in_place(ready_in_pods):
    world = ready_in_pods
    before = world.groups()
    world.respec({**spec(), "model": {"uri": "file:///models/second"}})
    world.kubernetes_takes(world.settle()).kuberay_acts().serve_takes(world.settle(), replica="s")
    group = world.group(Role.VISION)
    own = world.ray.applications["team.nano.vision"].deployments["VisionEncoder"].replicas[0]
    spare = next(pod for pod in world.pods_of(group) if pod.address != own.node_ip)
    world.trouble(spare.name, "Unschedulable", "3 Insufficient nvidia.com/gpu.")
    world.stand_in_takes(Role.VISION, "UPDATING", "", WAITING).settle()
    assert world.said() == ("True", "Ready")
    assert "Insufficient nvidia.com/gpu" in world.condition("Degraded").message
    world.pass_time(31)
    decided = world.settle()
    assert "Insufficient nvidia.com/gpu" in decided.status.rollout.message
    world.serve_drops(decided).serve_takes(decided, replica="n")
    world.kubernetes_takes(world.settle())
    assert world.groups() == before


def test_a_model_in_another_claim_gets_new_groups_and_the_old_ones_stay_until_the_end(ready_in_pods):
    world = ready_in_pods
    before = world.groups()
    world.respec({**spec(), "model": {"uri": "pvc://other/second"}})
    world.kubernetes_takes(world.settle()).kuberay_acts()
    new = {role: world.group(role) for role in Role}
    assert world.groups() == {**before, new[Role.VISION]: 1, new[Role.LANGUAGE]: 1}
    world.serve_takes(world.settle(), replica="s")
    assert world.plan().objects == (), "what answers keeps its pods"
    world.probed(world.answer())
    world.kubernetes_takes(world.settle()).kuberay_acts()
    new = {role: world.group(role) for role in Role}
    assert world.groups()[new[Role.VISION]] == 2 and world.groups()[new[Role.GATEWAY]] == 1


def surges(decided):
    return {item.name: item.max_surge_percent for app in decided.applications for item in app.deployments}


def test_own_replicas_that_move_to_other_pods_ask_for_no_third_gpu_during_the_handover(ready_in_pods):
    world = ready_in_pods
    world.respec({**spec(), "model": {"uri": "pvc://other/second"}})
    world.kubernetes_takes(world.settle()).kuberay_acts().serve_takes(world.settle(), replica="s")
    world.probed(world.answer())
    decided = world.settle()
    assert stage(world) is RolloutStage.HANDOVER and written(decided) == KEY_OWN
    assert surges(decided) == {"VisionEncoder": None, "LanguageModel": None, "Gateway": 100}
    world.kubernetes_takes(decided).kuberay_acts().serve_takes(decided, replica="n").settle()
    world.probed(world.answer())
    decided = world.settle()
    assert stage(world) is None and set(decided.remove) == KEY_STAND_IN
    assert set(surges(decided).values()) == {100}, "for the next change of pods"
    world.serve_drops(decided).serve_takes(decided, replica="n")
    assert not world.plan().write and world.said() == ("True", "Ready")


def test_a_model_in_another_claim_without_a_spare_gpu_takes_the_old_pods_place(ready_in_pods):
    world = ready_in_pods
    vision = {"pool": "vision", "minReplicas": 2}
    world.respec({**spec(), "model": {"uri": "file:///models/nano"}, "vision": vision})
    world.kubernetes_takes(world.settle()).kuberay_acts().made_ready()
    old = world.group(Role.VISION)
    world.respec({**spec(), "model": {"uri": "pvc://other/second"}, "vision": vision})
    world.kubernetes_takes(world.settle()).kuberay_acts().serve_takes(world.settle(), replica="s")
    world.trouble(
        world.pods_of(world.group(Role.VISION))[0].name, "Unschedulable", "Insufficient nvidia.com/gpu."
    )
    world.stand_in_takes(Role.VISION, "UPDATING", "", WAITING).settle()
    world.pass_time(31)
    decided = world.settle()
    assert stage(world) is RolloutStage.IN_PLACE
    assert surges(decided) == {"VisionEncoder": None, "LanguageModel": None, "Gateway": 100}
    # Serve holds the new configuration and has stopped the first of two replicas; the other one still runs.
    first, second = world.pods_of(old)
    world.serve_drops(decided).serve_takes(decided, replica="n")
    runs = ReplicaSeen(id="old", state="RUNNING", node_id="node", node_ip=second.address)
    world.deployment(Role.VISION, "UPDATING", "", runs, WAITING)
    world.kubernetes_takes(world.settle())
    assert world.groups()[old] == 1, "its GPU is what the first new replica waits for"
    entry = next(item for item in world.ray_cluster["spec"]["workerGroupSpecs"] if item["groupName"] == old)
    assert entry["scaleStrategy"] == {"workersToDelete": [first.name]}


def test_a_group_that_serve_still_selects_is_kept_while_its_replica_is_being_replaced(ready_in_pods):
    world = ready_in_pods
    old = world.group(Role.VISION)
    world.respec({**spec(), "model": {"uri": "pvc://other/second"}})
    world.kubernetes_takes(world.settle()).kuberay_acts().serve_takes(world.settle(), replica="s")
    world.deployment(
        Role.VISION, "UPSCALING", "", WAITING
    )  # the old model's replica died; Serve starts another
    world.kubernetes_takes(world.settle())
    assert world.groups()[old] == 1
