"""What one round of scaling costs: a thousand services, their load read from a Prometheus, a decision about each.

Real: the operator's own round, its queries, its reading of the answers. Played: the Prometheus and what is known of Ray.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import cast
from urllib.parse import parse_qs

from e2e.bench.played.prometheus import Deployed, PlayedPrometheus
from e2e.bench.replica_decisions import lived_history
from e2e.bench.result import BenchResult, Goal
from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import ScalingStatus, Status
from internvl_operator.cluster.http import HttpReply
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.cluster.node_loads import ExporterFinder
from internvl_operator.cluster.promql import Scope
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import (
    ApplicationSeen,
    DeploymentSeen,
    LoadSeen,
    RaySeen,
    RayUnavailable,
    ReplicaSeen,
    ServiceSeen,
)
from internvl_operator.reconcile.ports import RayFleet
from internvl_operator.reconcile.scaler import Scaler
from internvl_operator.scaling.history import to_json
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics

SERVICES = 1000
ROUNDS = 5
ROUND_S = 5.0
QUERIES = 15
REPLICAS_EACH = 2
"""Of each deployment of each service."""
LOAD = {
    metrics.REQUESTS_ADMITTED.name: 3.0,
    metrics.TILES_ADMITTED.name: 30.0,
    metrics.PROMPT_TOKENS_ADMITTED.name: 4000.0,
    metrics.OUTPUT_TOKENS_ADMITTED.name: 1500.0,
    metrics.PROMPT_TOKENS_ARRIVED.name: 4000.0,
    metrics.SEQUENCES_BEGUN.name: 6.0,
    metrics.WORK.name: 600.0,
    metrics.RUNNING_SEQUENCES.name: 8.0,
}
"""Of each series of a service, units per second or, of a gauge, units; what is not here is 0."""
SETTINGS = Settings(prometheus_url="http://prometheus:9090")
HOME = RayHome(Backend.RAY, "http://ray:8265")
SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"maxReplicas": 64, "capacity": {"tilesPerSecond": 20}},
    "language": {
        "maxReplicas": 64,
        "capacity": {"promptTokensPerSecond": 8000, "outputTokensPerSecond": 800},
    },
}


@dataclass(slots=True)
class Clock:
    """Stands between the rounds."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Known:
    """What is known of Ray: every side of every service runs. Of a fleet, a round asks this alone."""

    def __init__(self, services: list[ServiceKey]) -> None:
        self._seen = {key: _ray(key) for key in services}

    def known(self, key: ServiceKey, home: RayHome) -> RaySeen | RayUnavailable | None:
        """As `cluster.fleet` has it."""
        return self._seen[key]


