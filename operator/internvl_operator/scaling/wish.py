"""What one side asks for by itself, and what it remembers of the round."""

from dataclasses import dataclass, replace

from internvl_operator.api.names import Role
from internvl_operator.scaling import needs, numbers, sentences
from internvl_operator.scaling.capacity import guessed
from internvl_operator.scaling.history import SideHistory
from internvl_operator.scaling.model import FIRST_START_S, Limit, Settings, SideLoad, SideSeen, SideSettings
from internvl_operator.scaling.needs import Need
from internvl_operator.scaling.numbers import Idleness, Number
from internvl_operator.scaling.quiet import Quiet
from internvl_operator.scaling.rises import Pace
from internvl_operator.scaling.smooth import Smooth
from internvl_operator.scaling.starts import Starts

_NO_LOAD = "its load is unknown"
OLDEST_S = 60.0
"""A load that was seen longer ago is unknown."""
LARGEST = 1e12
"""Figures that are larger than this together are no measurement; a time in seconds since 1970 is far below."""


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
class SideRound:
    """What one side of a decision is made from."""

    role: Role
    seen: SideSeen
    bounds: SideSettings
    standing: int
    """What it was given last."""
    is_resumed: bool
    """As `Round.is_resumed`, of this side alone."""
    round: Round

    @property
    def least(self) -> int:
        """Replicas that run now whatever the load is; one where a request has woken the side, or something keeps one."""
        return max(self.bounds.least, 1) if self.seen.is_woken or self.seen.kept else self.bounds.least


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
    """None: the load is unknown, or what one replica manages is."""
    sum_text: str = ""
    """The sum behind the need."""


def wish_of(role: Role, seen: SideSeen, side: SideHistory, this: Round) -> Wish:
    """What the side asks for."""
    is_older = side.target is None or (this.is_read and seen.target > side.target)
    is_resumed = this.is_resumed or is_older
    mine = SideRound(
        role=role,
        seen=seen,
        bounds=this.settings.sides[role],
        standing=seen.target if side.target is None or is_resumed else side.target,
        is_resumed=is_resumed,
        round=this,
    )
    side = _begun(side, mine)
    if seen.load is None:
        return _unknown(side, mine, f"{_NO_LOAD}: {seen.unknown or 'nobody told it'}", least=mine.least)
    if why := unusable(seen.load, this.now):
        return _unknown(side, mine, f"{_NO_LOAD}: {why}", least=mine.least)
    side = _of_replicas(seen.replica, seen.load, side)
    side = _measured(role, seen.load, side, mine.bounds)
    if kinds := needs.unmeasured(seen.load, side.capacity):
        why = f"how many {' and '.join(kinds)} one replica manages is not stated, and none was full yet"
        # The window has taught what it can; seen again it must teach no more.
        loaded_at = seen.load.at if _is_new(seen.load, side) else side.loaded_at
        side = replace(side, loaded_at=loaded_at, smooth=Smooth())
        return _unknown(side, mine, why, least=max(mine.bounds.least, 1))
    return _known(side, mine, seen.load)


def _begun(side: SideHistory, mine: SideRound) -> SideHistory:
    """What is remembered at the beginning of a round, whatever the load is."""
    seen, clock = mine.seen, mine.round.clock
    starts = side.starts.after(target=seen.target, ready=seen.ready, healthy=seen.healthy, clock=clock)
    if starts is side.starts and side.busy_at is not None and not mine.is_resumed:
        return side  # nearly always
    return replace(
        side,
        starts=starts,
        quiet=_quiet(side.quiet, mine.standing, mine.round) if mine.is_resumed else side.quiet,
        busy_at=clock if side.busy_at is None else side.busy_at,
    )


def unusable(load: SideLoad, now: float) -> str:
    """Why a load is no load; empty when it is one."""
    figures = [load.at, load.running, load.requests or 0.0]
    for work in load.work.values():
        figures += [work.arriving, work.waiting]
        figures += [work.done_while_full, work.seconds_while_full, work.outputs_beside]
    is_window = 0 < load.window_s <= LARGEST
    if not (
        is_window and min(figures) >= 0 and sum(figures) <= LARGEST
    ):  # so NaN and infinity are none either
        return "a sample of it is no number"
    if now - load.at > OLDEST_S:
        return f"its newest sample is {sentences.minutes(now - load.at)} old"
    return ""


