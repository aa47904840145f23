"""A change of the head: a second Ray cluster beside the first, and what answers is never given up for a hope."""

from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import House, Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import RolloutStage
from internvl_operator.plan.backend import ray_home
from internvl_operator.plan.houses import current_house
from internvl_operator.plan.observation import (
    ClusterSeen,
    PodSeen,
    ProbeSeen,
    RaySeen,
    RaySide,
    RayUnavailable,
    ReplicaSeen,
    ScalingSeen,
)
from internvl_operator.plan.plan import plan
from internvl_operator.render.cluster_objects import ObjectId, objects_of_house
from internvl_operator.scaling.model import SIDES, SideDecision
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.contract.pods import DRAIN_S
from internvl_runtimes.contract.probes import ProbeAnswer, RoleAnswer

FIRST, SECOND = House.FIRST, House.SECOND
FRONT = ObjectId("Service", "nano")
REVISION = "sha256:" + "ab" * 32
SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision"},
    "language": {"pool": "language"},
}


def cluster_id(house):
    return ObjectId("RayCluster", f"nano-{house}")


class Town:
    """A service with one Ray cluster or two; each step is what Kubernetes, KubeRay, Serve and probes do."""

    def __init__(self, world):
        self.world = world
        self.objects = dict(world.cluster.objects)
        self.pods = {FIRST: world.cluster.pods, SECOND: ()}
        self.rays = {FIRST: world.ray, SECOND: None}
        self.probes = {FIRST: world.observation.probe, SECOND: None}
        self.numbers = count()

    # --- deciding

    @property
    def house(self):
        return self.observation().house

    def observation(self):
        cluster = ClusterSeen(objects=self.objects, pods=(*self.pods[FIRST], *self.pods[SECOND]))
        house = current_house(self.world.seen, cluster)
        beside = RaySide(ray=self.rays[house.other], probe=self.probes[house.other])
        return replace(
            self.world.observation,
            cluster=cluster,
            house=house,
            ray=self.rays[house],
            probe=self.probes[house],
            beside=beside,
        )

    def plan(self):
        return plan(self.observation(), self.world.settings)

    def step(self):
        """What is decided happens in Kubernetes and in Serve; the pods of a deleted cluster are still there."""
        decided, house = self.plan(), self.house
        for item in decided.objects:
            self.objects[ObjectId.of(item)] = item
        for identity in decided.delete:
            self.objects.pop(identity, None)
            if identity == cluster_id(house) or identity == cluster_id(house.other):
                self.rays[House(identity.name.rpartition("-")[2])] = None
        for where, errand in ((house, decided), (house.other, decided.beside)):
            if errand is not None and errand.write:
                self.serve_takes(where, errand)
        self.world.see(status=decided.status)
        return decided

    # --- what happens

    def seen_as_one(self, house):
        """The steps of a world with one cluster, for this one."""
        cluster = ClusterSeen(objects=self.objects, pods=self.pods[house])
        self.world.change(cluster=cluster, ray=self.rays[house])
        return self.world

    def serve_takes(self, house, errand):
        self.rays[house] = self.seen_as_one(house).serve_takes(errand, replica=f"{house}").ray

    def kuberay_makes(self, house=SECOND):
        """All pods of the cluster, and a head that answers."""
        groups = self.objects[cluster_id(house)]["spec"]["workerGroupSpecs"]
        wanted = [
            ("headgroup", 0),
            *((item["groupName"], i) for item in groups for i in range(item["replicas"])),
        ]
        known = {pod.name: pod for pod in self.pods[house]}
        pods = [
            known.get(f"{house}-{group}-{i}")
            or PodSeen(
                name=f"{house}-{group}-{i}",
                group=group,
                cluster=f"nano-{house}",
                phase="Running",
                ready=True,
                address=f"10.2.0.{next(self.numbers)}",
            )
            for group, i in wanted
        ]
        self.pods[house] = tuple(pods)
        if self.rays[house] is None:
            address = names.head_address(self.world.seen.key, house)
            http = "http://head:8000"
            ray = RaySeen(address=address, at=self.world.observation.now, applications={}, http_address=http)
            self.rays[house] = ray
        return self

    def is_probed(self, house=SECOND, **changes):
        decided = self.plan()
        errand = decided if house is self.house else decided.beside
        assert errand.probe is not None, "nothing was to be probed"
        generations = {
            item.name: item.user_config["generation"]
            for app in self.rays[house].applications.values()
            for item in app.deployments.values()
        }
        sides = {
            role.value: RoleAnswer(
                ok=True, generation=generations[names.DEPLOYMENTS[role]], revision=REVISION
            )
            for role in Role
        }
        answer = ProbeAnswer(**{"ok": True, "features_differ": True, **sides, **changes})
        self.probes[house] = ProbeSeen(
            at=self.world.observation.now, subject=errand.probe.subject, answer=answer
        )
        return self

    def pods_end(self, house):
        self.pods[house] = ()
        return self

    def pod_is(self, house, group, **changes):
        self.pods[house] = tuple(
            replace(pod, **changes) if pod.group.startswith(group) else pod for pod in self.pods[house]
        )
        return self

    def finds_no_room(self, house, detail=""):
        """No node has room for its vision pod, from now on."""
        since = self.world.observation.now
        trouble = {"phase": "Pending", "trouble": "Unschedulable", "detail": detail}
        return self.pod_is(house, "vision", ready=False, unscheduled_since=since, **trouble)

    def pass_time(self, seconds):
        self.world.pass_time(seconds)
        return self

    def respec(self, **changes):
        self.world.respec({**SPEC, **changes})
        return self

    def ask_for_head(self, memory="4Gi", **changes):
        offer = self.world.observation.offer
        head = offer.head.model_copy(update={"memory": memory})
        self.world.change(offer=offer.model_copy(update={"head": head, **changes}))
        return self

    def lives(self, *, forgets=False, rounds=12, seconds=30):
        """Everything happens that may happen, until nothing does."""
        for _ in range(rounds):
            self.step()
            for house in House:
                if cluster_id(house) in self.objects:
                    self.kuberay_makes(house)
                else:
                    self.pods_end(house)
            decided = self.plan()
            for house, errand in ((self.house, decided), (self.house.other, decided.beside)):
                if errand is not None and errand.probe is not None:
                    self.is_probed(house)
            if forgets:
                self.step()
                self.probes = {FIRST: None, SECOND: None}
            self.pass_time(seconds)
        return self

    # --- what is said

    def selected(self):
        return self.objects[FRONT]["spec"]["selector"]["ray.io/cluster"]

    def standing(self, house):
        return {
            identity for identity in objects_of_house(self.world.seen.key, house) if identity in self.objects
        }

    def said(self, kind="Ready"):
        found = next(c for c in self.plan().status.conditions if c.type == kind)
        return found.status.value, found.reason.value

    def message(self, kind):
        return next(c for c in self.plan().status.conditions if c.type == kind).message

    def stage(self):
        rollout = self.plan().status.rollout
        return None if rollout is None else rollout.stage


