"""Deleting: our applications go, then the finalizer. The deadline always wins, so nothing hangs for ever."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.plan.backend import ray_home
from internvl_operator.plan.decision import EventKind, EventNote, FinalizerChange, Plan
from internvl_operator.plan.events import events_between
from internvl_operator.plan.observation import ApplicationState, Observation, RaySeen, RayUnavailable
from internvl_operator.plan.pauses import write_pause_s
from internvl_operator.plan.status import status_while_deleting
from internvl_operator.settings import Settings

_ATTEMPT_S = 5.0
"""How long the one attempt after the deadline may take before the next look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remains:
    """What still stands in Serve. `known` is False while Ray cannot be asked."""

    known: bool
    names: tuple[str, ...] = ()
    is_under_way: bool = False
    obstacle: str = ""


def plan_deletion(observation: Observation, deleting_since: datetime, settings: Settings) -> Plan:
    """The plan for an object with a deletion timestamp, whatever its spec is."""
    service = observation.service
    if not service.has_finalizer:
        return _done(observation, "the service is being deleted and nothing of it is ours", release=False)
    home = ray_home(service, settings)
    if home is None:
        return _done(observation, "no Ray cluster is known, so nothing can be left there")
    if home.owner is not None:
        return _done(
            observation, "what the service had in Kubernetes goes with it, as its owner references say"
        )
    address = home.address
    remains = _remains(observation, address)
    if remains.known and not remains.names:
        return _done(observation, "no application of this service is left in Ray Serve")
    deadline = deleting_since + timedelta(seconds=settings.deletion_deadline_s)
    left_s = (deadline - observation.now).total_seconds()
    # An operator that was away for longer than the deadline still tries once, where Ray answers.
    is_untried = remains.known and not remains.is_under_way and observation.write is None
    if left_s <= 0 and not is_untried:
        return _abandoned(observation, address, remains)
    return _waiting(observation, remains, left_s=min(max(left_s, _ATTEMPT_S), settings.deletion_deadline_s))


def _remains(observation: Observation, address: str) -> _Remains:
    ray = observation.ray
    if ray is None or ray.address != address:
        return _Remains(known=False, obstacle=f"Ray at {address} was not asked yet")
    if isinstance(ray, RayUnavailable):
        return _Remains(known=False, obstacle=ray.message)
    standing = tuple(name for name in names.all_applications(observation.service.key) if _is_ours(ray, name))
    states = {ray.applications[name].status for name in standing}
    return _Remains(known=True, names=standing, is_under_way=states == {ApplicationState.DELETING})


def _is_ours(ray: RaySeen, name: str) -> bool:
    application = ray.applications.get(name)
    return application is not None and application.declarative


def _waiting(observation: Observation, remains: _Remains, *, left_s: float) -> Plan:
    service = observation.service
    if not remains.known:
        message = f"removing the Serve applications; {remains.obstacle}"
    else:
        message = f"removing the Serve applications {', '.join(remains.names)}"
    status = status_while_deleting(observation, message)
    held_s = write_pause_s(observation.write, now=observation.now)
    return Plan(
        remove=names.all_applications(service.key),
        write=remains.known and not remains.is_under_way and not held_s,
        status=status,
        events=events_between(service.status, status),
        requeue_after_s=min(left_s, held_s or _ATTEMPT_S) if remains.known else left_s,
        why=(message,),
    )


def _done(observation: Observation, message: str, *, release: bool = True) -> Plan:
    return Plan(
        finalizer=FinalizerChange.REMOVE if release else FinalizerChange.KEEP,
        status=status_while_deleting(observation, message),
        why=(message,),
    )


def _abandoned(observation: Observation, address: str, remains: _Remains) -> Plan:
    left = ", ".join(remains.names or names.applications(observation.service.key))
    cause = remains.obstacle or "they are still there"
    message = (
        f"the deadline for deletion has passed ({cause}): the service is let go, and {left} may stay behind "
        f"in Ray Serve at {address}"
    )
    return Plan(
        finalizer=FinalizerChange.REMOVE,
        status=status_while_deleting(observation, message),
        events=(EventNote(kind=EventKind.WARNING, reason=Reason.DELETING, message=message),),
        why=(message,),
    )
