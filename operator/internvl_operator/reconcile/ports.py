"""What a reconcile needs of the world, as Protocols: an object store and the Ray side.

Implemented by `cluster.service_store.KubeServiceStore`, `standalone.file_store.FileServiceStore` and
`cluster.fleet.Fleet`; tests have their own.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House, Role
from internvl_operator.api.status import Status
from internvl_operator.plan.backend import RayHome
from internvl_operator.plan.decision import EventNote, FinalizerChange, ProbeRequest, ScaleErrand
from internvl_operator.plan.observation import (
    ClusterSeen,
    LoadSeen,
    ProbeSeen,
    RaySeen,
    RayUnavailable,
    ScalesSeen,
    ScalingSeen,
    ServiceSeen,
    WriteSeen,
)
from internvl_operator.render.cluster_objects import Manifest, ObjectId
from internvl_operator.render.serve_schema import ServeApplication
from internvl_operator.scaling.model import SideDecision


class ServiceStore(Protocol):
    """Where the user's objects lie. Faults are `NotYet` or `Rejected`."""

    async def read(self, key: ServiceKey) -> ServiceSeen | None:
        """The object as it is now, or None."""
        ...

    async def write_status(self, service: ServiceSeen, status: Status) -> None:
        """Store the status; nothing happens when the object is gone."""
        ...

    async def change_finalizer(self, service: ServiceSeen, change: FinalizerChange) -> None:
        """Add or remove our finalizer. `NotYet` when there is nothing any more that it could be added to."""
        ...

    async def emit_event(self, service: ServiceSeen, note: EventNote) -> None:
        """Tell people, best effort."""
        ...


class ObjectStore(Protocol):
    """The Kubernetes objects of services that have a Ray cluster of their own. Faults are `NotYet`."""

    async def observe(self, key: ServiceKey) -> ClusterSeen:
        """What stands now."""
        ...

    async def apply(self, key: ServiceKey, seen: ClusterSeen, objects: Sequence[Manifest]) -> None:
        """Make them stand. What the API server refuses for good is told by the next `observe`."""
        ...

    async def delete(self, key: ServiceKey, identities: Sequence[ObjectId]) -> None:
        """Delete what stands and is not wanted any more; what is gone already is fine."""
        ...

    async def create_token(self, service: ServiceSeen, house: House) -> None:
        """Create the Secret with the token of a Ray cluster of the service's own, unless there is one."""
        ...

    def forget(self, key: ServiceKey) -> None:
        """The service is gone."""
        ...


class ScaleStore(Protocol):
    """The InternVLScales of services whose numbers are not fixed. Faults are `NotYet`."""

    async def observe(self, key: ServiceKey) -> ScalesSeen:
        """What stands now; the service is woken when it changes."""
        ...

    async def carry_out(self, service: ServiceSeen, seen: ScalesSeen, errand: ScaleErrand) -> None:
        """Delete, apply, write statuses. What is refused for good is told by the next `observe`."""
        ...

    def forget(self, key: ServiceKey) -> None:
        """The service is gone, or its numbers are fixed."""
        ...


class LoadSource(Protocol):
    """Tells the load of services."""

    @property
    def interval_s(self) -> float:
        """From one look to the next."""
        ...

    async def read(
        self, places: Mapping[ServiceKey, tuple[RayHome, RaySeen]]
    ) -> Mapping[ServiceKey, LoadSeen]:
        """Look once at these services, each where it lives and as it stands there. Never raises for what is unknown."""
        ...


class ScalingRecorder(Protocol):
    """Keeps book of decisions, for whoever watches the operator."""

    def decided(self, key: ServiceKey, sides: Mapping[Role, SideDecision], ready: Mapping[Role, int]) -> None:
        """One service's decision, and replicas that run."""
        ...

    def round_took(self, seconds: float) -> None:
        """Deciding about all services took so long."""
        ...

    def forget(self, key: ServiceKey) -> None:
        """The service is gone, its numbers are fixed, or nothing is decided about it for now."""
        ...


class ReplicaScaler(Protocol):
    """Decides about the replicas of services that scale."""

    def follow(self, service: ServiceSeen, home: RayHome) -> ScalingSeen | None:
        """What was decided last; the service is woken when that changes. None: nothing, or it does not scale."""
        ...

    def forget(self, key: ServiceKey) -> None:
        """The service is gone."""
        ...


class RayKnown(Protocol):
    """What the last round saw of the Ray side."""

    def known(self, key: ServiceKey, home: RayHome) -> RaySeen | RayUnavailable | None:
        """The last answer, without asking; None also where the service does not live."""
        ...


class RayFleet(RayKnown, Protocol):
    """The Ray side. Nothing here waits for Ray: what takes long wakes the service when it is done."""

    def snapshot(self, key: ServiceKey, home: RayHome) -> RaySeen | RayUnavailable | None:
        """The last answer; None while the address was never asked (the first answer wakes the service)."""
        ...

    def stay(self, key: ServiceKey, homes: Collection[RayHome]) -> None:
        """The service lives nowhere else any more: what was known of other addresses is forgotten."""
        ...

    def submit(
        self,
        key: ServiceKey,
        home: RayHome,
        applications: tuple[ServeApplication, ...],
        remove: tuple[str, ...],
    ) -> None:
        """Hand over to the writer of the address."""
        ...

    def is_writing(self, key: ServiceKey, home: RayHome) -> bool:
        """Whether a submission of this service waits or is being written there."""
        ...

    def write_seen(self, key: ServiceKey, home: RayHome) -> WriteSeen | None:
        """How the last submission there went."""
        ...

    def probe(self, key: ServiceKey, home: RayHome, request: ProbeRequest) -> None:
        """Start a probe."""
        ...

    def probe_seen(self, key: ServiceKey, home: RayHome) -> ProbeSeen | None:
        """The last finished probe there."""
        ...

    def release(self, key: ServiceKey) -> None:
        """The service is gone."""
        ...