@pytest.fixture
def town(ready_in_pods):
    ready_in_pods.respec(SPEC).settle()
    return Town(ready_in_pods)


@pytest.fixture
def beside(town):
    """The second cluster stands, its pods run and Serve there holds what is wanted; nobody probed it yet."""
    town.ask_for_head().step()
    town.kuberay_makes().step()
    return town


@pytest.fixture
def draining(beside):
    """Clients are sent to the second cluster; the first one still stands."""
    beside.is_probed().step()
    return beside


def identities(decided):
    return [ObjectId.of(item) for item in decided.objects]


def test_nothing_happens_at_rest(town):
    decided = town.plan()
    assert decided.objects == () and decided.delete == () and decided.beside is None and not decided.write
    assert decided.status == town.world.seen.status and decided.requeue_after_s is None


def test_a_cluster_of_an_older_operator_only_gets_the_annotation(town):
    live = town.objects[cluster_id(FIRST)]
    metadata = {part: value for part, value in live["metadata"].items() if part != "annotations"}
    town.objects[cluster_id(FIRST)] = {**live, "metadata": metadata}
    town.ask_for_head()
    decided = town.step()
    assert identities(decided) == [cluster_id(FIRST)] and decided.delete == () and decided.beside is None
    assert decided.objects[0]["metadata"]["annotations"].keys() == {"serving.internvl.io/head"}
    assert town.stage() is None and town.said() == ("True", "Ready")
    assert town.plan().objects == ()


def test_how_an_operator_renders_a_head_moves_nothing(town):
    live = town.objects[cluster_id(FIRST)]
    head = {**live["spec"]["headGroupSpec"], "serviceType": "NodePort"}
    town.objects[cluster_id(FIRST)] = {**live, "spec": {**live["spec"], "headGroupSpec": head}}
    assert identities(town.plan()) == [cluster_id(FIRST)] and town.stage() is None


@pytest.mark.parametrize("change", ["memory", "image", "redis"])
def test_a_second_cluster_is_made_beside_and_nothing_of_the_first_is_touched(town, change):
    offer = town.world.observation.offer
    redis = {"gcs": offer.gcs.model_validate({"redis": {"address": "redis://redis:6379"}})}
    given = {"memory": {}, "image": {"image": "example.test/internvl-runtime:2"}, "redis": redis}[change]
    town.ask_for_head("4Gi" if change == "memory" else "3Gi", **given)
    decided = town.step()
    assert set(identities(decided)) == set(objects_of_house(town.world.seen.key, SECOND))
    assert decided.create_token == (SECOND,) and decided.delete == () and not decided.write
    assert town.selected() == "nano-ray"
    assert town.said() == ("True", "Ready") and town.stage() is RolloutStage.CLUSTER
    assert town.said("Progressing") == ("True", "RollingOut")
    assert town.said("Degraded") == ("False", "AsDesired")


def test_the_second_cluster_is_written_to_and_probed_by_a_service_of_its_own(beside):
    decided = beside.plan()
    assert not decided.write and decided.probe is None
    assert {name: len(app.deployments) for name, app in beside.rays[SECOND].applications.items()} == {
        "team.nano.vision": 1,
        "team.nano": 2,
    }
    assert decided.beside.probe.url == "http://nano-alt-next.team.svc/-/probe"
    assert (
        beside.objects[ObjectId("Service", "nano-alt-next")]["spec"]["selector"]["ray.io/cluster"]
        == "nano-alt"
    )
    assert beside.selected() == "nano-ray", "it has not passed yet"
    assert decided.status.ray_address == "http://nano-ray-head-svc.team.svc:8265"


