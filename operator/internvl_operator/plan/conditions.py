"""Conditions from what is said about them; times move only with the status."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.status import Condition, Status
from internvl_operator.plan.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is to be said about one condition."""

    status: ConditionStatus
    reason: Reason
    message: str


def is_true(reason: Reason, message: str) -> Said:
    """The condition holds."""
    return Said(status=ConditionStatus.TRUE, reason=reason, message=message)


def is_false(reason: Reason, message: str) -> Said:
    """The condition does not hold."""
    return Said(status=ConditionStatus.FALSE, reason=reason, message=message)


def blocked_by(finding: Finding) -> Said:
    """The condition does not hold because of a finding."""
    return is_false(finding.reason, finding.message)


def raised_by(finding: Finding) -> Said:
    """A negative condition (Degraded, Progressing) holds because of a finding."""
    return is_true(finding.reason, finding.message)


def is_unknown(reason: Reason, message: str) -> Said:
    """Nobody can tell."""
    return Said(status=ConditionStatus.UNKNOWN, reason=reason, message=message)


def unknown_for(finding: Finding) -> Said:
    """Nobody can tell, because of a finding."""
    return is_unknown(finding.reason, finding.message)


def merge(
    old: Status | None, said: Mapping[ConditionType, Said], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """All conditions, in the order of their enum; those nothing is said about stay as they are."""
    before = Status() if old is None else old
    merged = (
        _merge_one(before.condition(kind), kind, said.get(kind), generation, now) for kind in ConditionType
    )
    return tuple(item for item in merged if item is not None)


def _merge_one(
    known: Condition | None, kind: ConditionType, said: Said | None, generation: int, now: datetime
) -> Condition | None:
    if said is None:
        return known
    is_same = known is not None and known.status is said.status
    return Condition(
        type=kind,
        status=said.status,
        reason=said.reason,
        message=said.message,
        last_transition_time=known.last_transition_time if known and is_same else now.replace(microsecond=0),
        observed_generation=generation,
    )
