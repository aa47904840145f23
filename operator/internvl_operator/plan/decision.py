"""What one reconcile decided: values only, carried out by `reconcile.reconciler`."""

from dataclasses import dataclass
from enum import StrEnum

from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import House
from internvl_operator.api.status import Status
from internvl_operator.render.cluster_objects import Manifest, ObjectId
from internvl_operator.render.serve_schema import ServeApplication


class FinalizerChange(StrEnum):
    """What happens to our finalizer on the object."""

    KEEP = "keep"
    ADD = "add"
    """Before anything is written to Serve."""
    REMOVE = "remove"
    """Last: the object is gone after it."""


class EventKind(StrEnum):
    """Kubernetes' two types of Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNote:
    """One Kubernetes Event; emitted only when something changed."""

    kind: EventKind
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """Ask the gateway's semantic probe once and bring its answer back as a `ProbeSeen` with this subject."""

    url: str
    """`GET` this."""
    subject: str
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What one Ray cluster is asked for."""

    applications: tuple[ServeApplication, ...] = ()
    """What must stand in Serve for this service. Empty: nothing is known to be right, so nothing is touched."""
    remove: tuple[str, ...] = ()
    """Names of applications that must not stand in Serve."""
    write: bool = False
    """Serve differs from `applications` and `remove`: submit both to the writer."""
    probe: ProbeRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleErrand:
    """What is to be done about a service's InternVLScales."""

    objects: tuple[Manifest, ...] = ()
    """To apply, because they are missing or differ."""
    statuses: tuple[Manifest, ...] = ()
    """After them: statuses to apply."""
    delete: tuple[str, ...] = ()
    """Names of those that nobody wants any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Errand):
    """Order of execution: objects, finalizer ADD, write, scales, status, events, probe, finalizer REMOVE.

    Its own errand is for the Ray cluster that the service lives on.
    """

    objects: tuple[Manifest, ...] = ()
    """Kubernetes objects to apply, because they are missing or differ."""
    delete: tuple[ObjectId, ...] = ()
    """After them: Kubernetes objects of ours that nobody wants any more."""
    create_token: tuple[House, ...] = ()
    """Before them: of these Ray clusters create the Secret with the token, unless there is one."""
    beside: Errand | None = None
    """For the second Ray cluster of the service's own, while its head changes."""
    scales: ScaleErrand = ScaleErrand()
    finalizer: FinalizerChange = FinalizerChange.KEEP
    status: Status
    """Write it only if it differs from the stored one (`==`)."""
    events: tuple[EventNote, ...] = ()
    requeue_after_s: float | None = None
    """Come back after this even if nothing wakes us; None: no timer needed."""
    why: tuple[str, ...]
    """The decision in sentences, for the log. Never empty."""
