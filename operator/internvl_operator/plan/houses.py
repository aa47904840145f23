"""A service's own Ray clusters: one, and while its head changes a second one. Which of them is current, and what is whose.

Read from Kubernetes alone, so that an operator that starts in the middle knows it as well. Called by
`reconcile.reconciler`, which must know whom to ask, and by `plan.moving`.
"""

from dataclasses import dataclass, replace

from internvl_operator.api import labels, names
from internvl_operator.api.names import House, Role
from internvl_operator.api.status import Status
from internvl_operator.plan.cluster_checks import is_owned
from internvl_operator.plan.observation import ClusterSeen, Observation, PodSeen, ServiceSeen
from internvl_operator.render.cluster_objects import Manifest, ObjectId, head_of, objects_of_house


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSeen:
    """One of the two, as it stands in Kubernetes."""

    house: House
    live: Manifest | None
    """Its RayCluster."""
    pods: tuple[PodSeen, ...]

    @property
    def remains(self) -> bool:
        """Something of it is there, if only a pod that ends."""
        return self.live is not None or bool(self.pods)

    @property
    def head(self) -> str | None:
        """What its head was made from; None also where an older operator made it."""
        return None if self.live is None else head_of(self.live)

    @property
    def is_leaving(self) -> bool:
        """It is being deleted, or its pods are all that is left."""
        return self.live is None or "deletionTimestamp" in self.live["metadata"]

    @property
    def has_ready_head(self) -> bool:
        """Ray can be asked there."""
        return any(pod.is_head and pod.ready for pod in self.pods)


def house_seen(cluster: ClusterSeen, service: ServiceSeen, house: House) -> HouseSeen:
    """One of the two. A RayCluster of somebody else under its name is none of the service's."""
    name = names.ray_cluster(service.key, house)
    live = cluster.objects.get(ObjectId("RayCluster", name))
    return HouseSeen(
        house=house,
        live=live if live is not None and is_owned(live, uid=service.uid) else None,
        pods=tuple(pod for pod in cluster.pods if pod.cluster == name),
    )


def current_house(service: ServiceSeen, cluster: ClusterSeen) -> House:
    """The one that the front Service sends clients to; without that Service, the one that exists.

    Where both exist, or nothing can be seen, the Ray that was written to last is taken from the status.
    """
    key = service.key
    front = cluster.objects.get(ObjectId("Service", names.front(key)), {})
    selected = (front.get("spec", {}).get("selector") or {}).get(labels.RAY_CLUSTER)
    standing = [house for house in House if house_seen(cluster, service, house).live is not None]
    known = None if service.status is None else service.status.ray_address
    for house in House:
        if selected == names.ray_cluster(key, house):
            return house
    if len(standing) == 1:
        return standing[0]
    return next((house for house in House if known == names.head_address(key, house)), House.FIRST)


def narrowed(observation: Observation) -> Observation:
    """Without the objects and pods of the other house."""
    cluster, key = observation.cluster, observation.service.key
    if cluster is None:
        return observation
    others = frozenset(objects_of_house(key, observation.house.other))
    others |= {ObjectId("Secret", names.ray_cluster(key, observation.house.other))}
    own = replace(
        cluster,
        objects={name: item for name, item in cluster.objects.items() if name not in others},
        refused={name: text for name, text in cluster.refused.items() if name not in others},
        undeclared=cluster.undeclared - others,
        pods=house_seen(cluster, observation.service, observation.house).pods,
    )
    return replace(observation, cluster=own)


def beside(observation: Observation) -> Observation:
    """The other house, as if the service had just been created there; of its retries the status knows.

    Language has a replica there, also where the service sleeps: clients are sent where it was proven.
    """
    seen, known, spec = observation.beside, observation.service.status, observation.service.spec
    if spec is not None:
        spec = spec.with_replicas({Role.LANGUAGE: max(1, spec.replicas(Role.LANGUAGE))})
    memory = None if known is None else Status(roles=known.roles)
    return narrowed(
        replace(
            observation,
            service=replace(observation.service, spec=spec, status=memory),
            house=observation.house.other,
            is_beside=True,
            ray=seen.ray,
            probe=seen.probe,
            write=seen.write,
        )
    )
