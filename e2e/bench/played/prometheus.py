"""What a Prometheus answers that scrapes services which nobody runs: their replicas, and a value of each series."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster import promql
from internvl_operator.cluster.load_readings import COUNTERS, GAUGES
from internvl_operator.cluster.promql import NEWEST, REPLICAS, Scope
from internvl_runtimes.contract.metrics import APPLICATION_LABEL, DEPLOYMENT_LABEL

Deployed = Mapping[str, Mapping[str, int]]
"""Replicas, by application and deployment."""
Value = Callable[[str, str], float]
"""By application and name of a metric: units per second of a counter's series, units of a gauge's."""

_METRICS = {metric.name: metric for metric in (*COUNTERS, *GAUGES)}

Row = tuple[dict[str, str], float]


class PlayedPrometheus:
    """Answers the queries that an operator with this scope asks."""

    def __init__(self, scope: Scope) -> None:
        self.asked = {text: name for name, text in promql.of_load(scope).items()}
        """What each query asks for: a metric's name, `REPLICAS` or `NEWEST`."""

    def answer(self, query: str, deployed: Deployed, value: Value, *, now: float) -> tuple[int, bytes]:
        """HTTP status and body; 400 for a query that the operator does not ask.

        Args:
            query: the PromQL.
            deployed: what there is.
            value: of each series.
            now: seconds since 1970.
        """
        if query not in self.asked:
            error = f"the operator does not ask so with its own settings: {query}"
            return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": error}).encode()
        result = [
            {"metric": labels, "value": [now, repr(number)]}
            for labels, number in _rows(self.asked[query], deployed, value, now)
        ]
        return 200, json.dumps(
            {"status": "success", "data": {"resultType": "vector", "result": result}}
        ).encode()


def _rows(asked: str, deployed: Deployed, value: Value, now: float) -> Iterator[Row]:
    for application, replicas in deployed.items():
        named = {APPLICATION_LABEL: application}
        if asked == NEWEST:
            yield named, now
        elif asked == REPLICAS:
            for deployment, count in replicas.items():
                yield {**named, DEPLOYMENT_LABEL: deployment}, float(count)
        else:
            metric = _METRICS[asked]
            for role in metric.roles:
                if DEPLOYMENTS[Role(role.value)] in replicas:
                    for own in metric.series(role):
                        yield {**named, **own}, value(application, asked)
