"""The HorizontalPodAutoscaler, alone on utilisation, and fed by KEDA with the length of a queue.

Source: kubernetes.io "Horizontal Pod Autoscaling": desired = ceil(n x metric / target), nothing within 10 %, looked at
every 15 s; up at most to the double or by 4 pods in 15 s; down to the highest wish of the last 300 s. The metric is that
of pods that are ready; where it is above the target, those that are not count as idle, and where that turns it round or
leaves it within 10 %, nothing changes (`pkg/controller/podautoscaler/replica_calculator.go`, `calcPlainMetricReplicas`).
KEDA's threshold is an AverageValue: desired = ceil(total / threshold);
vLLM's production stack scales by `vllm:num_requests_waiting` with a threshold of 5.
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

SYNC_S = 15.0
AGE_S = 5.0
"""A scrape of the metric, half its interval on the mean."""
TOLERANCE = 0.1


class HpaRule:
    """`busy`: target share of a replica's work; or `waiting`: requests that wait, for each replica."""

    def __init__(self, setting: Setting, side: SideContext) -> None:
        self._busy = setting.get("busy")
        self._waiting = setting.get("waiting", 5.0)
        self._bounds = side.least(setting), side.most
        self._wishes = Window(setting.get("down_s", 300.0))

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """The number, once its behaviour has smoothed it."""
        n = max(side.target, 1)
        if at <= SYNC_S:
            self._wishes.add(0.0, n)
        if self._busy is None:
            wish = _scaled(n, side.queued / (self._waiting * n), n)
        else:
            wish = _by_ready(n, side.ready, side.busy / self._busy)
        wish = clipped(wish, *self._bounds)
        self._wishes.add(at, wish)
        if wish > n:
            return min(wish, max(2 * n, n + 4))
        return min(n, int(self._wishes.highest))


def _by_ready(n: int, ready: int, ratio: float) -> int:
    """Of `n` pods, `ready` of which tell a metric that is `ratio` of its target."""
    if not ready:
        return n
    if ready < n and ratio > 1:
        return max(n, _scaled(n, ratio * ready / n, n))
    return _scaled(n, ratio, ready)


def _scaled(n: int, ratio: float, counted: int) -> int:
    return n if abs(ratio - 1) <= TOLERANCE else math.ceil(counted * ratio - 1e-9)


def make(context: Context, setting: Setting) -> PerSide:
    """One autoscaler a side."""
    return PerSide(partial(HpaRule, setting), context, interval_s=SYNC_S, age_s=AGE_S)


UTILISATION = Entry(
    name="hpa",
    title="HPA on utilisation",
    make=make,
    default={"busy": 0.7},
    sweep=grid(least=(0.0, 0.8, 1.5), busy=(0.3, 0.45, 0.6, 0.75)),
)
QUEUE = Entry(
    name="keda",
    title="HPA/KEDA on queue length",
    make=make,
    default={"waiting": 5.0},
    sweep=grid(waiting=(0.2, 1.0, 5.0), least=(0.8, 1.2, 1.6, 2.2)),
)