def test_clients_are_sent_there_once_its_probe_has_passed(beside):
    decided = beside.is_probed().step()
    assert identities(decided) == [FRONT] and decided.delete == ()
    assert beside.selected() == "nano-alt"
    assert beside.stage() is RolloutStage.DRAINING
    assert beside.said() == ("True", "Ready")
    assert beside.plan().status.ray_address == "http://nano-alt-head-svc.team.svc:8265"
    assert beside.plan().status.url == "http://nano.team.svc"


def test_a_probe_that_fails_leaves_the_first_one_answering(beside):
    beside.is_probed(features_differ=False).step()
    assert beside.selected() == "nano-ray" and beside.said() == ("True", "Ready")
    assert beside.said("Degraded") == ("True", "FeaturesIdentical")
    assert "second Ray cluster" in beside.message("Degraded")
    assert beside.stage() is RolloutStage.CLUSTER


def test_the_old_cluster_goes_after_the_drain_and_its_guards_with_its_last_pod(draining):
    decided = draining.step()
    assert cluster_id(FIRST) not in decided.delete and decided.requeue_after_s <= DRAIN_S
    assert decided.objects == () and decided.delete == (ObjectId("Service", "nano-alt-next"),)
    draining.pass_time(DRAIN_S - 1)
    assert draining.step().delete == ()
    draining.pass_time(1)
    assert draining.step().delete == (cluster_id(FIRST),)
    assert len(draining.standing(FIRST)) == 5, "budgets and network policies guard the pods that end"
    assert draining.step().delete == ()
    draining.pods_end(FIRST).step()
    assert draining.standing(FIRST) == set() and draining.stage() is None
    assert draining.said() == ("True", "Ready") and draining.said("Progressing") == ("False", "AsDesired")
    draining.step()
    test_nothing_happens_at_rest(draining)


def test_the_next_change_goes_back_to_the_first_name(town):
    town.ask_for_head().lives()
    assert town.selected() == "nano-alt" and town.standing(FIRST) == set()
    town.ask_for_head("5Gi").lives()
    assert town.selected() == "nano-ray" and town.standing(SECOND) == set()
    assert town.said() == ("True", "Ready") and town.stage() is None


@pytest.mark.parametrize("strategy", ["Auto", "Beside", "InPlace"])
@pytest.mark.parametrize("forgets", [False, True])
def test_an_operator_that_is_restarted_at_each_step_gets_to_the_same_end(town, strategy, forgets):
    town.respec(rollout={"strategy": strategy}).step()
    town.ask_for_head().lives(forgets=forgets, rounds=20)
    assert town.selected() == "nano-alt" and town.standing(FIRST) == set()
    assert town.said() == ("True", "Ready") and town.stage() is None


def test_a_second_look_at_each_stage_changes_nothing(town):
    town.ask_for_head()
    for happens in (
        lambda: None,
        town.kuberay_makes,
        lambda: None,
        town.is_probed,
        lambda: town.pass_time(DRAIN_S),
        lambda: town.pods_end(FIRST),
    ):
        happens()
        for _ in range(3):
            town.step()
        again = town.plan()
        assert again.status == town.world.seen.status and again.objects == () and again.delete == ()
        assert again.beside is None or not again.beside.write


def test_a_revert_in_the_middle_deletes_the_second_and_never_touched_the_first(beside):
    before = {identity: beside.objects[identity] for identity in beside.standing(FIRST)}
    beside.ask_for_head("3Gi")
    decided = beside.step()
    assert decided.objects == () and cluster_id(SECOND) in decided.delete and not decided.write
    assert beside.said() == ("True", "Ready")
    beside.pods_end(SECOND).step()
    assert beside.standing(SECOND) == set() and beside.stage() is None
    assert before == {identity: beside.objects[identity] for identity in beside.standing(FIRST)}


def test_another_edit_in_the_middle_makes_the_second_anew_when_it_is_gone(beside):
    beside.ask_for_head("5Gi")
    assert cluster_id(SECOND) in beside.step().delete
    assert cluster_id(SECOND) not in identities(beside.step()), "its pods are still there"
    assert beside.said() == ("True", "Ready") and beside.stage() is RolloutStage.CLUSTER
    beside.pods_end(SECOND)
    assert cluster_id(SECOND) in identities(beside.step())
    beside.lives()
    assert beside.selected() == "nano-alt"
    head = beside.objects[cluster_id(SECOND)]["spec"]["headGroupSpec"]["template"]["spec"]
    assert head["containers"][0]["resources"]["requests"]["memory"] == "5Gi"


def test_another_edit_while_the_old_one_drains_waits_until_it_is_gone(draining):
    draining.ask_for_head("5Gi")
    decided = draining.step()
    assert cluster_id(FIRST) not in decided.delete and cluster_id(FIRST) not in identities(decided)
    assert draining.said() == ("True", "Ready") and draining.stage() is RolloutStage.CLUSTER
    draining.pass_time(DRAIN_S)
    assert cluster_id(FIRST) in draining.step().delete
    draining.lives(rounds=20)
    assert draining.selected() == "nano-ray" and draining.said() == ("True", "Ready")


def test_a_revert_while_the_old_one_drains_goes_back_to_it_as_it_stands(draining):
    before = draining.objects[cluster_id(FIRST)]
    draining.ask_for_head("3Gi").step()
    assert draining.stage() is RolloutStage.CLUSTER and draining.said() == ("True", "Ready")
    draining.step()
    assert draining.selected() == "nano-ray" and draining.objects[cluster_id(FIRST)] == before
    assert draining.said() == ("True", "Ready")
    draining.lives()
    assert draining.standing(SECOND) == set() and draining.said() == ("True", "Ready")


