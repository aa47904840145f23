"""What one side asks for by itself: its need, rounded up, within its bounds, held up by the quiet window."""

import math
from dataclasses import dataclass, replace

from internvl_operator.api.names import Role
from internvl_operator.scaling import needs, sentences
from internvl_operator.scaling.history import SideHistory
from internvl_operator.scaling.model import Limit, Settings, SideLoad, SideSeen, SideSettings
from internvl_operator.scaling.needs import Need
from internvl_operator.scaling.quiet import Quiet

OLDEST_S = 60.0
"""A load that was seen longer ago is unknown."""
TOLERANCE = 0.02
"""Replicas that a need may be above a whole number without another replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What both sides of a decision share."""

    settings: Settings
    now: float
    """In seconds since 1970."""
    clock: float
    """On the history's own clock."""
    is_resumed: bool
    """Nothing is remembered, or what is remembered may be older than the numbers that stand."""


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
class Wish:
    """What one side asks for, before the budget."""

    asked: Number
    standing: int
    """What it was given last."""
    history: SideHistory
    need: Need | None = None
    """None: the load is unknown."""
    sum_text: str = ""
    """The sum behind the need."""


def wish_of(role: Role, seen: SideSeen, side: SideHistory, this: Round) -> Wish:
    """What the side asks for."""
    bounds, clock = this.settings.sides[role], this.clock
    standing = seen.target if this.is_resumed or side.target is None else side.target
    side = replace(
        side,
        starts=side.starts.after(target=seen.target, ready=seen.ready, healthy=seen.healthy, clock=clock),
        quiet=_held_up(side, standing, this) if this.is_resumed else side.quiet,
        busy_at=clock if side.busy_at is None else side.busy_at,
    )
    if seen.load is None:
        return _held(side, standing, bounds, this, seen.unknown or "nobody told it")
    if why := _unusable(seen.load, this.now):
        return _held(side, standing, bounds, this, why)
    side = _measured(role, seen.load, side, bounds)
    if kinds := needs.unmeasured(seen.load, side.capacity):
        why = f"how many {' and '.join(kinds)} one replica manages is not stated, and none was full yet"
        return _held(side, standing, bounds, this, why)
    return _known(seen.load, side, standing, bounds, this)


def _unusable(load: SideLoad, now: float) -> str:
    """Why a load is no load; empty when it is one."""
    figures = [load.at, load.window_s, load.running, load.requests or 0.0]
    for work in load.work.values():
        figures += [work.arriving, work.waiting, work.done_while_full, work.seconds_while_full]
    if not all(math.isfinite(figure) and figure >= 0 for figure in figures):
        return "a sample of it is no number"
    if now - load.at > OLDEST_S:
        return f"its newest sample is {sentences.minutes(now - load.at)} old"
    return ""


def _held(side: SideHistory, standing: int, bounds: SideSettings, this: Round, why: str) -> Wish:
    number = min(max(standing, _least(bounds)), bounds.maximum)
    return Wish(
        asked=Number(number=number, limit=Limit.UNKNOWN, note=f"held, because its load is unknown: {why}"),
        standing=standing,
        history=replace(side, quiet=_held_up(side, number, this), busy_at=this.clock),
    )


def _measured(role: Role, load: SideLoad, side: SideHistory, bounds: SideSettings) -> SideHistory:
    """With what one replica manages; a window that was seen before teaches nothing."""
    is_new = load.at > side.loaded_at
    return replace(side, capacity=needs.capacities(role, load if is_new else None, side.capacity, bounds))


def _known(load: SideLoad, side: SideHistory, standing: int, bounds: SideSettings, this: Round) -> Wish:
    horizon_s = side.starts.usual_s(bounds.start_s) + load.window_s
    is_whole = load.answered_replicas >= load.expected_replicas
    if load.at > side.loaded_at:
        busy = needs.busy_replicas(load, side.capacity)
        rises = side.rises.after(busy, clock=this.clock, horizon_s=horizon_s) if is_whole else side.rises
        side = replace(side, loaded_at=load.at, rises=rises)
    has_work = load.running > 0 or any(work.arriving > 0 or work.waiting > 0 for work in load.work.values())
    side = replace(side, busy_at=this.clock) if has_work or not is_whole else side
    need = needs.need(load, side, horizon_s=horizon_s, first_token_s=this.settings.first_token_s)
    asked = _bounded(need, side, standing, bounds, this)
    if not is_whole:
        asked = _not_lower(asked, min(standing, bounds.maximum), load)
    quiet = Quiet() if asked.number == 0 else side.quiet
    side = replace(side, quiet=quiet.after(asked.number, clock=this.clock, window_s=this.settings.quiet_s))
    return Wish(
        asked=_calmed(asked, side, bounds, this),
        standing=standing,
        history=side,
        need=need,
        sum_text=sentences.sum_of(load, side.capacity, need),
    )


def _bounded(need: Need, side: SideHistory, standing: int, bounds: SideSettings, this: Round) -> Number:
    """The need in whole replicas, within the bounds of the side."""
    least = _least(bounds)
    number = max(0, math.ceil(need.total - TOLERANCE))
    if least == 0:
        idle_s = this.clock - (side.busy_at or 0.0)
        left_s = this.settings.idle_s - idle_s
        if idle_s > 0 and (standing == 0 or left_s <= 0):
            return Number(number=0)
        if number <= 1:
            note = f"no picture for {sentences.minutes(idle_s)}; none are kept after {sentences.minutes(this.settings.idle_s)}"
            return (
                Number(number=1, limit=Limit.IDLE, note=note, until_s=left_s)
                if idle_s > 0
                else Number(number=1)
            )
    if number > bounds.maximum:
        note = f"{number} are wanted, but maxReplicas is {bounds.maximum}"
        return Number(number=bounds.maximum, limit=Limit.MAXIMUM, note=note)
    if number >= least:
        return Number(number=number)
    if least > bounds.minimum:
        return Number(number=least, limit=Limit.SCHEDULE, note=f"{bounds.floor_why} wants {least}")
    return Number(number=least, limit=Limit.MINIMUM, note=f"minReplicas is {least}")


def _not_lower(asked: Number, standing: int, load: SideLoad) -> Number:
    """Not below what stands, because what did not tell its load may have more of it."""
    if asked.number >= standing:
        return asked
    missing = load.expected_replicas - load.answered_replicas
    who = load.silent or f"{missing} of {load.expected_replicas} replicas"
    return Number(
        number=standing, limit=Limit.SILENT, note=f"not lowered, because {who} did not tell its load"
    )


def _calmed(asked: Number, side: SideHistory, bounds: SideSettings, this: Round) -> Number:
    """Not below what was needed within the quiet window."""
    highest = min(side.quiet.highest, bounds.maximum)
    if highest <= asked.number:
        return asked
    window_s = this.settings.quiet_s
    left_s = side.quiet.left_s(clock=this.clock, window_s=window_s)
    note = f"{highest} were needed within the last {sentences.minutes(window_s)}"
    return Number(number=highest, limit=Limit.QUIET, note=note, until_s=left_s)


def _held_up(side: SideHistory, number: int, this: Round) -> Quiet:
    return side.quiet.after(number, clock=this.clock, window_s=this.settings.quiet_s)


def _least(bounds: SideSettings) -> int:
    return min(max(bounds.minimum, bounds.floor), bounds.maximum)
