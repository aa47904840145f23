"""What share of the requests has pictures: a mean of some minutes, because a window of seconds may hold two requests."""

import math
from dataclasses import dataclass

MEAN_S = 300.0
"""A window counts `1/e` in the mean after so long."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Requests per second, both smoothed alike: their ratio is that of the requests that came."""

    with_pictures: float = 0.0
    all: float = 0.0

    @property
    def pictures(self) -> float:
        """Share of the requests that have pictures, 0 to 1; all of them where none was counted."""
        return min(1.0, self.with_pictures / self.all) if self.all > 0 else 1.0

    def after(self, with_pictures: float, requests: float, *, passed_s: float) -> "Mix":
        """With a window that ended `passed_s` after the last one."""
        kept = math.exp(-passed_s / MEAN_S) if self.all > 0 or passed_s <= 0 else 0.0
        return Mix(
            kept * self.with_pictures + (1 - kept) * with_pictures, kept * self.all + (1 - kept) * requests
        )
