"""The quiet window: a number comes down to the highest that was needed within it."""

import math
from dataclasses import dataclass

STEPS = 15
"""Times are kept in so many parts of the window, so that at most one number a part is remembered."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Numbers that were needed lately, as (when, how many): later ones are smaller."""

    needed: tuple[tuple[float, float], ...] = ()

    def after(self, number: float, *, clock: float, window_s: float) -> "Quiet":
        """With `number` needed now; what is older than the window is forgotten."""
        step_s = window_s / STEPS
        begun = step_s * math.floor(clock / step_s) if step_s > 0 else clock
        kept = [
            item
            for item in self.needed
            if item[1] > number and (item[0] == clock or clock < item[0] + window_s)
        ]
        if kept and kept[-1][0] >= begun:
            return Quiet(tuple(kept))  # within this part of the window more was needed
        return Quiet((*kept, (clock, number)))

    @property
    def highest(self) -> float:
        """Of the window; there is always one after `after`."""
        return self.needed[0][1]

    def left_s(self, *, clock: float, window_s: float) -> float:
        """Seconds until the highest one is forgotten."""
        return max(0.0, self.needed[0][0] + window_s - clock)
