"""The learned reserve: how far a side's load goes beyond what its replicas were made for a start time ago.

Source: the reserve that needed fewest GPU-hours in simulations over published traces, see
docs/decisions/20261122.the-reserve-is-learned.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from internvl_operator.scaling.quiet import Quiet
from internvl_operator.scaling.smooth import SMOOTH_S

MEMORY_S = 6 * 3600.0
"""Work counts `1/e` after so long."""
PEAK_MEMORY_S = 24 * 3600.0
"""The highest load counts `1/e` after so long."""
MISSED = 0.005
"""A reserve is large enough when no more than this share of the work came while the load went beyond it."""
SLOTS = 12
"""The start time is divided into so many."""
TOPS = 4
"""Highest rises that are remembered one by one."""
LONGEST_GAP_S = 60.0
"""A load that is unknown for longer is not taken to have stayed."""
SMALLEST = 0.02
"""Rises below this, in replicas, are none."""
GROWTH = 1.15
"""From one bucket's upper edge to the next one's."""
BUCKETS = 80
"""The last one holds all beyond 1,200 replicas."""
FORGOTTEN = 0.01
"""Replica-seconds; a bucket with less is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a side is seen, served and changed, in seconds."""

    horizon_s: float
    """From a load until replicas for it answer."""
    quiet_s: float
    """So long a number stays that is not needed any more."""
    window_s: float
    """That a load is the mean of."""
    first_token_s: float
    """A request may wait so long."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of the start time. Loads are in replicas."""

    begun: float
    """On the history's own clock, in seconds."""
    total: float
    count: int
    highest: float
    made_for: float
    """Highest number that load and chance asked for."""

    @property
    def mean(self) -> float:
        """Of the loads in it."""
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class Rises:
    """What was learned about one side. Loads are in replicas, times on the history's own clock."""

    slots: tuple[Slot, ...] = ()
    """Oldest first, those of the start time."""
    made_for: Quiet = field(default_factory=Quiet)
    """What the replicas were made for that answer by now: numbers from before the slots, within the quiet window."""
    buckets: Mapping[int, float] = field(default_factory=dict)
    """Replica-seconds of work that came while the load was so far beyond that, half forgotten after some hours."""
    work: float = 0.0
    """Replica-seconds of all work, forgotten like them."""
    tops: tuple[tuple[float, float], ...] = ()
    """The highest rises as (when, how far), oldest first; those until replicas for a smoothed load answer are one."""
    seen_s: float = 0.0
    """How long rises were learned for."""
    peak: float = 0.0
    """The highest load of the last day, slowly forgotten."""

    def after(self, load: float, *, made_for: float, clock: float, pace: Pace) -> "Rises":
        """What is known after `load` was seen, for which load and chance alone ask for `made_for` replicas."""
        if self.slots and clock < self.slots[-1].begun + pace.horizon_s / SLOTS:
            return replace(self, slots=(*self.slots[:-1], _joined(self.slots[-1], load, made_for)))
        slots, before = (*self.slots, Slot(clock, load, 1, load, made_for)), self.made_for
        if len(slots) == 1:
            return replace(self, slots=slots)
        closed = slots[-2]
        while slots[0].begun <= closed.begun - pace.horizon_s or len(slots) > SLOTS + 2:
            before = before.after(slots[0].made_for, clock=slots[0].begun, window_s=pace.quiet_s)
            slots = slots[1:]
        aged = replace(self, slots=slots, made_for=before)
        return aged._learned(closed, min(clock - closed.begun, LONGEST_GAP_S), pace)

    def in_other_replicas(self, factor: float) -> "Rises":
        """The same loads, where what one replica managed before is `factor` of what one manages now."""
        buckets: dict[int, float] = {}
        for index, work in self.buckets.items():
            moved = _index(_edge(index) * factor)
            buckets[moved] = buckets.get(moved, 0.0) + work * factor
        return replace(
            self,
            slots=tuple(
                Slot(
                    slot.begun,
                    slot.total * factor,
                    slot.count,
                    slot.highest * factor,
                    slot.made_for * factor,
                )
                for slot in self.slots
            ),
            made_for=Quiet(tuple((when, number * factor) for when, number in self.made_for.needed)),
            buckets=buckets,
            work=self.work * factor,
            tops=tuple((when, rise * factor) for when, rise in self.tops),
            peak=self.peak * factor,
        )

    def _learned(self, closed: Slot, lasted_s: float, pace: Pace) -> "Rises":
        wanted = _wanted(self.slots, pace)
        peak = max(self.peak * math.exp(-lasted_s / PEAK_MEMORY_S), wanted)
        if not self.made_for.needed:
            return replace(self, peak=peak)
        fading = math.exp(-lasted_s / MEMORY_S)
        buckets = {index: left for index, work in self.buckets.items() if (left := work * fading) > FORGOTTEN}
        work, rise, tops = closed.mean * lasted_s, wanted - self.made_for.highest, self.tops
        if rise > SMALLEST:
            index = _index(rise)
            buckets[index] = buckets.get(index, 0.0) + work
            tops = _with_top(tops, closed.begun, rise, pace.horizon_s)
        return replace(
            self,
            buckets=buckets,
            work=self.work * fading + work,
            tops=tops,
            seen_s=min(self.seen_s + lasted_s, MEMORY_S),
            peak=peak,
        )

    @property
    def reserve(self) -> float:
        """The smallest reserve, in replicas, that was enough for all but `MISSED` of the work.

        What came once is no rule, so the second highest rise bounds it.
        """
        allowed, beyond = MISSED * self.work, 0.0
        for index in sorted(self.buckets, reverse=True):
            within = self.buckets[index]
            if beyond + within > allowed:
                share = (allowed - beyond) / within  # of the bucket that may be missed: its upper part
                upper = _edge(index)
                return min(upper - share * (upper - _edge(index - 1)), self._second)
            beyond += within
        return 0.0

    @property
    def _second(self) -> float:
        return sorted(rise for _, rise in self.tops)[-2] if len(self.tops) > 1 else 0.0


