"""From a need to a number: rounded up, within the bounds of the side, held up by the quiet window."""

import math
from dataclasses import dataclass

from internvl_operator.api.names import Role
from internvl_operator.scaling import sentences
from internvl_operator.scaling.capacity import KNOWN_S
from internvl_operator.scaling.model import Limit, SideLoad, SideSettings
from internvl_operator.scaling.needs import Need
from internvl_operator.scaling.quiet import Quiet

TOLERANCE = 0.02
"""Replicas that a need may be above a whole number without another replica."""
NEARLY = 0.1
NEARLY_SHARE = 0.04
"""A replica that stands is kept while it is short of being needed by no more than this, or than this share of the need,
so that a noisy load near a whole number does not start and stop one again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of replicas, and what made it another one than load and reserve ask for."""

    number: int
    limit: Limit | None = None
    note: str = ""
    """The limit in words; empty where there is none."""
    until_s: float | None = None
    """Seconds until the limit ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idleness:
    """Of a side without work that may go to zero."""

    role: Role
    stands_at_zero: bool
    idle_s: float
    limit_s: float
    kept: str
    """`SideSeen.kept`."""


def idle(need: Need, bounds: SideSettings, rest: Idleness) -> Number:
    """There after `limit_s`; until then, and as long as something keeps one, not below one replica."""
    is_over = rest.stands_at_zero or rest.idle_s >= rest.limit_s
    limit_s, what = sentences.minutes(rest.limit_s), f"no {sentences.INPUT[rest.role]} for"
    if is_over and not rest.kept:
        return Number(number=0, note=f"{what} {limit_s}")
    if whole(need) > 1:
        return bounded(need, bounds)
    if is_over:
        return Number(number=1, limit=Limit.IDLE, note=rest.kept)
    note = f"{what} {sentences.minutes(rest.idle_s)}; none is kept after {limit_s}"
    return Number(number=1, limit=Limit.IDLE, note=note, until_s=rest.limit_s - rest.idle_s)


def bounded(need: Need, bounds: SideSettings) -> Number:
    """For a side with work: at least one replica, within its bounds."""
    number, least = max(1, whole(need)), bounds.least
    if number > bounds.maximum:
        note = f"{number} are wanted, but maxReplicas is {bounds.maximum}"
        return Number(number=bounds.maximum, limit=Limit.MAXIMUM, note=note)
    if number >= least:
        return Number(number=number)
    if least > bounds.minimum:
        return Number(number=least, limit=Limit.SCHEDULE, note=f"{bounds.floor_why} wants {least}")
    return Number(number=least, limit=Limit.MINIMUM, note=f"minReplicas is {least}")


def careful(asked: Number, most: int) -> Number:
    """Not above `most`, because what one replica manages may be far from what was measured of it so far."""
    if asked.number <= most:
        return asked
    note = (
        f"{asked.number} are wanted, but until what one manages was measured for {sentences.minutes(KNOWN_S)}, "
        "no more than two, or twice as many as run while one is full"
    )
    return Number(number=most, limit=Limit.UNPROVEN, note=note)


def not_lower(asked: Number, standing: int, load: SideLoad) -> Number:
    """Not below what stands, because what did not tell its load may have more of it."""
    if asked.number >= standing:
        return asked
    missing = load.expected_replicas - load.answered_replicas
    why = load.silent or f"{missing} of {load.expected_replicas} replicas do not tell their load"
    return Number(number=standing, limit=Limit.SILENT, note=f"not lowered, because {why}")


def nearly(need: Need, asked: Number, standing: int) -> int:
    """The number that the quiet window remembers: of what stands, also what is nearly needed."""
    return max(asked.number, min(standing, math.ceil(need.total + max(NEARLY, NEARLY_SHARE * need.total))))


def calmed(asked: Number, quiet: Quiet, bounds: SideSettings, *, clock: float, window_s: float) -> Number:
    """Not below what was needed within the quiet window."""
    highest = min(int(quiet.highest), bounds.maximum)
    if highest <= asked.number:
        return asked
    is_over = quiet.needed[0][0] < clock  # else it is nearly needed now, and nobody knows until when
    left_s = quiet.left_s(clock=clock, window_s=window_s) if is_over else None
    note = f"{highest} stood or were needed within the last {sentences.minutes(window_s)}"
    return Number(number=highest, limit=Limit.QUIET, note=note, until_s=left_s)


def whole(need: Need) -> int:
    """The need, rounded up."""
    return math.ceil(need.total - TOLERANCE)
