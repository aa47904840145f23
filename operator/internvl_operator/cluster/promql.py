"""PromQL over the data plane's metrics, for the operator's rounds. All that the operator asks is made here.

Two scrape jobs of one exporter give every series twice: so the largest of a replica counts, and replicas are summed.
The sums are by Serve application, of which a service has two (`api.names`); a query answers for all services at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from internvl_operator.cluster.load_readings import COUNTERS, GAUGES, PRESENCE
from internvl_runtimes.contract.metrics import (
    APPLICATION_LABEL,
    DEPLOYMENT_LABEL,
    REPLICA_LABEL,
    Metric,
)

REPLICAS, NEWEST = "replicas", "newest"
LONGEST_S = 60.0
"""Of a series without two samples in the window, those of so long count: it is scraped seldom, or a scrape failed."""

_ONE_REPLICA = f"{APPLICATION_LABEL}, {REPLICA_LABEL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which series are meant, and over which time."""

    window_s: float
    """Of rates; where two samples fall into it."""
    matchers: str = ""
    """More label matchers, where one Prometheus holds several clusters: `cluster="eu-1"`."""

    def select(self, metric: Metric) -> str:
        """A selector of all series of a metric."""
        return f"{metric.exported}{{{self.matchers}}}" if self.matchers else metric.exported

    def rate(self, metric: Metric) -> str:
        """Units per second of each series over the window, or over the longest one.

        Prometheus finds samples of series that ended: over the longest one, a replica that is gone would count again.
        So only those of replicas count that are present, as `replicas` counts them.
        """
        short, longest = (
            f"rate({self.select(metric)}[{round(one * 1000)}ms])" for one in (self.window_s, LONGEST_S)
        )
        if self.window_s >= LONGEST_S:
            return short
        return f"{short} or ({longest} and on ({_ONE_REPLICA}) {self.select(PRESENCE)})"

    @property
    def longest_s(self) -> float:
        """Series without two samples in so long have no rate."""
        return max(self.window_s, LONGEST_S)


def per_second(metric: Metric, scope: Scope) -> str:
    """Rate of a counter, by application and its own label."""
    return _summed(scope.rate(metric), metric)


def at_present(metric: Metric, scope: Scope) -> str:
    """Value of a gauge, by application and its own label."""
    return _summed(scope.select(metric), metric)


def replicas(scope: Scope) -> str:
    """How many replicas tell something, by application and deployment."""
    by = f"{APPLICATION_LABEL}, {DEPLOYMENT_LABEL}"
    return f"count by ({by}) (max by ({by}, {REPLICA_LABEL}) ({scope.select(PRESENCE)}))"


def newest(scope: Scope) -> str:
    """Time of the newest sample, in seconds since 1970, by application."""
    return f"max by ({APPLICATION_LABEL}) (timestamp({scope.select(PRESENCE)}))"


def of_load(scope: Scope) -> Mapping[str, str]:
    """All queries of one round: by the name of each metric that the load is made from, `REPLICAS` and `NEWEST`."""
    return {
        **{metric.name: per_second(metric, scope) for metric in COUNTERS},
        **{metric.name: at_present(metric, scope) for metric in GAUGES},
        REPLICAS: replicas(scope),
        NEWEST: newest(scope),
    }


def _summed(expression: str, metric: Metric) -> str:
    by = ", ".join((APPLICATION_LABEL, *metric.tags))
    one = ", ".join((APPLICATION_LABEL, REPLICA_LABEL, *metric.tags))
    return f"sum by ({by}) (max by ({one}) ({expression}))"