def _joined(slot: Slot, load: float, made_for: float) -> Slot:
    return Slot(
        slot.begun,
        slot.total + load,
        slot.count + 1,
        max(slot.highest, load),
        max(slot.made_for, made_for),
    )


def _wanted(slots: tuple[Slot, ...], pace: Pace) -> float:
    """Fewest replicas with which what came lately, up to the open slot, waited no longer than it may.

    Work that comes within `span` may be done within `span + first_token_s`; the span that asks for most counts.
    """
    end = slots[-1].begun
    most, work = slots[-2].highest * pace.window_s / (pace.window_s + pace.first_token_s), 0.0
    for slot, following in zip(slots[-2::-1], slots[:0:-1], strict=True):
        work += slot.mean * (following.begun - slot.begun)
        most = max(most, work / (end - slot.begun + pace.first_token_s))
    return most


def _with_top(
    tops: tuple[tuple[float, float], ...], begun: float, rise: float, horizon_s: float
) -> tuple[tuple[float, float], ...]:
    tops = tuple(top for top in tops if begun - top[0] < MEMORY_S)
    if tops and begun - tops[-1][0] <= horizon_s + 3 * SMOOTH_S:
        return (*tops[:-1], (tops[-1][0], max(rise, tops[-1][1])))
    tops = (*tops, (begun, rise))
    if len(tops) <= TOPS:
        return tops
    lowest = min(range(len(tops)), key=lambda index: tops[index][1])
    return (*tops[:lowest], *tops[lowest + 1 :])


def _index(rise: float) -> int:
    return min(BUCKETS, max(0, math.ceil(math.log(rise / SMALLEST) / math.log(GROWTH))))


def _edge(index: int) -> float:
    return SMALLEST * GROWTH**index if index >= 0 else 0.0
