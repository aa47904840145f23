"""InternVLServices of a file as the reconciler's store; status and finalizer live in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import Status
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.plan.decision import EventKind, EventNote, FinalizerChange
from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.standalone.service_file import WrittenService


class FileServiceStore:
    """Holds what the file last said well. `show` is called with each status that differs from the one before."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        show: Callable[[ServiceKey, Status | None, Status], None],
    ) -> None:
        self._now = now
        self._show = show
        self._services: dict[ServiceKey, ServiceSeen] = {}
        self.left_behind: set[ServiceKey] = set()
        """Services let go although something of them may still be in Ray Serve."""

    def present(self) -> tuple[ServiceKey, ...]:
        """Services that are there, being deleted or not."""
        return tuple(self._services)

    def load(self, written: Sequence[WrittenService]) -> tuple[ServiceKey, ...]:
        """Take in what the file says now; returns the services that changed.

        Raises:
            Rejected: a change that is not possible; nothing was taken in.
        """
        for service in written:
            known = self._services.get(service.key)
            if known is not None and known.spec is not None and known.spec.backend != service.spec.backend:
                raise Rejected(
                    f"{service.key}: backend cannot be changed, because what runs at the old address would be "
                    "left there; stop `internvl up` and start it again",
                    field="spec.backend",
                )
        changed = []
        for service in written:
            known = self._services.get(service.key)
            if known is None:
                self._services[service.key] = ServiceSeen(
                    key=service.key, uid=str(service.key), generation=1, spec=service.spec
                )
            elif known.spec != service.spec or known.deleting_since is not None:
                self._services[service.key] = replace(
                    known, spec=service.spec, generation=known.generation + 1, deleting_since=None
                )
            else:
                continue
            changed.append(service.key)
        gone = set(self._services) - {service.key for service in written}
        return (*changed, *self.delete(gone))

    def delete(self, keys: set[ServiceKey]) -> tuple[ServiceKey, ...]:
        """Begin to delete these; they are gone when the reconciler lets their finalizer go."""
        begun = []
        for key in keys:
            known = self._services[key]
            if not known.has_finalizer:
                del self._services[key]
            elif known.deleting_since is None:
                self._services[key] = replace(known, deleting_since=self._now())
            else:
                continue
            begun.append(key)
        return tuple(begun)

    def status(self, key: ServiceKey) -> Status | None:
        """The last status."""
        service = self._services.get(key)
        return service.status if service else None

    async def read(self, key: ServiceKey) -> ServiceSeen | None:
        """The service as the file says and the reconciler left it."""
        return self._services.get(key)

    async def write_status(self, service: ServiceSeen, status: Status) -> None:
        """Keep and show it."""
        known = self._services.get(service.key)
        if known is not None:
            self._services[service.key] = replace(known, status=status)
            self._show(service.key, known.status, status)

    async def change_finalizer(self, service: ServiceSeen, change: FinalizerChange) -> None:
        """Note it; without it a deleted service is gone."""
        known = self._services.get(service.key)
        if known is None:
            if change is FinalizerChange.ADD:
                raise NotYet(f"{service.key}: it left the file before anything was written", delay_s=1.0)
            return
        if change is FinalizerChange.REMOVE and known.deleting_since is not None:
            del self._services[service.key]
        else:
            self._services[service.key] = replace(known, has_finalizer=change is FinalizerChange.ADD)

    async def emit_event(self, service: ServiceSeen, note: EventNote) -> None:
        """Conditions are shown already; kept is only what a deletion had to leave behind."""
        if note.kind is EventKind.WARNING and note.reason is Reason.DELETING:
            self.left_behind.add(service.key)
