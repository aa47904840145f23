"""AIBrix's pod autoscaler (APA).

Source: vllm-project/aibrix, `pkg/controller/podautoscaler/algorithm/apa.go`: with the mean of a metric a pod over
`window` (180 s) against its target: more than 10 % above, min(ceil(n x ratio), ceil(2 n)); more than 10 % below,
max(ceil(n x ratio), floor(n / 2)), 300 s after the last change at the earliest. Its samples aim at a cache filled by half.
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

SYNC_S = 10.0
AGE_S = 5.0
TOLERANCE = 0.1
MOST_UP, MOST_DOWN = 2.0, 2.0


class ApaRule:
    """`occupied`: target share of the places for requests that are taken or wanted."""

    def __init__(self, setting: Setting, side: SideContext) -> None:
        self._target = setting.get("occupied", 0.5)
        self._cooldown_s = setting.get("down_s", 300.0)
        self._bounds = side.least(setting), side.most
        self._window = Window(setting.get("window_s", 180.0))
        self._changed_at = 0.0

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """The number, a doubling or halving at most."""
        self._window.add(at, side.occupied * side.ready)
        n = max(side.target, 1)
        ratio = self._window.mean / n / self._target
        wanted = n
        if ratio > 1 + TOLERANCE:
            wanted = min(math.ceil(n * ratio), math.ceil(n * MOST_UP))
        elif ratio < 1 - TOLERANCE and at - self._changed_at >= self._cooldown_s:
            wanted = max(math.ceil(n * ratio), math.floor(n / MOST_DOWN))
        wanted = clipped(wanted, *self._bounds)
        if wanted != side.target:
            self._changed_at = at
        return wanted


def make(context: Context, setting: Setting) -> PerSide:
    """One autoscaler a side."""
    return PerSide(partial(ApaRule, setting), context, interval_s=SYNC_S, age_s=AGE_S)


ENTRY = Entry(
    name="aibrix",
    title="AIBrix APA",
    make=make,
    default={},
    sweep=grid(occupied=(0.1, 0.2, 0.35, 0.5), window_s=(15.0, 60.0), least=(0.0, 1.0)),
)
