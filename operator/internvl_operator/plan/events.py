"""Kubernetes Events: one when Ready changes its status or reason, or when something new fails meanwhile."""

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.status import Status
from internvl_operator.plan.decision import EventKind, EventNote

_QUIET = (Reason.NOT_OBSERVED,)


def events_between(old: Status | None, new: Status) -> tuple[EventNote, ...]:
    """What is worth an Event in the step from `old` to `new`."""
    before = Status() if old is None else old
    was, ready = before.condition(ConditionType.READY), new.condition(ConditionType.READY)
    has_failed_anew = new.last_failure is not None and new.last_failure != before.last_failure
    changed = ready is not None and (was is None or (was.status, was.reason) != (ready.status, ready.reason))
    if ready is not None and changed and ready.reason not in _QUIET:
        is_fine = ready.status is ConditionStatus.TRUE or not _is_failure(new, ready.reason)
        kind = EventKind.NORMAL if is_fine else EventKind.WARNING
        return (EventNote(kind=kind, reason=ready.reason, message=ready.message),)
    if new.last_failure is not None and has_failed_anew:
        failure = new.last_failure
        return (EventNote(kind=EventKind.WARNING, reason=failure.reason, message=failure.message),)
    return ()


def _is_failure(status: Status, reason: Reason) -> bool:
    degraded = status.condition(ConditionType.DEGRADED)
    return degraded is not None and degraded.status is ConditionStatus.TRUE and degraded.reason is reason
