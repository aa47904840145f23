"""The answers of a Prometheus about a light load on every service: a little different whenever it is asked."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from internvl_operator.cluster import promql
from internvl_runtimes.contract import metrics

ARRIVING = (
    (metrics.REQUESTS_ADMITTED, 0.5),
    (metrics.TILES_ADMITTED, 4.0),
    (metrics.PROMPT_TOKENS_ADMITTED, 400.0),
    (metrics.OUTPUT_TOKENS_ADMITTED, 30.0),
)
"""Units a second, of each value of the metric's own label."""
CHANCE = 0.1
"""Share by which each of them is off."""
_EXPORTED = re.compile(rf"{metrics.PREFIX}internvl_\w+")

Row = tuple[dict[str, str], float]


def answer(query: str, applications: Iterable[Mapping[str, Any]], chance: random.Random) -> str:
    """What the HTTP API answers. `applications`: as Ray's dashboard shows them."""
    rows = [
        {"metric": labels, "value": [time.time(), str(value)]}
        for application in applications
        for labels, value in _rows(query, application, chance)
    ]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}})


def _rows(query: str, application: Mapping[str, Any], chance: random.Random) -> Iterator[Row]:
    named = {metrics.APPLICATION_LABEL: str(application["name"])}
    scope = promql.Scope(window_s=30.0)
    if query == promql.newest(scope):
        yield named, time.time()
    elif query == promql.replicas(scope):
        for name, deployment in application["deployments"].items():
            yield {**named, metrics.DEPLOYMENT_LABEL: name}, float(len(deployment["replicas"]))
    elif "Gateway" in application["deployments"]:
        found = _EXPORTED.search(query)
        for metric, rate in ARRIVING:
            if found is not None and found[0] == metric.exported:
                for own in metric.series(metrics.Role.GATEWAY):
                    yield {**named, **own}, rate * chance.uniform(1 - CHANCE, 1 + CHANCE)
