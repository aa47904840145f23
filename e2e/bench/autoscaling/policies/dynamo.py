"""Dynamo's planner in its throughput mode.

Source: ai-dynamo/dynamo, `docs/planner/sla_planner.md`: every 180 s the next interval's requests and lengths are predicted
(ARIMA is the default), replicas = ceil(prediction / profiled speed within the objectives) for prefill and for decode; here
one replica does both, so their needs add up. The planner has no mode for encoders; it gets the same formula there.
"""

import numpy as np

from e2e.bench.autoscaling.policies.base import (
    Context,
    Entry,
    PerSide,
    Rate,
    Setting,
    SideContext,
    clipped,
    grid,
)
from e2e.bench.autoscaling.profile import profiled
from e2e.bench.autoscaling.simulator.sample import Sample, SideSample

INTERVAL_S = 180.0
REMEMBERED = 40
"""Intervals that the prediction is fitted to."""
LEAST_FITTED = 6


class DynamoRule:
    """`margin`: share of the profiled speed that is planned with."""

    def __init__(self, setting: Setting, profile: float, side: SideContext) -> None:
        self._capacity = profile * setting.get("margin", 1.0)
        self._bounds = side.least(setting), side.most
        self._rate = Rate()
        self._loads: list[float] = []

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """What the next interval is predicted to need; nothing moves while replicas start."""
        load = self._rate.since(at, side.arrived)
        self._loads = [*self._loads, load][-REMEMBERED:]
        if side.starting:
            return side.target
        return clipped(predicted(self._loads) / self._capacity, *self._bounds)


def predicted(loads: list[float]) -> float:
    """The next value by ARIMA(1, 1, 0) fitted by least squares; the last one while there are few."""
    if len(loads) < LEAST_FITTED:
        return loads[-1]
    steps = np.diff(loads)
    before, after = steps[:-1], steps[1:]
    spread = float(before @ before)
    share = float(before @ after) / spread if spread > 0 else 0.0
    return max(loads[-1] + min(max(share, -1.0), 1.0) * float(steps[-1]), 0.0)


def make(context: Context, setting: Setting) -> PerSide:
    """Both sides."""

    def rule(side: SideContext) -> DynamoRule:
        return DynamoRule(setting, profiled(context.site, vision=side.is_vision), side)

    return PerSide(rule, context, interval_s=setting.get("interval_s", INTERVAL_S), age_s=0.0)


ENTRY = Entry(
    name="dynamo",
    title="Dynamo, throughput",
    make=make,
    default={},
    sweep=grid(margin=(0.4, 0.55, 0.7, 0.85), interval_s=(180.0, 60.0), least=(0.0, 1.0)),
)
