"""The load that a number rests on: a mean of some seconds, and at once whatever chance does not explain."""

import math
from dataclasses import dataclass

SMOOTH_S = 20.0
"""A load counts `1/e` in the mean after so long. Without it smooth traffic takes 3 to 6 % more GPU-hours."""
CLEARLY = 4.0
CLEARLY_SHARE = 0.25
"""A load counts at once, less so many standard deviations of chance, and less this share of the mean if that is more."""


@dataclass(frozen=True, slots=True)
class Smooth:
    """One side's, in replicas."""

    mean: float | None = None
    """None: no load was seen."""
    load: float = 0.0
    """The mean, or what was seen less what chance may explain."""

    def after(self, load: float, *, chance: float, passed_s: float) -> "Smooth":
        """With a load that was seen `passed_s` after the last one; `chance` is its standard deviation."""
        mean = load
        if self.mean is not None:
            mean = self.mean + (1 - math.exp(-passed_s / SMOOTH_S)) * (load - self.mean)
        return Smooth(mean, max(mean, load - max(CLEARLY * chance, CLEARLY_SHARE * mean)))
