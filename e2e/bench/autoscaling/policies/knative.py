"""Knative's pod autoscaler (KPA).

Source: knative/serving, `pkg/autoscaler/scaling/autoscaler.go` and config-autoscaler: concurrency averaged over a stable
window of 60 s and a panic window of 6 s, every 2 s; desired = ceil(value / target) for each, within [floor(n / 2),
ceil(1000 n)] of the ready pods; panic begins when the panic wish is at least twice the ready pods, then nothing is taken
away, and it ends a stable window after that was true last. Target: 100 requests a pod at 70 %.
"""

import math
from functools import partial

from e2e.bench.autoscaling.policies.base import (
    Context,
    Entry,
    PerSide,
    Setting,
    SideContext,
    Window,
    clipped,
    grid,
)
from e2e.bench.autoscaling.simulator.sample import Sample, SideSample

TICK_S = 2.0
STABLE_S, PANIC_S = 60.0, 6.0
PANIC_AT = 2.0
MAX_UP, MAX_DOWN = 1000.0, 2.0


class KpaRule:
    """`concurrency`: target as a share of the places of a replica; None: 70 requests, the default."""

    def __init__(self, setting: Setting, side: SideContext) -> None:
        self._target = max(setting["concurrency"] * side.places, 0.1) if "concurrency" in setting else 70.0
        self._bounds = side.least(setting), side.most
        self._stable = Window(setting.get("stable_s", STABLE_S))
        self._panic = Window(PANIC_S)
        self._panic_until = -math.inf
        self._highest = 0

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """The larger of both wishes while it panics, else that of the stable window."""
        concurrency = side.queued + side.running
        self._stable.add(at, concurrency)
        self._panic.add(at, concurrency)
        ready = max(side.ready, 1)
        least, most = math.floor(ready / MAX_DOWN), math.ceil(ready * MAX_UP)
        stable = clipped(self._stable.mean / self._target, least, most)
        panic = clipped(self._panic.mean / self._target, least, most)
        if math.ceil(self._panic.mean / self._target) / ready >= PANIC_AT:
            if at > self._panic_until:
                self._highest = ready
            self._panic_until = at + STABLE_S
        if at <= self._panic_until:
            self._highest = max(self._highest, stable, panic)
            return clipped(self._highest, *self._bounds)
        return clipped(stable, *self._bounds)


def make(context: Context, setting: Setting) -> PerSide:
    """One autoscaler a side."""
    return PerSide(partial(KpaRule, setting), context, interval_s=TICK_S, age_s=0.0)


ENTRY = Entry(
    name="knative",
    title="Knative KPA",
    make=make,
    default={},
    sweep=grid(concurrency=(0.1, 0.2, 0.35, 0.6), stable_s=(60.0, 300.0), least=(0.0, 1.0)),
)
