"""Quantiles of any number of values in bounded memory: counts in buckets that grow by 2 %."""

from collections import Counter
from math import floor, log

_GROWTH = log(1.02)
_SMALLEST = 1e-5


class Quantiles:
    """Seconds, or anything that is not negative. A quantile is at most 2 % above the true one; ends are exact."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.largest = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Take a value in."""
        self.count += 1
        self.sum += value
        self.largest = max(self.largest, value)
        self._buckets[floor(log(max(value, _SMALLEST) / _SMALLEST) / _GROWTH)] += 1

    def merge(self, other: "Quantiles") -> None:
        """Take all of another's values in."""
        self.count += other.count
        self.sum += other.sum
        self.largest = max(self.largest, other.largest)
        self._buckets += other._buckets

    def quantile(self, share: float) -> float | None:
        """The value that this share of all values does not exceed; None without values."""
        if not self.count:
            return None
        below = 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= share * self.count:
                upper = float(_SMALLEST * 1.02 ** (bucket + 1))
                return min(upper, self.largest)
        return self.largest