def _unknown(side: SideHistory, mine: SideRound, why: str, *, least: int) -> Wish:
    """The number is held, within the bounds of now."""
    before = mine.standing if mine.is_resumed or side.asked is None else side.asked
    number = min(max(before, least), mine.bounds.maximum)
    return Wish(
        asked=Number(number=number, limit=Limit.UNKNOWN, note=f"held, because {why}"),
        standing=mine.standing,
        history=replace(
            side, asked=number, quiet=_quiet(side.quiet, number, mine.round), busy_at=mine.round.clock
        ),
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
    if capacity == side.capacity:
        return side
    factor = needs.restated(load, side.capacity, capacity)
    if factor is None:
        return replace(side, capacity=capacity)
    rises = side.rises.in_other_replicas(factor)
    return replace(side, capacity=capacity, rises=rises, smooth=Smooth())


def _is_new(load: SideLoad, side: SideHistory) -> bool:
    """Whether nothing was learned from it yet. One from long before the newest is: the clock was set back."""
    return load.at > side.loaded_at or load.at < side.loaded_at - OLDEST_S


def _known(side: SideHistory, mine: SideRound, load: SideLoad) -> Wish:
    this, bounds = mine.round, mine.bounds
    pace, is_whole = _pace(side, mine, load), load.answered_replicas >= load.expected_replicas
    if _is_new(load, side):
        # One that is known in part teaches nothing of rises.
        side = _learned(load, side, this, pace) if is_whole else _unsmoothed(load, side)
    # One that does not tell its load may have some; but to know nothing of it wakes nobody.
    is_idle = (is_whole or mine.standing == 0) and _is_idle(mine, load)
    need = needs.need(load, side, base=_base(load, side), pace=pace)
    asked = _asked(side, mine, need, is_idle=is_idle)
    if any(capacity.is_unproven for capacity in side.capacity.values()):
        asked = numbers.careful(asked, _most_unproven(side, mine, load, pace))
    if not is_whole:
        asked = numbers.not_lower(asked, min(mine.standing, bounds.maximum), load)
    # Zero ends the quiet window: what was needed before must not bring a replica back.
    remembered = numbers.nearly(need, asked, mine.standing) if asked.number else 0
    quiet = _quiet(side.quiet if asked.number else Quiet(), remembered, this)
    return Wish(
        asked=numbers.calmed(asked, quiet, bounds, clock=this.clock, window_s=this.settings.quiet_s),
        standing=mine.standing,
        history=replace(side, asked=None, quiet=quiet, busy_at=side.busy_at if is_idle else this.clock),
        need=need,
        is_whole=is_whole,
        sum_text=sentences.sum_of(load, side.capacity, need),
    )


def _pace(side: SideHistory, mine: SideRound, load: SideLoad) -> Pace:
    return Pace(
        horizon_s=side.starts.usual_s(FIRST_START_S[mine.role]) + load.window_s,
        quiet_s=mine.round.settings.quiet_s,
        window_s=load.window_s,
        first_token_s=mine.round.settings.first_token_s,
    )


def _is_idle(mine: SideRound, load: SideLoad) -> bool:
    """Whether there is no work, and none is about to come."""
    is_running = load.running > 0 and not mine.seen.is_probed
    has_work = is_running or any(work.arriving > 0 or work.waiting > 0 for work in load.work.values())
    # The probe of one that starts is no work, but Serve remembers the probe's pictures for a while.
    is_starting = mine.seen.ready < mine.standing
    return not has_work and not mine.seen.is_woken and not is_starting


def _asked(side: SideHistory, mine: SideRound, need: Need, *, is_idle: bool) -> Number:
    """The need as a number within the bounds; zero, or on the way there, for a side that is idle and may rest."""
    # A replica that cannot start is not hidden by taking it away.
    may_go = mine.standing == 0 or mine.seen.ready > 0
    if not (is_idle and mine.bounds.least == 0 and may_go):
        return numbers.bounded(need, mine.bounds)
    rest = Idleness(
        role=mine.role,
        stands_at_zero=mine.standing == 0,
        idle_s=mine.round.clock - (side.busy_at or 0.0),
        limit_s=mine.round.settings.idle_s,
        kept=mine.seen.kept,
    )
    return numbers.idle(need, mine.bounds, rest)


def _most_unproven(side: SideHistory, mine: SideRound, load: SideLoad, pace: Pace) -> int:
    """Replicas that may be asked for while a figure was measured for a short time only, and may be far too low.

    Two, or twice as many as run while one is full: more than enough replicas are never full, so nothing would correct
    the figure. That one is full is told once a window; what stands is kept between. What the other figures ask for is
    not bounded.
    """
    is_full = any(work.seconds_while_full > 0 for work in load.work.values())
    most = max(mine.least, mine.standing, 2 * max(mine.seen.ready if is_full else 1, 1))
    relied = {kind: capacity for kind, capacity in side.capacity.items() if not capacity.is_unproven}
    if not relied:
        return most
    base = needs.busy_replicas(load, relied)
    return max(most, numbers.whole(needs.need(load, replace(side, capacity=relied), base=base, pace=pace)))


def _unsmoothed(load: SideLoad, side: SideHistory) -> SideHistory:
    """With a load that is new, and no rate of the whole side."""
    return replace(side, loaded_at=load.at, smooth=Smooth())


def _learned(load: SideLoad, side: SideHistory, this: Round, pace: Pace) -> SideHistory:
    """With a load that is new and whole."""
    busy = needs.busy_replicas(load, side.capacity)
    request_s = needs.request_s(busy, load, side)
    by_chance = needs.chance(busy, request_s, load.window_s)
    passed_s = load.at - side.loaded_at
    before = side.smooth if passed_s > 0 else Smooth()  # the clock was set back
    smooth = before.after(busy, chance=by_chance, passed_s=passed_s)
    made_for = smooth.load + needs.chance(smooth.load, request_s, pace.first_token_s)
    rises = side.rises.after(busy, made_for=made_for, clock=this.clock, pace=pace)
    return replace(side, loaded_at=load.at, request_s=request_s, smooth=smooth, rises=rises)


def _base(load: SideLoad, side: SideHistory) -> float:
    """The smooth load, if it is of this one; else the load as it was seen."""
    if load.at == side.loaded_at and side.smooth.mean is not None:
        return side.smooth.load
    return needs.busy_replicas(load, side.capacity)


def _quiet(before: Quiet, number: int, this: Round) -> Quiet:
    """The quiet window with one more number."""
    return before.after(number, clock=this.clock, window_s=this.settings.quiet_s)