@pytest.mark.parametrize(
    ("trouble", "reason"), [("ImagePullBackOff", "ImageUnavailable"), ("CrashLoopBackOff", "PodFailed")]
)
def test_a_second_cluster_that_does_not_start_leaves_the_first_one_ready_and_is_named(town, trouble, reason):
    town.ask_for_head().step()
    town.kuberay_makes()
    town.rays[SECOND] = None
    town.pod_is(SECOND, "headgroup", ready=False, phase="Pending", trouble=trouble, detail="what is wrong")
    town.step()
    assert town.said() == ("True", "Ready") and town.said("Degraded") == ("True", reason)
    assert (
        "what is wrong" in town.message("Degraded") and "what is wrong" in town.plan().status.rollout.message
    )
    assert town.said("VisionReady") == ("True", "Ready")


def test_a_model_that_does_not_load_there_is_named_and_tried_again(beside):
    message = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "There is no checkpoint folder /models/nano."))
    world = beside.seen_as_one(SECOND)
    world.deployment(Role.VISION, "DEPLOY_FAILED", message)
    beside.rays[SECOND] = world.ray
    beside.step()
    assert beside.said() == ("True", "Ready") and beside.said("Degraded") == ("True", "ModelNotFound")
    assert not beside.plan().write and not beside.plan().beside.write
    beside.pass_time(11)
    decided = beside.plan()
    assert decided.beside.write and decided.beside.applications[0].deployments[0].user_config["attempt"] == 1


def fails(town, **rollout):
    """The image of the second cluster does not exist."""
    town.respec(rollout=rollout).step()
    town.ask_for_head().step()
    town.kuberay_makes().pod_is(
        SECOND, "", ready=False, phase="Pending", trouble="ErrImagePull", detail="gone"
    )
    town.rays[SECOND] = None
    town.step()
    return town


def test_it_stops_at_the_deadline_and_another_head_or_an_edit_begins_anew(town):
    fails(town, deadline="90s").pass_time(91)
    decided = town.step()
    assert cluster_id(SECOND) in decided.delete
    assert town.said() == ("True", "Ready") and town.stage() is RolloutStage.STOPPED
    assert town.said("Degraded") == ("True", "RolloutDeadlineExceeded") and "gone" in town.message("Degraded")
    town.pods_end(SECOND).step()
    town.pass_time(3600)
    decided = town.step()
    assert town.standing(SECOND) == set() and decided.objects == () and town.stage() is RolloutStage.STOPPED
    town.respec(rollout={"deadline": "90s"}, gateway={"replicas": 1})
    assert cluster_id(SECOND) in identities(town.plan()), "an edit of the spec"
    town.world.see(generation=town.world.seen.generation - 1)
    assert cluster_id(SECOND) not in identities(town.plan())
    town.ask_for_head("5Gi")
    assert cluster_id(SECOND) in identities(town.plan()), "another head"


def test_an_operator_that_was_away_beyond_the_deadline_asks_before_it_gives_up(beside):
    beside.step()
    beside.probes[SECOND] = None
    beside.pass_time(3600)
    decided = beside.step()
    assert decided.delete == () and decided.beside.probe is not None and decided.requeue_after_s >= 0
    beside.is_probed().step()
    assert beside.selected() == "nano-alt"


def test_the_deadline_is_looked_at_without_anybodys_call(town):
    fails(town, deadline="90s").pass_time(85)
    assert town.plan().requeue_after_s <= 5


def crowded(town, **rollout):
    """No node has room for a pod of the second cluster."""
    town.respec(rollout=rollout).step()
    town.ask_for_head().step()
    town.kuberay_makes().finds_no_room(SECOND, "Insufficient nvidia.com/gpu.")
    town.step()
    world = town.seen_as_one(SECOND)
    world.deployment(Role.VISION, "UPDATING", "", ReplicaSeen(id="w", state="STARTING"))
    town.rays[SECOND] = world.ray
    town.step()
    return town


def test_without_room_it_is_made_anew_in_place_and_the_status_says_why(town):
    crowded(town)
    assert town.stage() is RolloutStage.CLUSTER and town.plan().requeue_after_s <= 30
    town.pass_time(31)
    assert cluster_id(SECOND) in town.step().delete
    assert town.selected() == "nano-ray" and town.said() == ("True", "Ready"), (
        "it answers until the last moment"
    )
    town.pods_end(SECOND).step()
    assert town.selected() == "nano-alt"
    assert town.step().delete[0] == cluster_id(FIRST)
    assert town.said() == ("False", "RollingOut") and "nothing answers" in town.message("Ready")
    assert town.stage() is RolloutStage.IN_PLACE
    assert "Insufficient nvidia.com/gpu" in town.plan().status.rollout.message
    assert "nothing answers" in town.plan().status.rollout.message
    assert cluster_id(SECOND) not in identities(town.step()), "never both with GPUs"
    town.pods_end(FIRST)
    assert cluster_id(SECOND) in identities(town.step())
    decided = town.kuberay_makes().step()
    surges = {item.max_surge_percent for app in decided.applications for item in app.deployments}
    assert decided.write and surges == {100}, "written once, as it is at rest"
    town.lives()
    assert town.said() == ("True", "Ready") and town.stage() is None and town.standing(FIRST) == set()


