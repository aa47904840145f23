"""InternVLService objects in a Kubernetes API server: the store that the operator process reconciles from."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import Status, parse_stored_status
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.plan.decision import EventNote, FinalizerChange
from internvl_operator.plan.observation import ServiceSeen

log = logging.getLogger(__name__)

CONFLICT_TRIES = 5
EVENT_BURST = 20
EVENT_EVERY_S = 60.0
"""A service may cause 20 Events at once and one a minute after that; more are dropped, the status has them."""
MESSAGE_LIMIT = 1024
"""Longest `note` that the API server takes."""


def see_service(found: Mapping[str, Any]) -> ServiceSeen:
    """The value that `plan` reads. A spec that cannot be read is a value too.

    Raises:
        Rejected: the object's name cannot be a service's (the CRD refuses such names).
    """
    meta = found["metadata"]
    deleted = meta.get("deletionTimestamp")
    try:
        spec, spec_error = parse_spec(found.get("spec")), None
    except Rejected as fault:
        spec, spec_error = None, str(fault)
    return ServiceSeen(
        key=ServiceKey(meta["namespace"], meta["name"]),
        uid=str(meta.get("uid", "")),
        generation=int(meta.get("generation") or 0),
        deleting_since=parse_time(deleted) if deleted else None,
        has_finalizer=labels.FINALIZER in (meta.get("finalizers") or ()),
        spec=spec,
        spec_error=spec_error,
        status=parse_stored_status(found.get("status")),
    )


def parse_time(text: str) -> datetime:
    """A Kubernetes timestamp."""
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(slots=True)
class _Allowance:
    """Events that one service may still cause."""

    left: float
    at: float


class KubeServiceStore:
    """Reads and writes one object at a time. Each fault leaves as `NotYet` or `Rejected`."""

    def __init__(self, kubernetes: Kubernetes, *, identity: str, monotonic: Callable[[], float]) -> None:
        self._kubernetes = kubernetes
        self._identity = identity
        self._monotonic = monotonic
        self._allowances: dict[ServiceKey, _Allowance] = {}

    async def read(self, key: ServiceKey) -> ServiceSeen | None:
        """The object as it is now, or None."""
        try:
            found = await self._kubernetes.get_service(key.namespace, key.name)
        except ApiFault as fault:
            raise _translated(fault, "read the service") from fault
        if found is None:
            self._allowances.pop(key, None)
            return None
        return see_service(found)

    async def write_status(self, service: ServiceSeen, status: Status) -> None:
        """Apply the status as a whole. Nothing happens when the object is gone or is another one by now."""
        key = service.key
        try:
            await self._kubernetes.apply_status(key.namespace, key.name, service.uid, status.to_mapping())
        except ApiFault as fault:
            if not fault.is_gone and not fault.is_conflict:
                raise _translated(fault, "write the status") from fault

    async def change_finalizer(self, service: ServiceSeen, change: FinalizerChange) -> None:
        """Add or remove our finalizer; everybody else's stay, also when they write at the same time.

        Raises:
            NotYet: the object to add it to is gone or being deleted; nothing may be written to Serve for it.
        """
        key = service.key
        for _ in range(CONFLICT_TRIES):
            try:
                found = await self._kubernetes.get_service(key.namespace, key.name)
                if found is None or found["metadata"]["uid"] != service.uid:
                    return _nothing_there(key, change)
                if change is FinalizerChange.ADD and found["metadata"].get("deletionTimestamp"):
                    return _nothing_there(key, change)
                before = list(found["metadata"].get("finalizers") or ())
                after = [item for item in before if item != labels.FINALIZER]
                if change is FinalizerChange.ADD:
                    after = [*before, labels.FINALIZER] if labels.FINALIZER not in before else before
                if after != before:
                    await self._kubernetes.replace_finalizers(found, after)
                return
            except ApiFault as fault:
                if fault.is_gone:
                    return _nothing_there(key, change)
                if not fault.is_conflict:
                    raise _translated(fault, f"{change} the finalizer") from fault
        raise NotYet(f"{key}: others keep writing the object; the finalizer is tried again", delay_s=1.0)

    async def emit_event(self, service: ServiceSeen, note: EventNote) -> None:
        """Create one Event. A failure is logged, never raised: Events are a courtesy."""
        key = service.key
        if not self._may_emit(key):
            log.debug("%s: too many Events, dropped: %s", key, note.message)
            return
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{key.name[:200]}.{uuid4().hex[:16]}", "namespace": key.namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": labels.EVENT_COMPONENT,
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "reason": note.reason.value,
            "type": note.kind.value,
            "note": note.message[:MESSAGE_LIMIT],
            "regarding": {
                "apiVersion": labels.API_VERSION,
                "kind": labels.KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": service.uid,
            },
        }
        try:
            await self._kubernetes.create_event(event)
        except ApiFault as fault:
            log.warning("%s: cannot create an Event: %s", key, fault.message)

    def _may_emit(self, key: ServiceKey) -> bool:
        now = self._monotonic()
        allowance = self._allowances.setdefault(key, _Allowance(float(EVENT_BURST), now))
        allowance.left = min(float(EVENT_BURST), allowance.left + (now - allowance.at) / EVENT_EVERY_S)
        allowance.at = now
        if allowance.left < 1.0:
            return False
        allowance.left -= 1.0
        return True


def _nothing_there(key: ServiceKey, change: FinalizerChange) -> None:
    if change is FinalizerChange.ADD:
        raise NotYet(f"{key}: the object went away before it had our finalizer", delay_s=1.0)


def _translated(fault: ApiFault, what: str) -> Exception:
    if fault.may_pass:
        return NotYet(f"cannot {what}: {fault.message}", delay_s=2.0)
    return Rejected(f"cannot {what}: {fault.message}")
