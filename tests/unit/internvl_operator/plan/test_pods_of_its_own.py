from dataclasses import replace
from datetime import timedelta

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.plan.decision import FinalizerChange
from internvl_operator.plan.observation import ClusterSeen
from internvl_operator.plan.plan import LOOK_AGAIN_S
from internvl_operator.render.cluster_objects import ObjectId

SPEC = {
    "model": {"uri": "pvc://models/nano"},
    "vision": {"pool": "vision"},
    "language": {"pool": "language"},
}


def spec(**changes):
    return {**SPEC, **changes}


def test_everything_is_made_at_once_before_ray_can_be_asked(podless):
    decided = podless.plan()
    kinds = [item["kind"] for item in decided.objects]
    assert kinds.index("NetworkPolicy") < kinds.index("RayCluster"), "guarded before it runs"
    assert sorted(set(kinds)) == ["NetworkPolicy", "PodDisruptionBudget", "RayCluster", "Service"]
    assert decided.create_token
    assert podless.said() == ("Unknown", "ClusterStarting") or podless.said() == ("False", "ClusterStarting")
    assert decided.finalizer is FinalizerChange.KEEP, "owner references do"
    assert decided.requeue_after_s is not None
    assert not decided.write


def test_what_stands_is_not_applied_again(podless):
    podless.kubernetes_takes(podless.settle())
    assert podless.plan().objects == ()
    assert not podless.plan().create_token


def test_what_somebody_changed_is_applied_again(podless):
    podless.kubernetes_takes(podless.settle())
    live = podless.ray_cluster
    changed = {**live, "spec": {**live["spec"], "enableInTreeAutoscaling": True}}
    podless.kubernetes_takes(replace(podless.plan(), objects=(changed,)))
    assert [item["kind"] for item in podless.plan().objects] == ["RayCluster"]


def test_a_selector_that_somebody_narrowed_is_put_right(podless):
    podless.kubernetes_takes(podless.settle())
    front = podless.cluster.objects[ObjectId("Service", "nano")]
    narrowed = {**front["spec"]["selector"], "canary": "yes"}
    changed = {**front, "kind": "Service", "spec": {**front["spec"], "selector": narrowed}}
    podless.kubernetes_takes(replace(podless.plan(), objects=(changed,)))
    assert [item["kind"] for item in podless.plan().objects] == ["Service"]


def test_the_service_is_written_and_ready_once_the_head_answers(podless):
    podless.kubernetes_takes(podless.settle()).kuberay_acts()
    decided = podless.settle()
    assert decided.write
    (vision, main) = decided.applications
    assert main.route_prefix == "/"
    options = vision.deployments[0].ray_actor_options
    assert options.label_selector == {"serving.internvl.io/group": podless.group(Role.VISION)}
    assert options.resources == {"internvl_replica": 1.0}
    assert options.num_gpus == 1.0
    podless.made_ready()
    assert podless.said() == ("True", "Ready")
    assert podless.plan().status.url == "http://nano.team.svc"
    assert podless.plan().requeue_after_s is None, "at rest only a change of something wakes it"