def test_room_is_looked_for_from_when_a_pod_finds_none(town):
    town.respec().step()
    town.ask_for_head().step()
    town.kuberay_makes().step()
    town.pass_time(600).finds_no_room(SECOND).step()
    assert town.stage() is RolloutStage.CLUSTER, "a node went; a scheduler needs a moment"
    town.pass_time(31).step()
    assert town.stage() is RolloutStage.IN_PLACE


def test_a_claim_that_is_missing_is_no_lack_of_room(town):
    town.ask_for_head().step()
    missing = {"trouble": "Unschedulable", "detail": 'persistentvolumeclaim "models" not found'}
    town.kuberay_makes().pod_is(SECOND, "vision", ready=False, phase="Pending", **missing)
    town.pass_time(60).step()
    assert town.stage() is RolloutStage.CLUSTER and cluster_id(SECOND) in town.objects


def test_beside_waits_for_room(town):
    crowded(town, strategy="Beside").pass_time(600).step()
    assert town.stage() is RolloutStage.CLUSTER and town.said() == ("True", "Ready")
    assert town.said("Degraded") == ("True", "InsufficientResources")
    assert town.selected() == "nano-ray" and cluster_id(SECOND) in town.objects


def test_in_place_is_told_with_its_reason_until_it_is_over(town):
    town.respec(rollout={"strategy": "InPlace"}).step()
    town.ask_for_head().step()
    assert town.selected() == "nano-alt" and cluster_id(FIRST) in town.objects
    town.step()
    assert cluster_id(FIRST) not in town.objects and town.said() == ("False", "RollingOut")
    town.pods_end(FIRST).step()
    assert town.kuberay_makes().step().write
    rollout = town.plan().status.rollout
    assert rollout.stage is RolloutStage.IN_PLACE and rollout.head is not None
    assert "as spec.rollout.strategy says" in rollout.message
    assert not town.is_probed().step().write, "nothing is written twice"
    assert town.stage() is None and town.said() == ("True", "Ready")


def test_a_cluster_that_has_been_dead_for_minutes_is_replaced_in_place(town):
    dies(town).ask_for_head()
    assert town.stage() is not RolloutStage.IN_PLACE, "it may come back in a moment"
    town.pass_time(121).step()
    assert town.selected() == "nano-alt" and town.stage() is RolloutStage.IN_PLACE
    town.lives()
    assert town.said() == ("True", "Ready")


def test_a_gateway_that_is_away_for_a_moment_costs_no_loaded_model(town):
    town.pod_is(FIRST, "gateway", ready=False)
    town.step()
    town.pass_time(600).ask_for_head().step()
    assert town.stage() is RolloutStage.CLUSTER and town.selected() == "nano-ray"


def test_once_begun_beside_a_head_that_dies_is_no_reason_to_give_up_what_may_come_back(beside):
    beside.pod_is(FIRST, "", ready=False)
    beside.rays[FIRST] = does_not_answer(beside)
    beside.step()
    assert beside.said()[0] != "True"
    assert beside.stage() is RolloutStage.CLUSTER
    decided = beside.step()
    assert decided.objects == () and decided.delete == ()
    beside.is_probed().step()
    assert beside.selected() == "nano-alt", "the second one has passed"


def dies(town, house=FIRST):
    """No replica of that cluster is ready any more, and Ray does not answer."""
    town.pod_is(house, "", ready=False)
    town.rays[house] = does_not_answer(town, house)
    town.step()
    return town


def does_not_answer(town, house=FIRST):
    return RayUnavailable(
        address=names.head_address(town.world.seen.key, house),
        since=town.world.observation.now,
        reason=Reason.RAY_UNREACHABLE,
        message="connection refused",
    )


def test_scaling_goes_on_in_the_first_and_counts_for_the_second(beside):
    beside.respec(vision={"pool": "vision", "minReplicas": 2})
    decided = beside.plan()
    assert decided.write and [item.name for item in decided.applications] == ["team.nano.vision"]
    beside.step()
    replicas = {
        house: {item["groupName"]: item["replicas"] for item in cluster["spec"]["workerGroupSpecs"]}
        for house in House
        if (cluster := beside.objects[cluster_id(house)])
    }
    assert replicas[FIRST] == replicas[SECOND] and 2 in replicas[FIRST].values()


def test_another_runtime_image_adds_no_group_to_the_cluster_that_answers(town):
    before = town.objects[cluster_id(FIRST)]
    town.ask_for_head("3Gi", image="example.test/internvl-runtime:2").step()
    town.rays[FIRST] = does_not_answer(town)
    town.step()
    assert town.objects[cluster_id(FIRST)] == before, "also while Ray there cannot be asked"
    image = town.objects[cluster_id(SECOND)]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0][
        "image"
    ]
    assert image == "example.test/internvl-runtime:2"


def test_another_runtime_image_is_rolled_out_with_ready_true_all_the_time(town):
    town.ask_for_head("3Gi", image="example.test/internvl-runtime:2")
    for _ in range(12):
        town.lives(rounds=1)
        assert town.said() == ("True", "Ready")
    assert town.selected() == "nano-alt" and town.stage() is None


def test_a_restart_between_the_turn_and_the_status_keeps_ready(town):
    town.ask_for_head("3Gi", image="example.test/internvl-runtime:2").step()
    town.kuberay_makes().step()
    before = town.world.seen.status
    town.is_probed().step()
    town.world.see(status=before)
    town.probes = {FIRST: None, SECOND: None}
    assert town.selected() == "nano-alt" and town.said() == ("True", "Ready")


