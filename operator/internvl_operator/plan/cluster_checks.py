"""Checks about the pods of a service with a Ray cluster of its own. Called by `checks`, whose lists give their order."""

from collections.abc import Collection
from datetime import datetime

from internvl_operator.api import labels, names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.errors import Rejected
from internvl_operator.plan import failures
from internvl_operator.plan.findings import Finding, progress
from internvl_operator.plan.observation import ClusterSeen, Observation, PodSeen
from internvl_operator.render import optional_objects
from internvl_operator.render.cluster_objects import Manifest, ObjectId
from internvl_operator.render.groups import pod_shapes, pool_of, render_group

KUBERAY_WITHIN_S = 30.0
"""KubeRay acts on a new RayCluster within a second or two; after this it is not there."""

_NEW_FIELDS = ("authOptions", "labels", "gcsFaultToleranceOptions")
"""What we need of RayCluster and older versions of KubeRay lack."""

_IMAGE_TROUBLES = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
)


def pool_unknown(observation: Observation) -> Finding | None:
    """The spec names a pool that the administrator does not offer, or none."""
    spec, offer = observation.service.spec, observation.offer
    if spec is None or offer is None:
        return None
    offered = ", ".join(sorted(offer.pools)) or "none"
    for role in (Role.VISION, Role.LANGUAGE):
        pool = spec.role(role).pool
        if pool_of(spec.role(role), offer) is None:
            what = (
                f"spec.{role}.pool is missing, and no placement stands in for it"
                if pool is None
                else f"spec.{role}.pool: there is no pool {pool!r}"
            )
            message = f"{what}; choose one that the administrator offers ({offered})"
            return Finding(reason=Reason.POOL_NOT_FOUND, message=message, role=role)
    return None


def pod_patch_refused(observation: Observation) -> Finding | None:
    """A patch of a role's pods does not pass its guards; the pools are known to be good."""
    spec, offer = observation.service.spec, observation.offer
    if spec is None or offer is None:
        return None
    if all(spec.pod_fields(role).pod_patch is None for role in Role):
        return None  # as a rule; rendering costs more than all the rest of a look
    for role, shape in pod_shapes(spec, offer).items():
        try:
            render_group(observation.service.key, shape, 0)
        except Rejected as fault:
            message = failures.shorten(f"spec.{role}.podPatch: {fault}; what ran before is left as it is")
            return Finding(reason=Reason.SPEC_INVALID, message=message, role=role)
    return None


def name_too_long(observation: Observation) -> Finding | None:
    """KubeRay would refuse the RayCluster, or the Service's name would be none."""
    name = names.ray_cluster(observation.service.key)
    longest = names.LONGEST_CLUSTER_NAME - len(name) + len(observation.service.key.name)
    if len(name) <= names.LONGEST_CLUSTER_NAME and name[0].isalpha():
        return None
    message = (
        f"metadata.name must begin with a letter and have at most {longest} characters, because it becomes part "
        "of the names of Kubernetes Services; create the service under another name"
    )
    return Finding(reason=Reason.SPEC_INVALID, message=message)


def kubernetes_trouble(cluster: ClusterSeen) -> Finding | None:
    """KubeRay's kind is missing, or the API server refuses."""
    if cluster.trouble is None:
        return None
    reason, message = cluster.trouble
    return Finding(reason=reason, message=failures.shorten(f"{message.rstrip('. ')}. {reason.action}"))


def ray_cluster_refused(cluster: ClusterSeen) -> Finding | None:
    """The API server does not take what the Ray cluster needs, so there will be none."""
    return _refused(cluster, ("RayCluster", "Secret"))


def object_refused(cluster: ClusterSeen) -> Finding | None:
    """The API server does not take some object; what runs may run on."""
    kinds = {identity.kind for identity in cluster.refused}
    return _refused(cluster, kinds - set(optional_objects.KINDS))


def _refused(cluster: ClusterSeen, kinds: Collection[str]) -> Finding | None:
    for identity, sentence in sorted(cluster.refused.items()):
        # Another field may be the user's own mistake, in an affinity or a patch.
        is_old = any(field in sentence for field in _NEW_FIELDS)
        if identity.kind == "RayCluster" and identity in cluster.undeclared and is_old:
            message = (
                f"{Reason.KUBERAY_TOO_OLD.meaning} {Reason.KUBERAY_TOO_OLD.action} The API server: {sentence}"
            )
            return Finding(reason=Reason.KUBERAY_TOO_OLD, message=failures.shorten(message))
        if identity.kind in kinds:
            message = f"{identity.kind} {identity.name}: {sentence.rstrip('. ')}; it is tried again"
            return Finding(reason=Reason.KUBERNETES_REFUSED, message=failures.shorten(message))
    return None


