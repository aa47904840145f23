"""What one side asks for by itself, and what it remembers of the round."""

from dataclasses import dataclass, replace

from internvl_operator.api.names import Role
from internvl_operator.scaling import needs, numbers, sentences
from internvl_operator.scaling.history import SideHistory
from internvl_operator.scaling.model import FIRST_START_S, Limit, Settings, SideLoad, SideSeen, SideSettings
from internvl_operator.scaling.needs import Need
from internvl_operator.scaling.numbers import Number
from internvl_operator.scaling.quiet import Quiet
from internvl_operator.scaling.rises import Pace
from internvl_operator.scaling.smooth import Smooth

OLDEST_S = 60.0
"""A load that was seen longer ago is unknown."""
LARGEST = 1e12
"""A larger figure is no measurement; a time in seconds since 1970 is far below."""


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
        # The window has taught what it can; seen again it must teach no more.
        return _held(replace(side, loaded_at=max(side.loaded_at, seen.load.at)), standing, bounds, this, why)
    usual_s = side.starts.usual_s(FIRST_START_S[role] if bounds.start_s is None else bounds.start_s)
    pace = Pace(
        horizon_s=usual_s + seen.load.window_s,
        quiet_s=this.settings.quiet_s,
        window_s=seen.load.window_s,
        first_token_s=this.settings.first_token_s,
    )
    return _known(seen.load, side, standing, bounds, this, pace)


def _unusable(load: SideLoad, now: float) -> str:
    """Why a load is no load; empty when it is one."""
    figures = [load.at, load.window_s, load.running, load.requests or 0.0]
    for work in load.work.values():
        figures += [work.arriving, work.waiting, work.done_while_full, work.seconds_while_full]
    if not all(0 <= figure <= LARGEST for figure in figures):  # so NaN and infinity are none either
        return "a sample of it is no number"
    if now - load.at > OLDEST_S:
        return f"its newest sample is {sentences.minutes(now - load.at)} old"
    return ""


def _held(side: SideHistory, standing: int, bounds: SideSettings, this: Round, why: str) -> Wish:
    wanted = standing if this.is_resumed or side.held is None else side.held
    number = min(max(wanted, bounds.least), bounds.maximum)
    return Wish(
        asked=Number(number=number, limit=Limit.UNKNOWN, note=f"held, because its load is unknown: {why}"),
        standing=standing,
        history=replace(side, held=number, quiet=_held_up(side, number, this), busy_at=this.clock),
    )


def _measured(role: Role, load: SideLoad, side: SideHistory, bounds: SideSettings) -> SideHistory:
    """With what one replica manages; a window that was seen before teaches nothing."""
    is_new = load.at > side.loaded_at
    return replace(side, capacity=needs.capacities(role, load if is_new else None, side.capacity, bounds))


def _known(
    load: SideLoad, side: SideHistory, standing: int, bounds: SideSettings, this: Round, pace: Pace
) -> Wish:
    is_whole = load.answered_replicas >= load.expected_replicas
    if load.at > side.loaded_at:
        side = (
            _learned(load, side, this, pace)
            if is_whole
            else replace(side, loaded_at=load.at, smooth=Smooth())
        )
    has_work = load.running > 0 or any(work.arriving > 0 or work.waiting > 0 for work in load.work.values())
    is_idle = is_whole and not has_work
    side = side if is_idle else replace(side, busy_at=this.clock)
    need = needs.need(load, side, base=_base(load, side), pace=pace)
    if is_idle and bounds.least == 0:
        idle_s = this.clock - (side.busy_at or 0.0)
        asked = numbers.idle(
            need, bounds, stands_at_zero=standing == 0, idle_s=idle_s, limit_s=this.settings.idle_s
        )
    else:
        asked = numbers.bounded(need, bounds)
    if not is_whole:
        asked = numbers.not_lower(asked, min(standing, bounds.maximum), load)
    kept = numbers.nearly(need, asked, standing) if asked.number else 0
    quiet = (side.quiet if kept else Quiet()).after(kept, clock=this.clock, window_s=this.settings.quiet_s)
    return Wish(
        asked=numbers.calmed(asked, quiet, bounds, clock=this.clock, window_s=this.settings.quiet_s),
        standing=standing,
        history=replace(side, held=None, quiet=quiet),
        need=need,
        sum_text=sentences.sum_of(load, side.capacity, need),
    )


def _learned(load: SideLoad, side: SideHistory, this: Round, pace: Pace) -> SideHistory:
    """With a load that is new and whole."""
    busy = needs.busy_replicas(load, side.capacity)
    by_chance = needs.chance(busy, busy, load.requests, load.window_s)
    smooth = side.smooth.after(busy, chance=by_chance, passed_s=load.at - side.loaded_at)
    made_for = smooth.load + needs.chance(smooth.load, busy, load.requests, pace.first_token_s)
    rises = side.rises.after(busy, made_for=made_for, clock=this.clock, pace=pace)
    return replace(side, loaded_at=load.at, smooth=smooth, rises=rises)


def _base(load: SideLoad, side: SideHistory) -> float:
    """The smooth load, if it is of this one; else the load as it was seen."""
    if load.at == side.loaded_at and side.smooth.mean is not None:
        return side.smooth.load
    return needs.busy_replicas(load, side.capacity)


def _held_up(side: SideHistory, number: int, this: Round) -> Quiet:
    return side.quiet.after(number, clock=this.clock, window_s=this.settings.quiet_s)