def test_a_first_cluster_that_somebody_deletes_meanwhile_leaves_its_place_to_the_second(beside):
    del beside.objects[cluster_id(FIRST)]
    beside.step()
    assert beside.selected() == "nano-alt" and cluster_id(SECOND) in beside.objects


def test_a_front_that_somebody_deletes_meanwhile_comes_back_where_it_was(draining):
    draining.step()
    del draining.objects[FRONT]
    draining.step()
    assert draining.selected() == "nano-alt"


def test_somebody_elses_ray_cluster_under_the_second_name_is_named_and_not_touched(town):
    theirs = {"kind": "RayCluster", "metadata": {"name": "nano-alt", "labels": {}}, "spec": {}}
    town.objects[cluster_id(SECOND)] = theirs
    assert town.said() == ("True", "Ready")
    town.ask_for_head().step()
    assert town.objects[cluster_id(SECOND)] == theirs
    assert town.said() == ("True", "Ready") and town.said("Degraded") == ("True", "ObjectNotOurs")


def test_deleting_the_service_in_the_middle_leaves_all_to_its_owner_references(beside):
    beside.world.see(deleting_since=beside.world.observation.now + timedelta(seconds=0))
    decided = beside.plan()
    assert decided.objects == () and decided.delete == () and decided.beside is None
    assert all(item["metadata"]["ownerReferences"][0]["uid"] == "uid-1" for item in beside.objects.values())


def test_the_state_of_both_heads_lies_apart_in_redis(town):
    offer = town.world.observation.offer
    gcs = offer.gcs.model_validate({"redis": {"address": "redis://redis:6379"}})
    town.ask_for_head("3Gi", gcs=gcs).lives()
    spec = town.objects[cluster_id(SECOND)]["spec"]["gcsFaultToleranceOptions"]
    assert spec["externalStorageNamespace"] == "uid-1-alt"
    town.ask_for_head("4Gi").lives()
    spec = town.objects[cluster_id(FIRST)]["spec"]["gcsFaultToleranceOptions"]
    assert spec["externalStorageNamespace"] == "uid-1"


def test_a_spec_that_cannot_be_read_leaves_both_as_they_are(beside):
    beside.world.see(spec=None, spec_error="spec.vision: unknown field")
    decided = beside.plan()
    assert decided.objects == () and decided.delete == () and decided.beside is None and not decided.write


OTHER_MODEL = {"uri": "file:///models/second", "name": "nano"}


def models(town, house):
    return {
        item.user_config["model"]["uri"]
        for app in town.rays[house].applications.values()
        for item in app.deployments.values()
    }


def test_another_model_meanwhile_is_loaded_by_the_second_cluster_alone(beside):
    beside.respec(model=OTHER_MODEL)
    beside.step()
    assert models(beside, FIRST) == {"file:///models/nano"}
    assert models(beside, SECOND) == {"file:///models/second"}
    assert set(beside.rays[SECOND].applications) == {"team.nano.vision", "team.nano"}, (
        "nothing to protect there"
    )
    assert beside.said() == ("True", "Ready")
    beside.lives()
    assert beside.selected() == "nano-alt" and beside.said() == ("True", "Ready")


def test_another_head_during_a_handover_leaves_the_stand_in_answering(town):
    town.respec(model=OTHER_MODEL).step()
    town.kuberay_makes(FIRST).step()
    town.world.change(cluster=ClusterSeen(objects=town.objects, pods=town.pods[FIRST]), ray=town.rays[FIRST])
    town.probes[FIRST] = town.world.probed(town.world.answer()).observation.probe
    town.step()
    assert town.stage() is RolloutStage.HANDOVER
    world = town.seen_as_one(FIRST)
    world.deployment(Role.VISION, "UPDATING")
    town.rays[FIRST] = world.ray
    town.step()
    assert town.said() == ("True", "Ready")
    town.ask_for_head()
    decided = town.step()
    assert decided.remove == () and not decided.write and town.stage() is RolloutStage.CLUSTER
    assert town.said() == ("True", "Ready")
    town.lives()
    assert town.selected() == "nano-alt" and models(town, SECOND) == {"file:///models/second"}


def test_a_route_that_is_not_offered_is_no_trouble_of_the_second_cluster(beside):
    beside.respec(gateway={"ingress": {"host": "a.example.com"}}).step()
    assert beside.said("Degraded") == ("True", "RouteNotOffered")
    assert "ingress" not in beside.plan().status.rollout.message
    beside.lives()
    assert beside.selected() == "nano-alt"


def test_a_second_ray_that_was_not_asked_yet_is_waited_for(beside):
    beside.rays[SECOND] = None
    decided = beside.plan()
    assert beside.said() == ("True", "Ready") and not decided.beside.write
    assert beside.stage() is RolloutStage.CLUSTER


@pytest.mark.parametrize("text", ["soon", "2026-05-04T03:02:01", ""])
def test_a_time_that_somebody_wrote_into_the_front_is_none(draining, text):
    front = draining.objects[FRONT]
    annotations = {**front["metadata"]["annotations"], "serving.internvl.io/moved-at": text}
    draining.objects[FRONT] = {**front, "metadata": {**front["metadata"], "annotations": annotations}}
    assert cluster_id(FIRST) in draining.plan().delete


