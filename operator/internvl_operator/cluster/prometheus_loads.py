"""What a Prometheus says about all services, in one round of the queries of `promql`.

Called by `cluster.load_watch`.
"""

import asyncio
from collections.abc import Mapping, Sequence

from internvl_operator.cluster import promql
from internvl_operator.cluster.exposition import Sample
from internvl_operator.cluster.load_readings import COUNTERS, GAUGES, Readings, Series
from internvl_operator.cluster.prometheus import Prometheus
from internvl_operator.cluster.promql import NEWEST, REPLICAS, Scope
from internvl_runtimes.contract.metrics import APPLICATION_LABEL, DEPLOYMENT_LABEL

_OWN_LABELS = {metric.name: metric.tags for metric in (*COUNTERS, *GAUGES)}


async def read_prometheus(prometheus: Prometheus, scope: Scope) -> Mapping[str, Readings]:
    """Readings by the name of the application.

    Raises:
        PrometheusFault: one of the queries has no good answer. Half a round is none: what is missing is not zero.
    """
    queries = promql.of_load(scope)
    answers = await _all(prometheus, list(queries.values()))
    return readings_of(dict(zip(queries, answers, strict=True)), scope)


async def _all(prometheus: Prometheus, queries: Sequence[str]) -> list[tuple[Sample, ...]]:
    """All at once; the first fault ends the others."""
    tasks = [asyncio.ensure_future(prometheus.query(query)) for query in queries]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def readings_of(answers: Mapping[str, Sequence[Sample]], scope: Scope) -> Mapping[str, Readings]:
    """The answers of the queries of `promql.of_load`, by application. One whose newest sample is unknown is absent."""
    newest = {_application(sample): sample.value for sample in answers[NEWEST]}
    rates: dict[str, dict[Series, float]] = {name: {} for name in newest}
    gauges: dict[str, dict[Series, float]] = {name: {} for name in newest}
    replicas: dict[str, dict[str, int]] = {name: {} for name in newest}
    for metrics, values in ((COUNTERS, rates), (GAUGES, gauges)):
        for metric in metrics:
            for sample in answers[metric.name]:
                values.get(_application(sample), {})[metric.name, _label(sample, metric.name)] = sample.value
    for sample in answers[REPLICAS]:
        found = replicas.get(_application(sample), {})
        found[sample.labels.get(DEPLOYMENT_LABEL, "")] = round(sample.value)
    return {
        name: Readings(
            at=at,
            window_s=scope.window_s,
            rates=rates[name],
            gauges=gauges[name],
            replicas=replicas[name],
        )
        for name, at in newest.items()
    }


def _application(sample: Sample) -> str:
    return sample.labels.get(APPLICATION_LABEL, "")


def _label(sample: Sample, metric: str) -> str:
    return next((sample.labels.get(name, "") for name in _OWN_LABELS[metric]), "")
