"""What share of the requests has pictures: a mean of some minutes, because a window of seconds may hold two requests."""

import math
from dataclasses import dataclass

MEAN_S = 300.0
"""A window counts `1/e` in the mean after so long."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Requests per second, both smoothed alike from zero on: their ratio is that of the requests that came."""

    with_pictures: float = 0.0
    all: float = 0.0
    at: float = 0.0
    """When the newest window that is in it ended, in seconds since 1970."""

    @property
    def pictures(self) -> float:
        """Share of the requests that have pictures, 0 to 1; all of them where none was counted."""
        return min(1.0, self.with_pictures / self.all) if self.all > 0 else 1.0

    def after(self, with_pictures: float, requests: float, *, at: float, window_s: float) -> "Mix":
        """With a window that ended at `at`; one that is in it already changes nothing. No window counts for more than its length."""
        kept = math.exp(-min(abs(at - self.at), window_s) / MEAN_S)
        return Mix(
            kept * self.with_pictures + (1 - kept) * with_pictures,
            kept * self.all + (1 - kept) * requests,
            at,
        )