def test_a_role_pod_has_its_pool_and_gpu(podless):
    podless.kubernetes_takes(podless.settle())
    group = next(
        item
        for item in podless.ray_cluster["spec"]["workerGroupSpecs"]
        if item["groupName"].startswith("vision-")
    )
    pod = group["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "vision"}
    pool, *of_lost_nodes = pod["tolerations"]
    assert pool == {"key": "gpu", "operator": "Exists"}
    assert {(one["key"].rpartition("/")[2], one["tolerationSeconds"]) for one in of_lost_nodes} == {
        ("not-ready", 5),
        ("unreachable", 5),
    }
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("pool", [None, "typo"])
def test_a_pool_that_is_not_offered_is_named_with_those_that_are(podless, pool):
    podless.respec(spec(model={"uri": "file:///m"}, vision={} if pool is None else {"pool": pool}))
    assert podless.said() == ("False", "PoolNotFound")
    assert "language, other, vision" in podless.condition().message
    assert "spec.vision.pool" in podless.condition().message
    assert podless.plan().objects == ()


def test_without_kuberay_it_says_how_to_get_it(podless):
    podless.change(cluster=ClusterSeen(objects={}, trouble=(Reason.KUBERAY_MISSING, "no RayCluster")))
    assert podless.said() == ("False", "KubeRayMissing")
    assert "Install KubeRay" in podless.condition().message
    assert podless.plan().requeue_after_s, "it heals by itself"


def test_a_kuberay_that_does_nothing_is_named_after_thirty_seconds(podless):
    podless.kubernetes_takes(podless.settle())
    live = podless.ray_cluster
    live["metadata"] = {**live["metadata"], "creationTimestamp": podless.observation.now.isoformat()}
    assert podless.pass_time(29).said()[1] == "ClusterStarting"
    assert podless.pass_time(2).said() == ("False", "KubeRaySilent")


def test_somebody_elses_object_under_our_name_is_not_touched(podless):
    theirs = {"kind": "Service", "metadata": {"name": "nano", "labels": {"app": "theirs"}}}
    podless.change(cluster=ClusterSeen(objects={ObjectId("Service", "nano"): theirs}))
    assert podless.said() == ("False", "ObjectNotOurs")
    assert "Service nano" in podless.condition().message
    assert podless.plan().objects == ()


def test_what_an_earlier_service_of_this_name_left_is_waited_for(podless):
    podless.kubernetes_takes(podless.settle()).see(uid="uid-2")
    assert podless.said()[1] == "ClusterStarting"
    assert "earlier service" in podless.condition().message
    assert podless.said("Degraded") == ("False", "AsDesired")
    assert podless.plan().objects == () and podless.plan().requeue_after_s is not None


def test_a_group_that_somebody_added_stays(ready_in_pods):
    world = ready_in_pods
    live = world.ray_cluster
    theirs = {"groupName": "extra", "replicas": 1}
    changed = {
        **live,
        "spec": {**live["spec"], "workerGroupSpecs": [*live["spec"]["workerGroupSpecs"], theirs]},
    }
    world.kubernetes_takes(replace(world.plan(), objects=(changed,)))
    assert world.plan().objects == ()


@pytest.mark.parametrize(
    ("trouble", "detail", "reason"),
    [
        ("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "InsufficientResources"),
        (
            "Unschedulable",
            '0/3 nodes are available: persistentvolumeclaim "models" not found.',
            "ModelNotFound",
        ),
        ("ImagePullBackOff", "Back-off pulling image", "ImageUnavailable"),
        ("CrashLoopBackOff", "back-off 40s restarting failed container", "PodFailed"),
    ],
)
def test_a_pod_in_trouble_is_told_in_kubernetes_own_words(ready_in_pods, trouble, detail, reason):
    world = ready_in_pods
    world.deployment(Role.VISION, "UPDATING")
    world.trouble(f"{world.group(Role.VISION)}-0", trouble, detail)
    assert world.said() == ("False", reason)
    assert world.said("VisionReady") == ("False", reason)
    assert detail in world.condition().message


def test_a_missing_secret_is_created_again(ready_in_pods):
    world = ready_in_pods
    world.trouble(f"{world.group(Role.VISION)}-0", "CreateContainerConfigError", "secret not found")
    assert world.plan().create_token


def test_settings_of_an_engine_change_no_pod(ready_in_pods):
    world = ready_in_pods
    world.respec(
        spec(model={"uri": "file:///models/nano"}, language={"pool": "language", "maxModelLen": 512})
    )
    assert world.plan().objects == ()
    assert world.plan().write


def test_a_changed_pod_of_one_role_rolls_only_that_pool(ready_in_pods):
    world = ready_in_pods
    old = {role: world.group(role) for role in Role}
    world.respec(spec(model={"uri": "file:///models/nano"}, vision={"pool": "other"}))
    decided = world.settle()
    assert [item["kind"] for item in decided.objects] == ["RayCluster"]
    world.kubernetes_takes(decided)
    new = world.group(Role.VISION)
    assert new != old[Role.VISION]
    assert world.groups() == {old[Role.VISION]: 1, old[Role.LANGUAGE]: 1, old[Role.GATEWAY]: 1, new: 1}
    # Serve holds the new selector, the old replica still serves: the old pod stays.
    world.kuberay_acts().serve_holds(world.plan())
    assert world.plan().objects == ()
    # The new replica runs, the old one is being stopped.
    world.serve_takes(world.plan(), replica="new")
    world.replicas_on(Role.VISION, *world.pods_of(new), stopping=world.pods_of(old[Role.VISION])[0])
    assert world.plan().objects == ()
    # Only now the old group is emptied, and it leaves the list when its pods are gone.
    world.replicas_on(Role.VISION, *world.pods_of(new))
    world.kubernetes_takes(world.settle())
    assert world.groups()[old[Role.VISION]] == 0
    assert world.plan().objects == ()
    assert world.plan().requeue_after_s is not None, "pods tell nothing by themselves"
    world.loses_pods(old[Role.VISION])
    world.kubernetes_takes(world.settle())
    assert old[Role.VISION] not in world.groups()
    assert set(world.groups()) == {old[Role.LANGUAGE], old[Role.GATEWAY], new}


def test_a_revert_in_the_middle_takes_the_old_group_again(ready_in_pods):
    world = ready_in_pods
    before = world.groups()
    world.respec(spec(model={"uri": "file:///models/nano"}, vision={"pool": "other"}))
    world.kubernetes_takes(world.settle()).kuberay_acts()
    half = world.group(Role.VISION)
    world.respec(spec(model={"uri": "file:///models/nano"}))
    world.serve_takes(world.settle())
    world.kubernetes_takes(world.settle())
    assert world.groups() == {**before, half: 0}
    world.loses_pods(half)
    world.kubernetes_takes(world.settle())
    assert world.groups() == before


def test_scaling_down_takes_exactly_the_pod_that_serve_left(ready_in_pods):
    world = ready_in_pods
    group = world.group(Role.VISION)
    two = spec(model={"uri": "file:///models/nano"}, vision={"pool": "vision", "minReplicas": 2})
    world.respec(two).kubernetes_takes(world.settle())
    assert world.groups()[group] == 2
    world.kuberay_acts().serve_takes(world.plan())
    kept, left = world.pods_of(group)[1], world.pods_of(group)[0]
    world.respec(spec(model={"uri": "file:///models/nano"}))
    kinds = [item["kind"] for item in world.plan().objects]
    assert "RayCluster" not in kinds, "not before Serve has drained a replica"
    world.serve_takes(world.plan()).replicas_on(Role.VISION, kept)
    world.kubernetes_takes(world.settle())
    entry = next(i for i in world.ray_cluster["spec"]["workerGroupSpecs"] if i["groupName"] == group)
    assert entry["replicas"] == 1
    assert entry["scaleStrategy"] == {"workersToDelete": [left.name]}


def test_deleting_needs_no_finalizer(ready_in_pods):
    world = ready_in_pods
    world.see(deleting_since=world.observation.now + timedelta(seconds=0))
    decided = world.plan()
    assert decided.objects == () and not decided.write


def test_a_claim_needs_pods_of_its_own(world):
    world.respec({"model": {"uri": "pvc://models/nano"}})
    assert world.said() == ("False", "SpecInvalid")
    assert "pvc://" in world.condition().message


def file_spec(**changes):
    return spec(model={"uri": "file:///models/nano"}, **changes)


def test_a_pod_that_was_named_to_go_stays_named_until_it_is_gone(ready_in_pods):
    world = ready_in_pods
    group = world.group(Role.VISION)
    three = file_spec(vision={"pool": "vision", "minReplicas": 3})
    world.respec(three).kubernetes_takes(world.settle()).kuberay_acts().serve_takes(world.plan())
    first, second, kept = world.pods_of(group)
    world.respec(file_spec())
    world.serve_takes(world.plan())
    world.replicas_on(Role.VISION, kept, stopping=second)
    world.kubernetes_takes(world.settle())
    assert scale_of(world, group) == (2, [first.name])
    # KubeRay is slow: the pod still stands when the second replica is drained.
    world.replicas_on(Role.VISION, kept)
    world.kubernetes_takes(world.settle())
    assert scale_of(world, group) == (1, [first.name, second.name])
    # Something else of the RayCluster changes before KubeRay has acted.
    world.respec(file_spec(language={"pool": "other"}))
    world.kubernetes_takes(world.settle())
    assert scale_of(world, group) == (1, [first.name, second.name])


def test_a_pod_that_somebody_deletes_is_named_so_that_kuberay_replaces_it_at_once(ready_in_pods):
    world = ready_in_pods
    group = world.group(Role.VISION)
    [pod] = world.pods_of(group)
    world.pod_is(pod.name, deleting=True)
    world.kubernetes_takes(world.settle())
    assert scale_of(world, group) == (1, [pod.name])
    assert scale_of(world, world.group(Role.LANGUAGE)) == (1, [])
    world.loses_pods(group)
    world.kubernetes_takes(world.settle())
    assert scale_of(world, group) == (1, []), "nobody is named any more when it is gone"


def scale_of(world, group):
    entry = next(i for i in world.ray_cluster["spec"]["workerGroupSpecs"] if i["groupName"] == group)
    return entry["replicas"], entry.get("scaleStrategy", {}).get("workersToDelete", [])


def test_a_half_made_group_gives_its_gpu_back_before_the_next_one_runs(ready_in_pods):
    world = ready_in_pods
    old = world.group(Role.VISION)
    world.respec(file_spec(vision={"pool": "other"}))
    world.kubernetes_takes(world.settle()).kuberay_acts().serve_holds(world.plan())
    half = world.group(Role.VISION)
    world.respec(file_spec(vision={"pool": "other", "memory": "8Gi"}))
    world.kubernetes_takes(world.settle()).kuberay_acts()
    # Serve has taken the newest configuration up; the old replica still serves, nothing runs on the others.
    world.serve_takes(world.plan())
    world.deployment(Role.VISION, "UPDATING")
    world.replicas_on(Role.VISION, *world.pods_of(old))
    world.kubernetes_takes(world.settle())
    assert world.groups()[half] == 0, "or the newest one could wait for its GPU for ever"
    assert world.groups()[old] == 1, "it serves"


def test_a_gateway_pod_goes_only_when_clients_are_no_longer_sent_to_it(ready_in_pods):
    world = ready_in_pods
    group = world.group(Role.GATEWAY)
    two = file_spec(gateway={"replicas": 2})
    world.respec(two).kubernetes_takes(world.settle()).kuberay_acts().serve_takes(world.plan())
    left, kept = world.pods_of(group)
    world.respec(file_spec()).serve_takes(world.plan()).replicas_on(Role.GATEWAY, kept)
    world.kubernetes_takes(world.settle())
    assert scale_of(world, group) == (2, [])
    world.pod_is(left.name, ready=False).kubernetes_takes(world.settle())
    assert scale_of(world, group) == (1, [left.name])


def test_a_refused_ray_cluster_is_told_and_tried_again(podless):
    refused = {ObjectId("RayCluster", "nano-ray"): "403: exceeded quota"}
    podless.change(cluster=ClusterSeen(objects={}, refused=refused))
    assert podless.said() == ("False", "KubernetesRefused")
    assert "exceeded quota" in podless.condition().message
    assert "RayCluster" in [item["kind"] for item in podless.plan().objects]
    assert podless.plan().requeue_after_s is not None


def test_a_kuberay_that_is_too_old_is_told_with_the_fix_and_tried_again(podless):
    cluster = ObjectId("RayCluster", "nano-ray")
    refused = {cluster: "500: .spec.authOptions: field not declared in schema"}
    podless.change(cluster=ClusterSeen(objects={}, refused=refused, undeclared=frozenset({cluster})))
    assert podless.said() == ("False", "KubeRayTooOld")
    message = podless.condition().message
    assert "Install KubeRay 1.5 to 1.7" in message and "authOptions" in message
    assert "RayCluster" in [item["kind"] for item in podless.plan().objects]
    assert podless.plan().requeue_after_s is not None


def test_a_refused_budget_degrades_and_the_service_answers_on(ready_in_pods):
    world = ready_in_pods
    refused = {ObjectId("PodDisruptionBudget", "nano-vision"): "403: forbidden"}
    world.change(cluster=replace(world.cluster, refused=refused))
    assert world.said() == ("True", "Ready")
    assert world.said("Degraded") == ("True", "KubernetesRefused")


def rolls_vision(world, trouble, detail, **rollout):
    """The vision pods change, and the new one is in trouble."""
    world.respec(file_spec(vision={"pool": "other"}, rollout=rollout))
    world.kubernetes_takes(world.settle()).kuberay_acts()
    return world.trouble(f"{world.group(Role.VISION)}-0", trouble, detail)


@pytest.mark.parametrize(
    ("trouble", "reason", "advice"),
    [
        ("ImagePullBackOff", "ImageUnavailable", ""),
        ("Unschedulable", "InsufficientResources", "spec.rollout.strategy InPlace"),
    ],
)
def test_new_pods_that_do_not_start_touch_nothing_that_answers(ready_in_pods, trouble, reason, advice):
    world = rolls_vision(ready_in_pods, trouble, "what Kubernetes says")
    assert not world.plan().write
    assert world.said() == ("True", "Ready")
    assert world.said("Degraded") == ("True", reason)
    assert world.said("VisionReady") == ("False", reason)
    assert world.said("LanguageReady") == ("True", "Ready")
    assert "what Kubernetes says" in world.condition("Degraded").message
    assert advice in world.plan().status.rollout.message
    assert world.plan().requeue_after_s <= LOOK_AGAIN_S


def test_a_replica_that_dies_meanwhile_comes_back_on_the_old_pods(ready_in_pods):
    world = rolls_vision(ready_in_pods, "ImagePullBackOff", "not found")
    world.settle()
    world.deployment(Role.VISION, "UPSCALING", "")
    assert not world.settle().write
    assert world.plan().status.rollout.stage == "Pods"


def test_roles_that_stay_are_scaled_while_the_pods_of_another_do_not_start(ready_in_pods):
    world = rolls_vision(ready_in_pods, "ImagePullBackOff", "not found")
    language = {"pool": "language", "minReplicas": 2}
    decided = world.respec(file_spec(vision={"pool": "other", "minReplicas": 2}, language=language)).settle()
    assert decided.write
    written = {
        item.name: (item.num_replicas, item.ray_actor_options.label_selector["serving.internvl.io/group"])
        for app in decided.applications
        for item in app.deployments
    }
    group = world.group(Role.LANGUAGE)
    assert written["LanguageModel"] == (2, group) and "VisionEncoder" not in written
    world.kubernetes_takes(decided)
    assert world.groups()[group] == 2


def test_new_pods_that_do_not_start_are_stopped_at_the_deadline(ready_in_pods):
    before = ready_in_pods.groups()
    world = rolls_vision(ready_in_pods, "ImagePullBackOff", "not found", deadline="60s")
    half = world.group(Role.VISION)
    world.settle()
    world.pass_time(61).kubernetes_takes(world.settle())
    assert world.groups() == {**before, half: 0}
    assert world.said() == ("True", "Ready")
    assert world.said("Degraded") == ("True", "RolloutDeadlineExceeded")
    assert "not found" in world.condition("Degraded").message
    world.loses_pods(half).kubernetes_takes(world.settle())
    assert world.plan().objects == () and not world.plan().write
    world.respec(file_spec(vision={"pool": "other"}, rollout={"deadline": "90s"}))
    world.kubernetes_takes(world.settle()).kuberay_acts()
    assert world.groups()[half] == 1, "an edit begins anew"
    assert written_groups(world) == {"vision": half}


def written_groups(world):
    vision = world.plan().applications[0].deployments[0]
    return {"vision": vision.ray_actor_options.label_selector["serving.internvl.io/group"]}


def test_in_place_the_old_pod_goes_before_the_new_replica_comes(ready_in_pods):
    world = ready_in_pods
    old = world.group(Role.VISION)
    world.respec(file_spec(vision={"pool": "other"}, rollout={"strategy": "InPlace"}))
    decided = world.settle()
    surges = {item.name: item.max_surge_percent for app in decided.applications for item in app.deployments}
    assert surges == {"VisionEncoder": None, "LanguageModel": None, "Gateway": 100}
    assert decided.write, "it does not wait for pods that may have no room"
    world.kubernetes_takes(decided).kuberay_acts().serve_takes(decided)
    # Serve has stopped the old replica; the new one waits for its pod.
    world.deployment(Role.VISION, "UPDATING")
    world.kubernetes_takes(world.settle())
    assert world.groups()[old] == 0, "its GPU is what the new pod waits for"


def test_a_patch_that_is_refused_is_named_by_its_path_and_leaves_alone_what_runs(ready_in_pods):
    patch = {"spec": {"hostNetwork": True}}
    decided = ready_in_pods.respec(spec(vision={"pool": "vision", "podPatch": patch})).plan()
    assert ready_in_pods.said("Degraded") == ("True", "SpecInvalid")
    message = ready_in_pods.condition("Degraded").message
    assert "spec.vision.podPatch: spec.hostNetwork: is not allowed" in message
    assert decided.objects == () and not decided.write and decided.delete == ()


def test_a_placement_stands_in_for_a_pool_that_is_not_named(podless):
    decided = podless.respec(spec(vision={"placement": {"nodeSelector": {"zone": "x"}}})).plan()
    assert "RayCluster" in [item["kind"] for item in decided.objects]
    assert podless.said()[1] == "ClusterStarting"


def test_a_head_that_dies_after_a_stopped_rollout_takes_nothing_that_is_worth_waiting_for(ready_in_pods):
    world = rolls_vision(ready_in_pods, "ImagePullBackOff", "not found", deadline="60s")
    world.settle()
    world.pass_time(61).kubernetes_takes(world.settle())
    assert world.said("Degraded") == ("True", "RolloutDeadlineExceeded")
    world.change_ray(applications={})  # a new head knows nothing
    decided = world.settle()
    assert decided.write and decided.applications
    assert world.said()[0] == "False"
