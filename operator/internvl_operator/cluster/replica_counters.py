"""The counters of one replica over the last seconds, as rates. Pure; called by `cluster.node_loads`.

Ray reports a replica's counters to the exporter of its node every second or every ten, and an exporter does not say
when. Between two reports nothing changes, which is no sign of rest: a rate is over values that changed, and over the
times at which the change was seen. A replica counts its own reports too, so that each report changes something; where
nothing has changed for longer than reports usually take, nothing happened.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from internvl_operator.cluster.load_readings import Series

WINDOW_S = 5.0
"""Rates are over the last so many seconds, or over the last two reports where these are further apart."""
KEPT = 16
"""Samples of one replica; a few more than fall into the window."""
SPACINGS = 5
"""Pauses between changes by which the interval of reports is known."""
LATE = 1.5
"""So many intervals without a change mean that nothing happened, not that the report is late."""

Values = Mapping[Series, float]


@dataclass(slots=True)
class ReplicaCounters:
    """What was seen of one replica. `report_s`: the interval of its reports, until it was seen."""

    report_s: float
    samples: deque[tuple[float, Values]] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Times in seconds, and the counters that were seen then."""
    gauges: Values = field(default_factory=dict)
    looked_at: float = 0.0
    changed_at: float | None = None
    spacings: deque[float] = field(default_factory=lambda: deque(maxlen=SPACINGS))

    def take(self, now: float, counters: Values, gauges: Values) -> None:
        """Take in a page. A clock that went back, or a counter that fell, begins anew."""
        self.gauges = gauges
        if self.samples and (now <= self.samples[-1][0] or _has_fallen(self.samples[-1][1], counters)):
            self.samples.clear()
            self.changed_at = None
        if not self.samples:
            self.samples.append((now, counters))
        elif counters != self.samples[-1][1]:
            self.samples.append((now, counters))
            if self.changed_at is not None:
                self.spacings.append(now - self.changed_at)
            self.changed_at = now
        elif now - self.samples[-1][0] > LATE * self._interval_s:
            self.samples.append((now, counters))
        self.looked_at = now

    @property
    def _interval_s(self) -> float:
        """Seconds between two reports."""
        return min(self.report_s, median(self.spacings)) if self.spacings else self.report_s

    @property
    def seen_interval_s(self) -> float:
        """The same as far as it was seen: before two changes were, at least so long."""
        return median(self.spacings) if self.spacings else self.looked_at - self.at

    @property
    def at(self) -> float:
        """Time of the newest sample."""
        return self.samples[-1][0]

    @property
    def window_s(self) -> float:
        """Seconds that `rates` are over; 0 while there are none."""
        return self.at - self.samples[self._begin][0]

    def rates(self) -> Values:
        """Units per second; empty while there is one sample only."""
        window_s, (_, first), (_, last) = self.window_s, self.samples[self._begin], self.samples[-1]
        if window_s <= 0:
            return {}
        return {series: max(0.0, value - first.get(series, 0.0)) / window_s for series, value in last.items()}

    @property
    def _begin(self) -> int:
        """Index of the sample that the window begins with: the oldest within it, else the last one before."""
        newest = len(self.samples) - 1
        within = (
            index for index, (at, _) in enumerate(self.samples) if index < newest and self.at - at <= WINDOW_S
        )
        return next(within, max(0, newest - 1))


def _has_fallen(before: Values, after: Values) -> bool:
    return any(after.get(series, 0.0) < value for series, value in before.items())
