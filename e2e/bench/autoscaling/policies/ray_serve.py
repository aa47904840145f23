"""Ray Serve's own autoscaler.

Source: ray-project/ray 2.60, `python/ray/serve/autoscaling_policy.py` (replica_queue_length_autoscaling_policy) and
`AutoscalingConfig`: ongoing requests = queued + running, averaged over `look_back_period_s` 30 and reported every
10 s; desired = ceil(n x ongoing / (target x n)), taken when it was wanted for `upscale_delay_s` 30 or
`downscale_delay_s` 600 without a break; `target_ongoing_requests` 2.
"""

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

LOOK_BACK_S = 30.0
REPORT_S = 10.0


class RayServeRule:
    """`ongoing` is the target, as a share of the places of a replica; None: two requests, the default."""

    def __init__(self, setting: Setting, side: SideContext) -> None:
        self._ongoing = max(setting["ongoing"] * side.places, 0.5) if "ongoing" in setting else 2.0
        self._up_s = setting.get("up_s", 30.0)
        self._down_s = setting.get("down_s", 600.0)
        self._bounds = side.least(setting), side.most
        self._window = Window(LOOK_BACK_S)
        self._direction = 0
        self._since = 0.0

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """The number that was wanted for long enough."""
        self._window.add(at, side.queued + side.running)
        wanted = clipped(self._window.mean / self._ongoing, *self._bounds)
        direction = (wanted > side.target) - (wanted < side.target)
        if direction != self._direction:
            self._direction, self._since = direction, at
        delay_s = self._up_s if direction > 0 else self._down_s
        return wanted if at - self._since >= delay_s else side.target


def make(context: Context, setting: Setting) -> PerSide:
    """Both sides' deployments."""
    return PerSide(partial(RayServeRule, setting), context, interval_s=REPORT_S, age_s=0.0)


ENTRY = Entry(
    name="ray-serve",
    title="Ray Serve",
    make=make,
    default={},
    sweep=grid(least=(0.0, 0.8, 1.5), ongoing=(0.1, 0.2, 0.35, 0.6), up_s=(0.0,), down_s=(300.0,)),
)
