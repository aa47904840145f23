"""What the operator tells a Prometheus about itself: what it decided about replicas, why, and how long that took.

A few series a service that scales, gone with it. Made by `__main__`, served by `handlers.liveness`.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.scaling.model import SIDES, Limit, SideDecision

_PREFIX = "internvl_operator"
_LABELS = ("namespace", "service", "role")
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
NO_LIMIT = "none"


class OperatorMetrics:
    """Keeps the newest decision of each service. Everything is in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._desired = self._gauge("replicas_desired", "Replicas that were decided by the load.", _LABELS)
        self._ready = self._gauge("replicas_ready", "Replicas that run, of roles that are scaled.", _LABELS)
        self._load = self._gauge(
            "replicas_busy", "Replicas that the load alone keeps busy; absent while it is unknown.", _LABELS
        )
        self._limit = self._gauge(
            "scaling_limit",
            "1 for what bounds or holds the number now: none, minimum, maximum, schedule, budget, quiet, idle, "
            "unknown, silent.",
            (*_LABELS, "limit"),
        )
        self._took = Histogram(
            f"{_PREFIX}_scaling_decision_seconds",
            "Seconds of deciding about all services in one round, without reading their load.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def decided(self, key: ServiceKey, sides: Mapping[Role, SideDecision], ready: Mapping[Role, int]) -> None:
        """One service's decision, and replicas that run. A side that is not among them is somebody else's by now."""
        for role in SIDES:
            if role not in sides:
                self._forget(key, role)
        for role, side in sides.items():
            labels = (key.namespace, key.name, role.value)
            self._desired.labels(*labels).set(side.target)
            self._ready.labels(*labels).set(ready[role])
            if side.load is None:
                _drop(self._load, labels)
            else:
                self._load.labels(*labels).set(side.load)
            now = NO_LIMIT if side.limited_by is None else side.limited_by.value
            for limit in (NO_LIMIT, *Limit):
                if limit != now:
                    _drop(self._limit, (*labels, str(limit)))
            self._limit.labels(*labels, now).set(1)

    def round_took(self, seconds: float) -> None:
        """Deciding about all services took so long."""
        self._took.observe(seconds)

    def forget(self, key: ServiceKey) -> None:
        """The service is gone, its numbers are fixed, or nothing is decided about it for now."""
        for role in SIDES:
            self._forget(key, role)

    def encode(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def _forget(self, key: ServiceKey, role: Role) -> None:
        labels = (key.namespace, key.name, role.value)
        for gauge in (self._desired, self._ready, self._load):
            _drop(gauge, labels)
        for limit in (NO_LIMIT, *Limit):
            _drop(self._limit, (*labels, str(limit)))

    def _gauge(self, name: str, meaning: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", meaning, labels, registry=self._registry)


def _drop(gauge: Gauge, labels: tuple[str, ...]) -> None:
    try:
        gauge.remove(*labels)
    except KeyError:
        return
