"""Pods for a service with a Ray cluster of its own: which objects must stand, and in which order groups change.

A changed pod is a new worker group: it is appended, Serve moves the role's replicas there, the old group is emptied
when no replica is left on it, and leaves the list when its pods are gone. (Taking a group off the list while a pod
of it lives would leave that pod behind.)
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.plan import cluster_checks, optional_objects
from internvl_operator.plan.footing import Footing
from internvl_operator.plan.observation import ClusterSeen, Observation, PodSeen
from internvl_operator.render import cluster_objects
from internvl_operator.render.cluster_objects import Front, Manifest, ObjectId, Owner
from internvl_operator.render.groups import PodShape, pod_shapes, render_group
from internvl_operator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a service's pods are to be, before anything is known of Ray."""

    shapes: dict[Role, PodShape]
    cluster: ClusterSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the pods are for, as Ray Serve shows it."""

    footing: Footing
    needed: Counter[str]
    """Pods by worker group, once everything that is decided was written."""


def ground_of(observation: Observation) -> Ground | None:
    """The pods of a service with a cluster of its own, whose spec, pools and patches are good; else None."""
    spec, offer, cluster = observation.service.spec, observation.offer, observation.cluster
    if spec is None or offer is None or cluster is None or cluster.trouble is not None:
        return None
    if cluster_checks.pool_unknown(observation) or cluster_checks.pod_patch_refused(observation):
        return None
    return Ground(shapes=pod_shapes(spec, offer), cluster=cluster)


def wanted_objects(
    observation: Observation,
    ground: Ground,
    use: Use | None,
    settings: Settings,
    *,
    front: Front | None = None,
    is_held: bool = False,
) -> tuple[Manifest, ...]:
    """Every object as it should be now. `use` is None while Ray cannot be asked: then no group is emptied.

    `front`: where clients are to be sent, if not where they are. `is_held`: the RayCluster keeps its head, and gets
    no other groups, because another RayCluster is to take its place.
    """
    service, house = observation.service, observation.house
    assert service.spec is not None  # `ground_of` saw to it
    owner = Owner(service.key, service.uid)
    objects = (
        cluster_objects.render_network_policy(
            owner, operator_namespace=settings.lease_namespace, house=house
        ),
        cluster_objects.render_gateway_policy(owner, house),
        _ray_cluster(observation, ground, use, is_held=is_held),
        *cluster_objects.render_budgets(owner, {role: service.spec.replicas(role) for role in Role}, house),
    )
    if observation.is_beside:
        objects += (cluster_objects.render_next_front(owner, house),)
    else:
        kinds = optional_objects.kinds_to_announce(observation, ground.cluster)
        front = front or Front(house=house, moved_at=moved_at(ground.cluster, service.key))
        objects += (cluster_objects.render_front(owner, front, optional_kinds=kinds),)
        objects += optional_objects.wanted(observation, ground.cluster)
    # Not the RayCluster: groups that leave, and those of others, are written as they stand, with what others added.
    return tuple(item if item["kind"] == "RayCluster" else cluster_objects.signed(item) for item in objects)


def moved_at(cluster: ClusterSeen, key: ServiceKey) -> str | None:
    """When the front Service was turned to another Ray cluster; None where it never was."""
    found = cluster.objects.get(ObjectId("Service", names.front(key)), {})
    return (found.get("metadata", {}).get("annotations") or {}).get(labels.MOVED_AT)


def _ray_cluster(observation: Observation, ground: Ground, use: Use | None, *, is_held: bool) -> Manifest:
    service, offer, house = observation.service, observation.offer, observation.house
    assert offer is not None  # `ground_of` saw to it
    live = ground.cluster.objects.get(ObjectId("RayCluster", names.ray_cluster(service.key, house)))
    # Of a service that moves nothing is made anew while Ray cannot tell what its groups are used for.
    stays = is_held and use is None and live is not None
    groups = live_groups(observation, ground.cluster) if stays else _groups(observation, ground, use)
    rendered = cluster_objects.render_ray_cluster(
        Owner(service.key, service.uid), offer, [dict(group) for group in groups], house
    )
    return cluster_objects.as_it_stands(rendered, live) if is_held and live is not None else rendered


def differing(wanted: Sequence[Manifest], cluster: ClusterSeen) -> tuple[Manifest, ...]:
    """Those that are missing or hold something else. Kind and version are their identity's, and lists omit them."""
    return tuple(
        manifest
        for manifest in wanted
        if not cluster_objects.matches(
            {part: manifest[part] for part in ("metadata", "spec")},
            cluster.objects.get(ObjectId.of(manifest)),
        )
    )


def is_moving(observation: Observation, ground: Ground) -> bool:
    """Whether pods come or go: a group leaves, or a pod is not ready or being deleted."""
    wanted = {shape.group for shape in ground.shapes.values()}
    leaves = any(live.get("groupName") not in wanted for live in live_groups(observation, ground.cluster))
    return leaves or any(pod.deleting or not pod.ready for pod in ground.cluster.pods)


def is_secret_wanted(observation: Observation, cluster: ClusterSeen) -> bool:
    """Whether the Secret with the token may be missing: it is never read, only created."""
    name = names.ray_cluster(observation.service.key, observation.house)
    is_new = ObjectId("RayCluster", name) not in cluster.objects
    return is_new or any(pod.trouble == "CreateContainerConfigError" for pod in cluster.pods)


