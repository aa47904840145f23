"""The answers of a Prometheus about a light load on every service: a little different whenever it is asked."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster import promql
from internvl_operator.cluster.load_readings import COUNTERS, GAUGES
from internvl_operator.cluster.promql import NEWEST, REPLICAS, Scope
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics

PER_SECOND = {
    metrics.REQUESTS_ADMITTED.name: 0.5,
    metrics.TILES_ADMITTED.name: 4.0,
    metrics.PROMPT_TOKENS_ADMITTED.name: 400.0,
    metrics.OUTPUT_TOKENS_ADMITTED.name: 30.0,
}
"""Units of each value of the metric's own label; of what is not here, none."""
CHANCE = 0.1
"""Share by which each of them is off."""
_METRICS = {metric.name: metric for metric in (*COUNTERS, *GAUGES)}
_ASKED = {text: name for name, text in promql.of_load(Scope(window_s=Settings().prometheus_window_s)).items()}

Row = tuple[dict[str, str], float]


def answer(query: str, applications: Iterable[Mapping[str, Any]], chance: random.Random) -> str:
    """What the HTTP API answers. `applications`: as Ray's dashboard shows them.

    Raises:
        KeyError: an operator with its own settings does not ask so.
    """
    asked = _ASKED[query]
    rows = [
        {"metric": labels, "value": [time.time(), str(value)]}
        for application in applications
        for labels, value in _rows(asked, application, chance)
    ]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}})


def _rows(asked: str, application: Mapping[str, Any], chance: random.Random) -> Iterator[Row]:
    named = {metrics.APPLICATION_LABEL: str(application["name"])}
    if asked == NEWEST:
        yield named, time.time()
    elif asked == REPLICAS:
        for name, deployment in application["deployments"].items():
            yield {**named, metrics.DEPLOYMENT_LABEL: name}, float(len(deployment["replicas"]))
    else:
        for role in _METRICS[asked].roles:
            if DEPLOYMENTS[Role(role.value)] in application["deployments"]:
                for own in _METRICS[asked].series(role):
                    rate = PER_SECOND.get(asked, 0.0)
                    yield {**named, **own}, rate * chance.uniform(1 - CHANCE, 1 + CHANCE)
