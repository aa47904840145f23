"""The result of a check: what stands between the service and Ready."""

from dataclasses import dataclass
from enum import StrEnum

from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role


class FindingKind(StrEnum):
    """How a finding is to be taken."""

    FAILURE = "failure"
    """Something is wrong: Degraded, a Warning, the last failure."""
    PROGRESS = "progress"
    """It is on its way: Progressing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One defect, as reason and sentence."""

    reason: Reason
    message: str
    kind: FindingKind = FindingKind.FAILURE
    role: Role | None = None

    @property
    def is_failure(self) -> bool:
        """Whether something is wrong, rather than under way."""
        return self.kind is FindingKind.FAILURE


def progress(reason: Reason, message: str, role: Role | None = None) -> Finding:
    """A finding about something under way."""
    return Finding(reason=reason, message=message, kind=FindingKind.PROGRESS, role=role)