class Answers:
    """A Prometheus as a transport: its answers of one moment are made by `set`, so that no round pays for them."""

    def __init__(self, services: list[ServiceKey]) -> None:
        self._prometheus = PlayedPrometheus(Scope(window_s=SETTINGS.prometheus_window_s))
        self._deployed: Deployed = {
            application: {
                DEPLOYMENTS[role]: REPLICAS_EACH
                for role in Role
                if names.application(key, role) == application
            }
            for key in services
            for application in names.applications(key)
        }
        self._replies: dict[str, HttpReply] = {}
        self.queries = 0

    def set(self, now: float, chance: random.Random) -> None:
        """Let every series be off by up to a half of its usual value."""

        def value(application: str, metric: str) -> float:
            del application
            return LOAD.get(metric, 0.0) * chance.uniform(0.5, 1.5)

        self._replies = {
            query: HttpReply(*self._prometheus.answer(query, self._deployed, value, now=now))
            for query in self._prometheus.asked
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
        (query,) = parse_qs((body or b"").decode())["query"]
        return self._replies[query]


class TimedLoads:
    """The operator's reader of loads, and the CPU seconds that it takes."""

    def __init__(self, watch: LoadWatch) -> None:
        self._watch = watch
        self.seconds = 0.0
        self.at = 0.0
        """Of the oldest load that was read."""

    @property
    def interval_s(self) -> float:
        """As `LoadWatch`."""
        return self._watch.interval_s

    async def read(
        self, places: Mapping[ServiceKey, tuple[RayHome, RaySeen]]
    ) -> Mapping[ServiceKey, LoadSeen]:
        """As `LoadWatch`."""
        began = time.process_time()
        found = await self._watch.read(places)
        self.seconds = time.process_time() - began
        self.at = min((load.at for seen in found.values() for load in seen.loads.values()), default=0.0)
        return found


def run() -> BenchResult:
    """Some rounds after a day's history; the median counts."""
    whole, reading, queries = asyncio.run(_rounds())
    seconds, of_reading = median(whole), median(reading)
    return BenchResult(
        name="scaling_round",
        title=f"One round of scaling {SERVICES} services by a Prometheus, seconds of one core",
        columns=("what", "value"),
        rows=(
            ("the whole round (s)", f"{seconds:.2f}"),
            ("of it, asking and reading the answers (s)", f"{of_reading:.2f}"),
            ("queries", f"{queries:g}"),
        ),
        raw={"round_s": whole, "reading_s": reading, "queries": queries, "services": SERVICES},
        goals=(
            Goal(f"a round about {SERVICES} services (s of one core)", round(seconds, 3), "<=", 1),
            Goal("queries of a round, however many services", queries, "<=", QUERIES),
        ),
    )


async def _rounds() -> tuple[list[float], list[float], float]:
    services = [ServiceKey("team", f"service-{number}") for number in range(SERVICES)]
    clock, chance = Clock(), random.Random(1)
    prometheus = Answers(services)
    watch = LoadWatch(prometheus, SETTINGS, find=_nobody, now=lambda: clock.now.timestamp())
    loads = TimedLoads(watch)
    woken: list[ServiceKey] = []
    fleet = cast("RayFleet", Known(services))
    scaler = Scaler(loads, fleet, quiet_s=300.0, wake=woken.append, now=lambda: clock.now)
    memory = to_json(lived_history(until=clock.now.timestamp()))
    for key in services:
        scaler.follow(_service(key, memory), HOME)
    whole, reading = [], []
    for _ in range(ROUNDS):
        clock.now += timedelta(seconds=ROUND_S)
        prometheus.set(clock.now.timestamp(), chance)
        began = time.process_time()
        await scaler.round()
        whole.append(time.process_time() - began)
        reading.append(loads.seconds)
        if loads.at != clock.now.timestamp():
            raise AssertionError(f"the load that was read is of {loads.at}: the round has learnt nothing")
    if len(set(woken)) < SERVICES:
        raise AssertionError(
            f"only {len(set(woken))} services were decided about: the round measured nothing"
        )
    return whole, reading, prometheus.queries / ROUNDS


def _nobody(home: RayHome) -> ExporterFinder:
    raise AssertionError(f"the nodes of {home.address} were asked, though there is a Prometheus")


def _service(key: ServiceKey, memory: str) -> ServiceSeen:
    status = Status(scaling=ScalingStatus(memory=memory))
    return ServiceSeen(key=key, uid=key.name, generation=1, spec=parse_spec(SPEC), status=status)


def _ray(key: ServiceKey) -> RaySeen:
    applications: dict[str, ApplicationSeen] = {}
    for role in Role:
        name, deployment = names.application(key, role), DEPLOYMENTS[role]
        known = applications.get(name)
        entries = [] if known is None or known.config is None else known.config["deployments"]
        seen = DeploymentSeen(
            name=deployment,
            status="HEALTHY",
            target_replicas=REPLICAS_EACH,
            replicas=tuple(
                ReplicaSeen(id=f"{deployment}{index}", state="RUNNING") for index in range(REPLICAS_EACH)
            ),
            user_config={},
        )
        applications[name] = ApplicationSeen(
            name=name,
            status="RUNNING",
            config={
                "name": name,
                "deployments": [
                    *entries,
                    {"name": deployment, "num_replicas": REPLICAS_EACH, "user_config": {}},
                ],
            },
            deployments={**({} if known is None else known.deployments), deployment: seen},
        )
    return RaySeen(address=HOME.address, at=datetime(2026, 1, 1, tzinfo=UTC), applications=applications)