def object_not_ours(observation: Observation, cluster: ClusterSeen) -> Finding | None:
    """Somebody else's object has one of our names, perhaps an earlier service's that is being deleted."""
    service = observation.service
    for identity, live in sorted(cluster.objects.items()):
        if identity.kind not in optional_objects.KINDS and not is_owned(live, uid=service.uid):
            if is_owned(live, name=service.key.name):
                return progress(
                    Reason.CLUSTER_STARTING,
                    f"the {identity.kind} {identity.name} of an earlier service of this name is being deleted",
                )
            return Finding(
                reason=Reason.OBJECT_NOT_OURS,
                message=f"the {identity.kind} {identity.name} exists and does not belong to this service; delete "
                "or rename it, or give this service another name",
            )
    return None


def head_not_ready(observation: Observation, cluster: ClusterSeen) -> Finding | None:
    """The Ray cluster has no head that could be asked."""
    name = names.ray_cluster(observation.service.key, observation.house)
    live = cluster.objects.get(ObjectId("RayCluster", name))
    unwanted = ray_cluster_refused(cluster)
    if unwanted is not None and (live is None or cluster.head is None):
        return unwanted
    if live is None:
        return progress(Reason.CLUSTER_STARTING, f"the RayCluster {name} is being made")
    head = cluster.head
    if head is None and (refused := _refused_pods(live)):
        return Finding(
            reason=Reason.POD_FAILED, message=failures.shorten(f"KubeRay cannot make a pod: {refused}")
        )
    if head is None:
        if _is_silent(live, observation.now):
            return Finding(
                reason=Reason.KUBERAY_SILENT,
                message=f"KubeRay has done nothing about the RayCluster {name} for {KUBERAY_WITHIN_S:.0f} s: see "
                "that its operator runs and watches this namespace",
            )
        return progress(Reason.CLUSTER_STARTING, f"KubeRay makes the pods of the RayCluster {name}")
    if head.ready:
        return None
    return pod_finding(head, "head") or progress(
        Reason.CLUSTER_STARTING, f"Ray's head pod {head.name} is starting"
    )


def pod_finding(pod: PodSeen, whose: str, role: Role | None = None) -> Finding | None:
    """What Kubernetes says is wrong with a pod."""
    if not pod.trouble:
        return None
    detail = failures.shorten(pod.detail or pod.trouble)
    if pod.trouble == "Unschedulable" and "persistentvolumeclaim" in detail.lower():
        message = f"{whose}: the pod {pod.name} waits for a claim, as spec.model.uri names one: {detail}"
        return Finding(reason=Reason.MODEL_NOT_FOUND, message=message, role=role)
    if pod.trouble == "Unschedulable":
        message = f"{whose}: no node has room for the pod {pod.name}: {detail}"
        return Finding(reason=Reason.INSUFFICIENT_RESOURCES, message=message, role=role)
    reason = Reason.IMAGE_UNAVAILABLE if pod.trouble in _IMAGE_TROUBLES else Reason.POD_FAILED
    return Finding(
        reason=reason, message=f"{whose}: {pod.trouble} in the pod {pod.name}: {detail}", role=role
    )


def role_pods_in_trouble(cluster: ClusterSeen, group: str, role: Role) -> Finding | None:
    """The first trouble of the pods that a role is to run on."""
    pods = sorted(
        (pod for pod in cluster.pods if pod.group == group and not pod.deleting), key=lambda pod: pod.name
    )
    found = (pod_finding(pod, role.value, role) for pod in pods)
    return next((item for item in found if item is not None), None)


def pods_refused(cluster: ClusterSeen, name: str, role: Role) -> Finding | None:
    """The API server refuses the pods that KubeRay wants to make for the RayCluster of that name."""
    live = cluster.objects.get(ObjectId("RayCluster", name), {})
    refused = _refused_pods(live)
    if not refused:
        return None
    message = failures.shorten(f"{role}: KubeRay cannot make a pod: {refused}")
    return Finding(reason=Reason.POD_FAILED, message=message, role=role)


def is_owned(live: Manifest, **owner: str) -> bool:
    """Whether an InternVLService with these fields owns the object."""
    return any(
        found.get("kind") == labels.KIND and owner.items() <= found.items()
        for found in live.get("metadata", {}).get("ownerReferences") or ()
    )


def _refused_pods(live: Manifest) -> str:
    """KubeRay's sentence when the API server refuses its pods (quota, pod security)."""
    for condition in live.get("status", {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason") or "no reason given")
    return ""


def _is_silent(live: Manifest, now: datetime) -> bool:
    if live.get("status"):
        return False
    created = live.get("metadata", {}).get("creationTimestamp")
    if not created:
        return False
    return (now - datetime.fromisoformat(str(created))).total_seconds() > KUBERAY_WITHIN_S
