"""Where the deployments put their measurements: one small Protocol, with Ray behind it in a replica.

Names, kinds and tags come from `internvl_runtimes.contract.metrics`; a metric that is not in the contract
cannot be recorded.
"""

import time
from typing import Any, Protocol

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Metric, MetricKind, Role


class Recorder(Protocol):
    """Takes measurements. Cheap, never blocks, never raises for a value."""

    def record(self, metric: Metric, value: float = 1.0, **tags: str) -> None:
        """Add to a counter, set a gauge, or observe in a histogram, by the metric's kind."""


class Discard:
    """A recorder that keeps nothing: for a deployment outside Ray."""

    def record(self, metric: Metric, value: float = 1.0, **tags: str) -> None:
        """Do nothing."""


class RayRecorder:
    """Records by `ray.serve.metrics`: exported by the node, with the replica's own tags added by Serve."""

    def __init__(self, role: Role) -> None:
        """Make all metrics of a role, and let its counters be seen before they count.

        Args:
            role: of the replica in whose process this is.
        """
        # Ray is imported here and not above: the classes that take a Recorder are tested without it.
        from ray.serve import metrics as ray_metrics

        self._by_name: dict[str, Any] = {}
        self._started_at = time.time()
        for metric in metrics.ALL:
            if role not in metric.roles:
                continue
            # Ray's annotation says a tuple of one tag; it takes any number.
            tags: Any = metric.tags
            match metric.kind:
                case MetricKind.COUNTER:
                    made: Any = ray_metrics.Counter(metric.name, metric.description, tags)
                    for series in metric.series(role):
                        made.inc(metrics.NOTHING, tags=series)
                case MetricKind.GAUGE:
                    made = ray_metrics.Gauge(metric.name, metric.description, tags)
                case MetricKind.HISTOGRAM:
                    made = ray_metrics.Histogram(
                        metric.name, metric.description, list(metric.boundaries), tags
                    )
            self._by_name[metric.name] = made

    def record(self, metric: Metric, value: float = 1.0, **tags: str) -> None:
        """Add to a counter, set a gauge, or observe in a histogram, by the metric's kind."""
        made = self._by_name[metric.name]
        match metric.kind:
            case MetricKind.COUNTER:
                if value > 0:  # Ray refuses to count nothing.
                    made.inc(value, tags=tags)
            case MetricKind.GAUGE:
                made.set(value, tags=tags)
            case MetricKind.HISTOGRAM:
                made.observe(value, tags=tags)

    def record_presence(self) -> None:
        """Say since when the counters count, and that they still do."""
        self.record(metrics.REPLICA_START, self._started_at)
        self.record(metrics.REPORTS)
