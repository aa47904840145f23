"""How much is left of a pause after something failed. Called by `plan.plan` and `plan.deletion`."""

from datetime import datetime

from internvl_operator.plan.observation import WriteSeen

WRITE_AGAIN_S = 5.0
"""A write that failed, or is not seen in Serve by then, is made again."""


def left_of_pause_s(began: datetime, lasts_s: float, *, now: datetime) -> float:
    """Seconds left; 0 when it is over, or when the clock was set back and nobody can tell any more."""
    past_s = (now - began).total_seconds()
    return lasts_s - past_s if 0 <= past_s < lasts_s else 0.0


def write_pause_s(write: WriteSeen | None, *, now: datetime) -> float:
    """Seconds until a failed write may be made again: its outcome wakes us, and must not make us run in circles."""
    if write is None or write.error is None:
        return 0.0
    return left_of_pause_s(write.at, WRITE_AGAIN_S, now=now)
