"""The learned reserve: how far a side's load has risen within the time that a new replica takes to start.

Source: the reserve that needed fewest GPU-hours in simulations over published traces, see
docs/decisions/20261122.the-reserve-is-learned.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MEMORY_S = 6 * 3600.0
"""A rise counts `1/e` after so long."""
MISSED_S = 0.01 * MEMORY_S
"""A reserve is large enough when rises went beyond it for so many seconds of the memory: its 99th percentile."""
BURST = 1.2
"""... but never for less than this times the start time, so that one burst alone is no rule."""
SLOTS = 12
"""The start time is divided into so many, and each keeps two figures."""
SMALLEST = 0.02
"""Rises below this, in replicas, are none."""
GROWTH = 1.15
"""From one bucket's upper edge to the next one's."""
BUCKETS = 80
"""The last one holds all beyond 1,200 replicas."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The load during a part of the start time."""

    begun: float
    """On the history's own clock, in seconds."""
    total: float
    count: int
    highest: float

    @property
    def mean(self) -> float:
        """Of the loads in it, in replicas."""
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class Rises:
    """What was learned about one side. Values are in replicas, times on the history's own clock."""

    slots: tuple[Slot, ...] = ()
    """Oldest first, none older than the start time."""
    buckets: Mapping[int, float] = field(default_factory=dict)
    """Seconds in which the load was about to rise by so much, half forgotten after some hours."""
    seen_s: float = 0.0
    """How long rises were learned for."""
    peak: float = 0.0
    """The highest load of the last hours, forgotten like the rises."""

    def after(self, load: float, *, clock: float, horizon_s: float) -> "Rises":
        """What is known after `load` was seen; rises are those within `horizon_s`."""
        slots = _with_load(self.slots, load, clock, horizon_s / SLOTS)
        if slots[0].begun > clock - horizon_s:
            return Rises(slots, self.buckets, self.seen_s, max(self.peak, load))
        buckets, seen_s, peak = dict(self.buckets), self.seen_s, self.peak
        while slots[0].begun <= clock - horizon_s and len(slots) > 1:
            oldest, slots = slots[0], slots[1:]
            lasted_s = slots[0].begun - oldest.begun
            fading = math.exp(-lasted_s / MEMORY_S)
            buckets = {index: left for index, s in buckets.items() if (left := s * fading) > 0.05}
            rise = max(slot.highest for slot in slots) - oldest.mean
            if rise > SMALLEST:
                index = _index(rise)
                buckets[index] = buckets.get(index, 0.0) + lasted_s
            seen_s, peak = min(seen_s + lasted_s, MEMORY_S), peak * fading
        return Rises(slots, buckets, seen_s, max(peak, load))

    def in_other_replicas(self, factor: float) -> "Rises":
        """The same loads, where what one replica managed before is `factor` of what one manages now."""
        buckets: dict[int, float] = {}
        for index, seconds in self.buckets.items():
            moved = _index(_edge(index) * factor)
            buckets[moved] = buckets.get(moved, 0.0) + seconds
        slots = tuple(
            replace(slot, total=slot.total * factor, highest=slot.highest * factor) for slot in self.slots
        )
        return replace(self, slots=slots, buckets=buckets, peak=self.peak * factor)

    def reserve(self, horizon_s: float) -> float:
        """The smallest reserve, in replicas, that rises went beyond for no longer than `MISSED_S`."""
        allowed_s = max(MISSED_S, BURST * horizon_s)
        beyond_s = 0.0
        for index in sorted(self.buckets, reverse=True):
            within_s = self.buckets[index]
            if beyond_s + within_s > allowed_s:
                share = (allowed_s - beyond_s) / within_s  # of the bucket that may be missed: its upper part
                upper = _edge(index)
                return upper - share * (upper - _edge(index - 1))
            beyond_s += within_s
        return 0.0


def _with_load(slots: tuple[Slot, ...], load: float, clock: float, slot_s: float) -> tuple[Slot, ...]:
    if slots and clock < slots[-1].begun + slot_s:
        last = slots[-1]
        joined = Slot(last.begun, last.total + load, last.count + 1, max(last.highest, load))
        return (*slots[:-1], joined)
    return (*slots, Slot(clock, load, 1, load))[-SLOTS - 2 :]


def _index(rise: float) -> int:
    return min(BUCKETS, max(0, math.ceil(math.log(rise / SMALLEST) / math.log(GROWTH))))


def _edge(index: int) -> float:
    return SMALLEST * GROWTH**index if index >= 0 else 0.0
