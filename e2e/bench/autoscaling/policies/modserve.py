"""ModServe's rule: every five minutes as many replicas as the load needs.

Source: ModServe (SoCC 2025, arXiv 2502.00937), section on autoscaling: replicas = ceil(load / most load of one replica
within the objective), load in image tokens/s for pictures and tokens/s for text, every 5 minutes; scaled out when fewer
than 99 % attained the objective; hysteresis is not covered.
"""

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

ATTAINED = 0.99


class ModServeRule:
    """`margin`: share of the profiled speed that is planned with."""

    def __init__(self, setting: Setting, profile: float, side: SideContext) -> None:
        self._capacity = profile * setting.get("margin", 1.0)
        self._bounds = side.least(setting), side.most
        self._rate, self._answered, self._late = Rate(), Rate(), Rate()

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """What the last interval's load needs; one more when that was not enough."""
        load = self._rate.since(at, side.arrived)
        answered = self._answered.since(at, sample.answered)
        late = self._late.since(at, sample.late)
        wanted = clipped(load / self._capacity, *self._bounds)
        is_short = answered > 0 and 1 - late / answered < ATTAINED and side.queued > 0
        return min(max(wanted, side.target + 1), self._bounds[1]) if is_short else wanted


def make(context: Context, setting: Setting) -> PerSide:
    """Both pools."""

    def rule(side: SideContext) -> ModServeRule:
        return ModServeRule(setting, profiled(context.site, vision=side.is_vision), side)

    return PerSide(rule, context, interval_s=setting.get("interval_s", 300.0), age_s=0.0)


ENTRY = Entry(
    name="modserve",
    title="ModServe, 5 min",
    make=make,
    default={},
    sweep=grid(margin=(0.4, 0.55, 0.7, 0.85), interval_s=(300.0, 60.0), least=(0.0, 1.0)),
)
