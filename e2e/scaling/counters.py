"""The data plane's counters, as the nodes' pages tell them now: for what is measured between two looks."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from e2e.cluster.ray_nodes import RayNodes
from internvl_operator.cluster.exposition import parse_page
from internvl_runtimes.contract.metrics import PREFIX, Metric


@dataclass(frozen=True, slots=True)
class Counters:
    """Sums over all replicas, by exported name and value of the metric's own label."""

    values: Mapping[tuple[str, str], float]

    def of(self, metric: Metric, label: str = "") -> float:
        """One counter's; with an empty label the sum over all."""
        return sum(
            value
            for (name, own), value in self.values.items()
            if name == metric.exported and (not label or own == label)
        )

    def since(self, before: Counters, metric: Metric, label: str = "") -> float:
        """How far one has moved."""
        return self.of(metric, label) - before.of(metric, label)


def read_counters(ray: RayNodes, metrics: tuple[Metric, ...]) -> Counters:
    """Read each node's page. A replica that is gone takes its counts with it: read while none goes."""
    tags = {metric.exported: metric.tags for metric in metrics}
    found: dict[tuple[str, str], float] = {}
    for node in ray.nodes:
        with urllib.request.urlopen(ray.metrics_url(node.name), timeout=5) as reply:
            for sample in parse_page(reply.read(), (f"{PREFIX}internvl_",)):
                if sample.name in tags:
                    own = next((sample.labels.get(tag, "") for tag in tags[sample.name]), "")
                    key = (sample.name, own)
                    found[key] = found.get(key, 0.0) + sample.value
    return Counters(found)
