"""What one side asks for by itself, and what it remembers of the round."""

from dataclasses import dataclass, replace

from internvl_operator.api.names import Role
from internvl_operator.scaling import needs, numbers, sentences
from internvl_operator.scaling.capacity import guessed
from internvl_operator.scaling.history import SideHistory
from internvl_operator.scaling.model import FIRST_START_S, Limit, Settings, SideLoad, SideSeen, SideSettings
from internvl_operator.scaling.needs import Need
from internvl_operator.scaling.numbers import Number
from internvl_operator.scaling.quiet import Quiet
from internvl_operator.scaling.rises import Pace
from internvl_operator.scaling.smooth import Smooth
from internvl_operator.scaling.starts import Starts

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
    is_read: bool
    """What is remembered was written by a process that may have ended before it wrote what it decided last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one side asks for, before the budget."""

    asked: Number
    standing: int
    """What it was given last."""
    history: SideHistory
    is_whole: bool
    """Whether every replica told its load; else the need is at least this."""
    need: Need | None = None
    """None: the load is unknown."""
    sum_text: str = ""
    """The sum behind the need."""


def wish_of(role: Role, seen: SideSeen, side: SideHistory, this: Round) -> Wish:
    """What the side asks for."""
    bounds, clock = this.settings.sides[role], this.clock
    is_older = side.target is None or (this.is_read and seen.target > side.target)
    this = replace(this, is_resumed=this.is_resumed or is_older)
    standing = seen.target if side.target is None or this.is_resumed else side.target
    side = replace(
        side,
        starts=side.starts.after(target=seen.target, ready=seen.ready, healthy=seen.healthy, clock=clock),
        quiet=_held_up(side, standing, this) if this.is_resumed else side.quiet,
        busy_at=clock if side.busy_at is None else side.busy_at,
    )
    least = max(bounds.least, 1) if seen.is_woken else bounds.least
    if seen.load is None:
        return _held(side, standing, bounds, this, seen.unknown or "nobody told it", least=least)
    if why := _unusable(seen.load, this.now):
        return _held(side, standing, bounds, this, why, least=least)
    side = _of_replicas(seen.replica, seen.load, side)
    side = _measured(role, seen.load, side, bounds)
    if kinds := needs.unmeasured(seen.load, side.capacity):
        why = f"how many {' and '.join(kinds)} one replica manages is not stated, and none was full yet"
        # The window has taught what it can; seen again it must teach no more.
        loaded_at = seen.load.at if _is_new(seen.load, side) else side.loaded_at
        side = replace(side, loaded_at=loaded_at, smooth=Smooth())
        return _held(side, standing, bounds, this, why, least=max(bounds.least, 1))
    usual_s = side.starts.usual_s(FIRST_START_S[role] if bounds.start_s is None else bounds.start_s)
    pace = Pace(
        horizon_s=usual_s + seen.load.window_s,
        quiet_s=this.settings.quiet_s,
        window_s=seen.load.window_s,
        first_token_s=this.settings.first_token_s,
    )
    return _known(seen, seen.load, side, standing, bounds, this, pace)


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


def _held(
    side: SideHistory, standing: int, bounds: SideSettings, this: Round, why: str, *, least: int
) -> Wish:
    wanted = standing if this.is_resumed or side.held is None else side.held
    number = min(max(wanted, least), bounds.maximum)
    return Wish(
        asked=Number(number=number, limit=Limit.UNKNOWN, note=f"held, because its load is unknown: {why}"),
        standing=standing,
        history=replace(side, held=number, quiet=_held_up(side, number, this), busy_at=this.clock),
        is_whole=False,
    )


def _of_replicas(replica: str, load: SideLoad, side: SideHistory) -> SideHistory:
    """What still holds of what was learned, where replicas may be others now.

    While old and new replicas work side by side nobody knows which of them did what: until the last old one is gone
    all windows count as the old ones', as ever. Then what one manages and how long it takes to start are learned
    anew, from windows that began later. A figure that nobody states stays as a guess, for without any the number would
    stand still until a replica is full; the first measurement replaces it, and the reserve is carried over.
    """
    if replica in ("", side.replica):
        return side
    if not side.replica:
        return replace(side, replica=replica)
    return replace(
        side,
        replica=replica,
        loaded_at=load.at + load.window_s,
        starts=Starts(),
        capacity={kind: guessed(capacity) for kind, capacity in side.capacity.items()},
    )


def _measured(role: Role, load: SideLoad, side: SideHistory, bounds: SideSettings) -> SideHistory:
    """With what one replica manages; a window that was seen before teaches nothing."""
    new = load if _is_new(load, side) else None
    capacity = needs.capacities(role, new, side.capacity, bounds)
    factor = needs.restated(load, side.capacity, capacity)
    side = replace(side, capacity=capacity)
    if factor is None:
        return side
    return replace(side, rises=side.rises.in_other_replicas(factor), smooth=Smooth())


def _is_new(load: SideLoad, side: SideHistory) -> bool:
    """Whether nothing was learned from it yet. One from long before the newest is: the clock was set back."""
    return load.at > side.loaded_at or load.at < side.loaded_at - OLDEST_S


def _known(
    seen: SideSeen,
    load: SideLoad,
    side: SideHistory,
    standing: int,
    bounds: SideSettings,
    this: Round,
    pace: Pace,
) -> Wish:
    is_whole = load.answered_replicas >= load.expected_replicas
    if _is_new(load, side):
        side = (
            _learned(load, side, this, pace)
            if is_whole
            else replace(side, loaded_at=load.at, smooth=Smooth())
        )
    has_work = load.running > 0 or any(work.arriving > 0 or work.waiting > 0 for work in load.work.values())
    starts = (
        seen.ready < standing
    )  # its probe is no work, but Serve remembers the probe's pictures for a while
    is_idle = is_whole and not has_work and not seen.is_woken and not starts
    side = side if is_idle else replace(side, busy_at=this.clock)
    need = needs.need(load, side, base=_base(load, side), pace=pace)
    may_go = standing == 0 or seen.ready > 0  # a replica that cannot start is not hidden by taking it away
    if is_idle and bounds.least == 0 and may_go:
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
        is_whole=is_whole,
        sum_text=sentences.sum_of(load, side.capacity, need),
    )


def _learned(load: SideLoad, side: SideHistory, this: Round, pace: Pace) -> SideHistory:
    """With a load that is new and whole."""
    busy = needs.busy_replicas(load, side.capacity)
    by_chance = needs.chance(busy, busy, load.requests, load.window_s)
    passed_s = load.at - side.loaded_at
    before = side.smooth if passed_s > 0 else Smooth()  # the clock was set back
    smooth = before.after(busy, chance=by_chance, passed_s=passed_s)
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