def live_groups(observation: Observation, cluster: ClusterSeen) -> list[Mapping[str, Any]]:
    """Worker groups of the RayCluster as it stands."""
    name = names.ray_cluster(observation.service.key, observation.house)
    found = cluster.objects.get(ObjectId("RayCluster", name), {})
    return list(found.get("spec", {}).get("workerGroupSpecs") or ())


def _groups(observation: Observation, ground: Ground, use: Use | None) -> list[dict[str, Any]]:
    key, spec = observation.service.key, observation.service.spec
    assert spec is not None
    wanted = {shape.group: role for role, shape in ground.shapes.items()}
    needed = {group: spec.replicas(role) for group, role in wanted.items()}
    if use is not None:
        needed = {group: use.needed[group] for group in wanted}
    standing: list[dict[str, Any]] = []
    for live in live_groups(observation, ground.cluster):
        name = str(live.get("groupName"))
        if name in wanted:
            shape = ground.shapes[wanted.pop(name)]
            standing.append(_sized(observation, ground, shape, live, needed[name], use))
        elif not _is_gone(ground.cluster, live):
            standing.append(_leaving(ground.cluster, live, use))
    missing = ((ground.shapes[role], needed[group]) for group, role in wanted.items())
    return [*standing, *(render_group(key, shape, replicas) for shape, replicas in missing if replicas)]


def _sized(
    observation: Observation,
    ground: Ground,
    shape: PodShape,
    live: Mapping[str, Any],
    replicas: int,
    use: Use | None,
) -> dict[str, Any]:
    """A group that stays. It shrinks when Serve has drained the replicas, and then by just their pods.

    A pod that was named to go stays named until it is gone, or KubeRay might take another one in its place. A pod
    that somebody else deletes (a drain, the eviction from a lost node) is named too: KubeRay counts it until it is
    gone, and makes its replacement at once when it is named. Meanwhile its replica goes on serving.
    """
    before = int(live.get("replicas") or 0)
    standing = {pod.name for pod in ground.cluster.pods}
    known = live.get("scaleStrategy", {}).get("workersToDelete") or ()
    named = [name for name in known if name in standing]
    leaving = (pod.name for pod in ground.cluster.pods if pod.group == shape.group and pod.deleting)
    named += sorted(name for name in leaving if name not in named)
    if replicas < before:
        free = [name for name in _free_pods(ground.cluster, shape.group, use) if name not in named]
        drained = free[: before - replicas]
        named, replicas = [*named, *drained], before - len(drained)
    entry = render_group(observation.service.key, shape, replicas)
    return {**entry, "scaleStrategy": {"workersToDelete": named}} if named or known else entry


def _free_pods(cluster: ClusterSeen, group: str, use: Use | None) -> list[str]:
    """Names of the group's pods that Serve uses no more; none while that is not sure."""
    if use is None or not use.footing.is_sure:
        return []
    return sorted(
        pod.name
        for pod in cluster.pods
        if pod.group == group
        and not pod.deleting
        and pod.address not in use.footing.addresses
        and not _is_called(pod)
    )


def _is_called(pod: PodSeen) -> bool:
    """Whether clients may still be sent to the pod: its proxy serves them also without a gateway of its own."""
    return role_of(pod.group) is Role.GATEWAY and pod.ready


def _leaving(cluster: ClusterSeen, live: Mapping[str, Any], use: Use | None) -> dict[str, Any]:
    """A group that nothing is wanted of: each pod goes once no replica is left on it, whether or not the role runs yet.

    Until Serve has taken up the new configuration, the replicas on it are all that serves. One by one, because where
    no GPU is spare the next replica waits for the pod of the one before. A group that somebody else added stays.
    """
    group = str(live.get("groupName"))
    if role_of(group) is None:
        return dict(live)
    if use is None or not use.footing.may_lose(group):
        return _named(cluster, live)
    free = set(_free_pods(cluster, group, use))
    staying = sum(pod.group == group and not pod.deleting and pod.name not in free for pod in cluster.pods)
    if not staying:
        return {**live, "replicas": 0}  # KubeRay may still be making some
    return _named(cluster, {**live, "replicas": staying} if free else live, free)


def _named(cluster: ClusterSeen, live: Mapping[str, Any], free: Collection[str] = ()) -> dict[str, Any]:
    """A group with the pods that are to go named, those that somebody else deletes too: see `_sized`."""
    standing = {pod.name for pod in cluster.pods}
    known = live.get("scaleStrategy", {}).get("workersToDelete") or ()
    named = {name for name in known if name in standing} | set(free)
    named |= {pod.name for pod in cluster.pods if pod.group == live.get("groupName") and pod.deleting}
    return {**live, "scaleStrategy": {"workersToDelete": sorted(named)}} if named or known else dict(live)


def _is_gone(cluster: ClusterSeen, live: Mapping[str, Any]) -> bool:
    return not live.get("replicas") and not any(pod.group == live.get("groupName") for pod in cluster.pods)


def role_of(group: str) -> Role | None:
    """The role that a group was made for; None for a group that somebody else added."""
    return next((role for role in Role if role.value == group.rpartition("-")[0]), None)
