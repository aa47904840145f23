"""What a reconcile needs of the world, as Protocols: an object store and the Ray side.

Implemented by `cluster.service_store.KubeServiceStore`, `standalone.file_store.FileServiceStore` and
`cluster.fleet.Fleet`; tests have their own.
"""

from typing import Protocol

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import Status
from internvl_operator.plan.decision import EventNote, FinalizerChange, ProbeRequest
from internvl_operator.plan.observation import (
    ProbeSeen,
    RaySeen,
    RayUnavailable,
    ServiceSeen,
    WriteSeen,
)
from internvl_operator.render.serve_schema import ServeApplication


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


class RayFleet(Protocol):
    """The Ray side. Nothing here waits for Ray: what takes long wakes the service when it is done."""

    def snapshot(self, key: ServiceKey, address: str) -> RaySeen | RayUnavailable | None:
        """The last answer; None while the address was never asked (the first answer wakes the service)."""
        ...

    def submit(
        self, key: ServiceKey, applications: tuple[ServeApplication, ...], remove: tuple[str, ...]
    ) -> None:
        """Hand over to the writer of the service's address."""
        ...

    def is_writing(self, key: ServiceKey) -> bool:
        """Whether a submission of this service waits or is being written."""
        ...

    def write_seen(self, key: ServiceKey) -> WriteSeen | None:
        """How the last submission went."""
        ...

    def probe(self, key: ServiceKey, request: ProbeRequest) -> None:
        """Start a probe."""
        ...

    def probe_seen(self, key: ServiceKey) -> ProbeSeen | None:
        """The last finished probe."""
        ...

    def release(self, key: ServiceKey) -> None:
        """The service is gone."""
        ...
