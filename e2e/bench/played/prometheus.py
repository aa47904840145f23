"""A Prometheus that knows the load of many services, as a transport: it answers the operator's queries without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster import promql
from internvl_operator.cluster.http import HttpReply
from internvl_operator.cluster.load_readings import COUNTERS, GAUGES
from internvl_operator.cluster.promql import NEWEST, REPLICAS, Scope
from internvl_runtimes.contract.metrics import APPLICATION_LABEL, DEPLOYMENT_LABEL, Metric

REPLICAS_EACH = 2
"""Of each deployment of each service."""


class PlayedPrometheus:
    """Answers of one moment, made by `set`; `queries` counts what was asked."""

    def __init__(self, services: Sequence[ServiceKey], scope: Scope) -> None:
        self._services = services
        self._texts = {text: name for name, text in promql.of_load(scope).items()}
        self._metrics = {metric.name: metric for metric in (*COUNTERS, *GAUGES)}
        self._bodies: dict[str, bytes] = {}
        self.queries = 0

    def set(self, now: float, load: Callable[[], float]) -> None:
        """Let every service have another load, as a factor of its usual one."""
        rows: dict[str, list[dict[str, object]]] = {name: [] for name in self._texts.values()}
        for key in self._services:
            factor, applications = load(), {role: names.application(key, role) for role in Role}
            for metric in self._metrics.values():
                rows[metric.name] += [
                    _row(now, factor * VALUES.get(metric.name, 0.0), applications[role], **labels)
                    for role, labels in _series(metric)
                ]
            for role, application in applications.items():
                rows[REPLICAS].append(
                    _row(now, REPLICAS_EACH, application, **{DEPLOYMENT_LABEL: DEPLOYMENTS[role]})
                )
            rows[NEWEST] += [_row(now, now, application) for application in set(applications.values())]
        self._bodies = {
            name: json.dumps(
                {"status": "success", "data": {"resultType": "vector", "result": found}}
            ).encode()
            for name, found in rows.items()
        }

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int,
    ) -> HttpReply:
        """One query."""
        self.queries += 1
        (text,) = parse_qs((body or b"").decode())["query"]
        return HttpReply(200, self._bodies[self._texts[text]])


VALUES = {
    "internvl_requests_admitted": 3.0,
    "internvl_tiles_admitted": 30.0,
    "internvl_prompt_tokens_admitted": 4000.0,
    "internvl_output_tokens_admitted": 1500.0,
    "internvl_prompt_tokens_arrived": 4000.0,
    "internvl_sequences_begun": 6.0,
    "internvl_work": 600.0,
    "internvl_running_sequences": 8.0,
}
"""Of each series, units per second or, of a gauge, units; what is not here is 0."""


def _series(metric: Metric) -> list[tuple[Role, dict[str, str]]]:
    """All series of one service: who tells it, and the metric's own label."""
    return [(Role(role.value), labels) for role in metric.roles for labels in metric.series(role)]


def _row(now: float, value: float, application: str, **labels: str) -> dict[str, object]:
    return {"metric": {APPLICATION_LABEL: application, **labels}, "value": [now, f"{value:g}"]}
