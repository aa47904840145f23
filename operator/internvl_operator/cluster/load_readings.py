"""What one round read about one Serve application, however it was read: rates, gauges, and who told them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Metric

COUNTERS = (
    metrics.REQUESTS_ADMITTED,
    metrics.TILES_ADMITTED,
    metrics.PROMPT_TOKENS_ADMITTED,
    metrics.OUTPUT_TOKENS_ADMITTED,
    metrics.PROMPT_TOKENS_ARRIVED,
    metrics.SEQUENCES_BEGUN,
    metrics.WORK,
    metrics.SATURATED_WORK,
    metrics.SATURATED_SECONDS,
)
"""Counters that the load is made from, as rates."""
GAUGES = (metrics.AWAITED, metrics.AWAITED_TILES, metrics.QUEUE_DEPTH, metrics.RUNNING_SEQUENCES)
"""The same of gauges."""
PRESENCE = metrics.REPLICA_START
"""Every replica records it with each of its reports, which begin once it is loaded: who does not show it does not tell."""

Series = tuple[str, str]
"""A metric's name (not the exported one) and the value of its own label; empty where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Sums over an application's replicas."""

    at: float
    """Time of the newest sample, in seconds since 1970."""
    window_s: float
    """Seconds that the rates are over."""
    report_s: float = 0.0
    """Seconds between two reports, as far as they were seen: of the replica that reports most often, for one may hang."""
    rates: Mapping[Series, float] = field(default_factory=dict)
    """Units per second."""
    gauges: Mapping[Series, float] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)
    """How many told something, by the name of their deployment."""

    def rate(self, metric: Metric, *labels: str) -> float:
        """Units per second over these values of its own label; over all without any. What nobody tells counts 0."""
        return _sum(self.rates, metric, labels)

    def gauge(self, metric: Metric, *labels: str) -> float:
        """The same of a gauge."""
        return _sum(self.gauges, metric, labels)


def _sum(values: Mapping[Series, float], metric: Metric, labels: tuple[str, ...]) -> float:
    return sum(
        value
        for (one, label), value in values.items()
        if one == metric.name and (not labels or label in labels)
    )