def test_a_service_in_its_second_cluster_is_known_as_one_with_its_own_when_its_spec_cannot_be_read(draining):
    draining.step()
    draining.world.see(spec=None, spec_error="spec.vision: unknown field")
    assert ray_home(draining.world.seen, draining.world.settings).owner == draining.world.seen.key
    assert draining.plan().objects == () and draining.plan().delete == ()


def happens(town, data):
    """One thing that can happen to a service while its head changes, or be done to it."""
    kind = data.draw(st.sampled_from(HAPPENINGS))
    house = data.draw(st.sampled_from(House))
    if kind == "step":
        town.step()
    elif kind == "head":
        town.ask_for_head(data.draw(st.sampled_from(["3Gi", "4Gi", "5Gi"])))
    elif kind == "spec":
        strategy = data.draw(st.sampled_from(["Auto", "Beside", "InPlace"]))
        replicas = data.draw(st.integers(1, 2))
        town.respec(rollout={"strategy": strategy}, vision={"pool": "vision", "minReplicas": replicas})
    elif kind == "makes" and cluster_id(house) in town.objects:
        town.kuberay_makes(house)
    elif kind == "ends" and cluster_id(house) not in town.objects:
        town.pods_end(house)
    elif kind == "crowded":
        town.finds_no_room(house)
    elif kind == "probe":
        decided = town.plan()
        for where, errand in ((town.house, decided), (town.house.other, decided.beside)):
            if errand is not None and errand.probe is not None:
                town.is_probed(where)
    elif kind == "time":
        town.pass_time(data.draw(st.sampled_from([1, 31, DRAIN_S, 1900])))
    elif kind == "restart":
        town.probes = {FIRST: None, SECOND: None}
    elif kind == "forget":
        town.world.see(status=None)
    elif kind == "delete":
        town.objects.pop(data.draw(st.sampled_from([FRONT, cluster_id(FIRST), cluster_id(SECOND)])), None)
        town.rays = {one: ray if cluster_id(one) in town.objects else None for one, ray in town.rays.items()}


HAPPENINGS = (
    *("step", "step", "step", "makes", "makes", "ends", "probe", "time", "head"),
    *("spec", "crowded", "restart", "forget", "delete"),
)


@pytest.mark.timeout(60)
@settings(max_examples=15)
@given(data=st.data())
def test_whatever_happens_it_ends_in_one_cluster_with_the_last_head(worlds, data):
    world = worlds().without_ray().respec(SPEC)
    town = Town(world.kubernetes_takes(world.settle()).kuberay_acts().made_ready())
    for _ in range(data.draw(st.integers(1, 25))):
        happens(town, data)
        town.plan()
    town.ask_for_head("6Gi")
    for house in House:
        town.pods[house] = tuple(
            replace(pod, ready=True, phase="Running", trouble="") for pod in town.pods[house]
        )
    town.lives(rounds=30)
    current, other = town.house, town.house.other
    assert town.selected() == f"nano-{current}" and town.standing(other) == set()
    head = town.objects[cluster_id(current)]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert head["resources"]["requests"]["memory"] == "6Gi"
    assert town.said() == ("True", "Ready") and town.stage() is None
    assert town.plan().objects == () and not town.plan().write


def others_move(town, do=True):
    town.world.change(others_move=do)
    return town


def test_a_service_that_waits_for_its_turn_is_left_as_it_is(town):
    others_move(town.ask_for_head())
    decided = town.step()
    assert decided.objects == () and decided.beside is None and not decided.write
    assert town.stage() is RolloutStage.WAITING
    assert town.said() == ("True", "Ready") and town.said("Progressing") == ("True", "RollingOut")
    assert 0 < decided.requeue_after_s <= 30
    town.pass_time(3000).step()
    assert town.plan().status == town.world.seen.status, "nothing is written while it waits"


def test_the_time_of_waiting_is_no_time_of_the_rollout(town):
    others_move(town.ask_for_head()).step()
    others_move(town.pass_time(7200), False).step()
    assert town.stage() is RolloutStage.CLUSTER
    assert town.world.seen.status.rollout.since == town.world.observation.now
    town.lives()
    assert town.selected() == "nano-alt" and town.stage() is None


def test_a_move_that_has_begun_goes_on_when_it_is_not_the_only_one(beside):
    others_move(beside)
    beside.is_probed().step()
    assert beside.selected() == "nano-alt"


def test_who_is_edited_while_he_waits_goes_but_gives_nothing_up_for_room_that_others_have(town):
    others_move(town.ask_for_head()).step()
    town.respec(language={"pool": "language", "maxModelLen": 512}).step()
    assert town.stage() is RolloutStage.CLUSTER
    town.kuberay_makes().finds_no_room(SECOND)
    town.step()
    town.pass_time(60).step()
    assert town.stage() is RolloutStage.CLUSTER and town.selected() == "nano-ray"
    others_move(town, False).step()
    assert town.stage() is RolloutStage.IN_PLACE, "alone, and there is still no room"


def test_a_service_that_is_not_ready_does_not_wait(town):
    town.pod_is(FIRST, "gateway", ready=False)
    town.rays[FIRST] = does_not_answer(town)
    town.step()
    assert town.said()[0] != "True"
    others_move(town.ask_for_head())
    assert town.stage() is not RolloutStage.WAITING


def test_after_the_turn_a_revert_goes_back_to_the_first_cluster_and_does_not_make_it_anew(draining):
    dies(draining, SECOND).pass_time(130)
    draining.ask_for_head("3Gi").step()
    assert draining.selected() == "nano-ray"
    assert cluster_id(FIRST) in draining.objects


