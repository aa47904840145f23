"""What the played Prometheus tells is a load that the operator knows: else a benchmark of many services never begins."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from e2e.bench.played.dashboards import LIGHT_LOAD
from e2e.bench.played.prometheus import PlayedPrometheus
from e2e.bench.scaling_round import LOAD
from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster.http import HttpReply
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.cluster.promql import Scope
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import ApplicationSeen, DeploymentSeen, RaySeen, ReplicaSeen
from internvl_operator.scaling.model import WorkKind
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics

KEY = ServiceKey("team", "a")
HOME = RayHome(Backend.RAY, "http://127.0.0.1:8265")
DEPLOYED = {
    names.application(KEY, role): [
        DEPLOYMENTS[one] for one in Role if names.application(KEY, one) == names.application(KEY, role)
    ]
    for role in Role
}
SCOPE = Scope(window_s=Settings().prometheus_window_s)
NOW_S = 1_767_225_605.25


class Asked:
    """Hands each query to the played Prometheus."""

    def __init__(self, load: Mapping[str, float]) -> None:
        self._load = load
        self._prometheus = PlayedPrometheus(SCOPE)

    async def request(self, method: str, url: str, *, body: bytes, **how: Any) -> HttpReply:
        (query,) = parse_qs(body.decode())["query"]
        deployed = {name: dict.fromkeys(deployments, 1) for name, deployments in DEPLOYED.items()}
        value = lambda application, metric: self._load.get(metric, 0.0)  # noqa: E731
        return HttpReply(*self._prometheus.answer(query, deployed, value, now=NOW_S))


def seen() -> RaySeen:
    replica = ReplicaSeen(id="r", state="RUNNING", node_ip="10.0.0.1")
    applications = {
        name: ApplicationSeen(
            name=name,
            status="RUNNING",
            deployments={
                one: DeploymentSeen(name=one, status="HEALTHY", replicas=(replica,), user_config={})
                for one in deployments
            },
        )
        for name, deployments in DEPLOYED.items()
    }
    return RaySeen(address=HOME.address, at=datetime(2026, 1, 1, tzinfo=UTC), applications=applications)


@pytest.mark.parametrize("load", [LIGHT_LOAD, LOAD], ids=["upkeep", "scaling-round"])
async def test_every_side_has_a_load_that_is_whole(load: Mapping[str, float]) -> None:
    settings = Settings(prometheus_url="http://prometheus:9090")
    watch = LoadWatch(Asked(load), settings, find=lambda home: pytest.fail("no node is asked"), now=time.time)
    found = (await watch.read({KEY: (HOME, seen())}))[KEY]
    assert (found.reason, found.unknown, found.advice) == (Reason.METRICS_SEEN, "", "")
    assert {side.at for side in found.loads.values()} == {NOW_S}, (
        "to the part of a second: rounds differ by less"
    )
    tiles = found.loads[Role.VISION].work[WorkKind.TILES].arriving
    tokens = found.loads[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS].arriving
    assert tiles == load[metrics.TILES_ADMITTED.name] > 0
    assert 0 < tokens <= load[metrics.OUTPUT_TOKENS_ADMITTED.name], (
        "admitted, or what answers have been so far"
    )


def test_a_query_that_the_operator_does_not_ask_is_refused() -> None:
    status, body = PlayedPrometheus(SCOPE).answer("up", {}, lambda application, metric: 0.0, now=NOW_S)
    assert status == 400 and "with its own settings: up" in body.decode()
