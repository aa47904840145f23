"""When a role that Serve gave up on is tried again.

Serve stops after three failed starts. A changed `user_config` makes it start anew, so a retry raises the
role's `attempt`: after 10 s, then doubling up to 5 minutes. Nothing is remembered outside the world: the
attempt lies in the configuration in Serve, the time of the failure in the status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from internvl_operator.api.names import Role
from internvl_operator.api.status import RolesStatus
from internvl_operator.plan.serving import RoleView
from internvl_operator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How one role stands with its retries."""

    role: Role
    attempt: int
    """The attempt to be written: the deployed one, or one more when a retry is due."""
    failed_at: datetime | None
    """When the deployed attempt was first seen to have failed."""
    due_in_s: float | None
    """Seconds until the next retry; None when none is needed or one is made now."""
    is_due: bool = False


def plan_retries(
    views: Sequence[RoleView], stored: RolesStatus, *, now: datetime, settings: Settings
) -> dict[Role, Retry]:
    """One entry a role."""
    return {view.role: _plan(view, stored, now=now, settings=settings) for view in views}


def delay_s(attempt: int, settings: Settings) -> float:
    """Pause before attempt + 1."""
    return float(min(settings.retry_max_s, settings.retry_min_s * 2 ** min(attempt, 16)))


def _plan(view: RoleView, stored: RolesStatus, *, now: datetime, settings: Settings) -> Retry:
    attempt = view.deployed_attempt if view.is_current else 0
    if not view.has_given_up:
        return Retry(role=view.role, attempt=attempt, failed_at=None, due_in_s=None)
    known = stored.of(view.role)
    is_same = known.attempt == attempt and known.generation == view.generation
    # A clock that was set back must not stretch the pause: it begins anew.
    is_known = is_same and known.failed_at is not None and known.failed_at <= now
    failed_at = known.failed_at if is_known and known.failed_at else now.replace(microsecond=0)
    pause_s = delay_s(attempt, settings)
    due_in_s = (failed_at + timedelta(seconds=pause_s) - now).total_seconds()
    if due_in_s <= 0:
        return Retry(role=view.role, attempt=attempt + 1, failed_at=failed_at, due_in_s=None, is_due=True)
    return Retry(role=view.role, attempt=attempt, failed_at=failed_at, due_in_s=due_in_s)