def test_the_first_cluster_is_kept_while_the_second_does_not_answer_but_not_for_ever(draining):
    dies(draining, SECOND).pass_time(DRAIN_S + 1)
    assert cluster_id(FIRST) not in draining.step().delete
    assert "is kept for a while" in draining.world.seen.status.rollout.message
    draining.pass_time(400)
    assert cluster_id(FIRST) in draining.step().delete


def test_a_cluster_that_nobody_was_ever_sent_to_is_not_kept_for_a_service_that_does_not_answer(beside):
    dies(beside)
    beside.ask_for_head("3Gi")
    assert cluster_id(SECOND) in beside.step().delete


def test_a_deletion_that_is_refused_is_told(draining):
    draining.pass_time(DRAIN_S + 1)
    observation = draining.observation()
    cluster = replace(observation.cluster, refused={cluster_id(FIRST): "403: forbidden"})
    decided = plan(replace(observation, cluster=cluster), draining.world.settings)
    degraded = next(c for c in decided.status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "KubernetesRefused")
    assert "nano-ray cannot be deleted" in degraded.message and decided.requeue_after_s <= 10


def test_a_pod_that_is_evicted_while_the_cluster_is_held_is_named(town):
    others_move(town.ask_for_head(image="example.test/internvl-runtime:2")).step()
    gone = next(pod for pod in town.pods[FIRST] if pod.group.startswith("vision"))
    town.pod_is(FIRST, "vision", deleting=True)
    decided = town.step()
    groups = decided.objects[0]["spec"]["workerGroupSpecs"]
    entry = next(item for item in groups if item["groupName"] == gone.group)
    assert entry["scaleStrategy"] == {"workersToDelete": [gone.name]} and entry["replicas"] == 1


# --- a service that sleeps -----------------------------------------------------------------------------------


ZERO = {"minReplicas": 0, "maxReplicas": 3}
SLEEPS = {
    **SPEC,
    "vision": {**SPEC["vision"], **ZERO},
    "language": {**SPEC["language"], **ZERO},
}


def nobody_asks(world):
    """No side has a load."""
    sides = {role: SideDecision(target=0, why=f"{role} -> 0") for role in SIDES}
    at = world.observation.now
    return world.change(scaling=ScalingSeen(at=at, sides=sides, metrics=Reason.METRICS_SEEN, memory="m"))


@pytest.fixture
def sleeping(podless):
    """A service without a replica of either side."""
    podless.see(spec=parse_spec(SLEEPS))
    podless.kubernetes_takes(podless.settle()).kuberay_acts().made_ready()
    town = Town(nobody_asks(podless)).lives()
    assert town.said("LanguageReady") == ("True", "AtZero")
    return town


def replicas(town, house, role):
    """That Serve runs there."""
    ray = town.rays[house]
    application = None if ray is None else ray.applications.get(names.application(town.world.seen.key, role))
    return 0 if application is None else len(application.deployments[names.DEPLOYMENTS[role]].running)


def test_a_service_that_sleeps_is_proven_in_the_second_cluster_and_sleeps_on_there(sleeping):
    sleeping.ask_for_head()
    while sleeping.house is FIRST:
        sleeping.lives(rounds=1, seconds=5)
        assert sleeping.said() == ("True", "Ready")
        assert replicas(sleeping, FIRST, Role.LANGUAGE) == 0, "it would take the room, and proves nothing"
    assert replicas(sleeping, SECOND, Role.LANGUAGE) == 1, "clients are sent where language was proven"
    sleeping.lives(rounds=40)
    assert sleeping.standing(FIRST) == set() and sleeping.stage() is None
    assert sleeping.said() == ("True", "Ready")
    assert replicas(sleeping, SECOND, Role.LANGUAGE) == replicas(sleeping, SECOND, Role.VISION) == 0


def test_a_service_that_sleeps_stays_where_it_is_while_the_second_cluster_fails(sleeping):
    sleeping.ask_for_head().step()
    while sleeping.stage() is not RolloutStage.STOPPED:
        sleeping.kuberay_makes().pod_is(SECOND, "headgroup", ready=False, trouble="ImagePullBackOff")
        assert sleeping.pass_time(300).said() == ("True", "Ready")
        sleeping.step()
    assert sleeping.house is FIRST and sleeping.said() == ("True", "Ready")
    assert replicas(sleeping, FIRST, Role.LANGUAGE) == 0


def test_what_was_edited_asleep_stays_ready_in_line_and_while_it_moves(sleeping):
    """It was Ready with an edit that nothing has proven yet: a move makes that neither better nor worse."""
    sleeping.respec(**{**SLEEPS, "language": {**SLEEPS["language"], "maxModelLen": 512}})
    sleeping.lives()
    assert (sleeping.said(), sleeping.said("ProbePassed")) == (("True", "Ready"), ("Unknown", "AtZero"))
    sleeping.ask_for_head()
    sleeping.world.change(others_move=True)
    for _ in range(4):
        sleeping.step()
        assert (sleeping.stage(), sleeping.said()) == (RolloutStage.WAITING, ("True", "Ready"))
        sleeping.pass_time(5)
    sleeping.world.change(others_move=False)
    while sleeping.house is FIRST:
        sleeping.lives(rounds=1, seconds=5)
        assert sleeping.said() == ("True", "Ready")
