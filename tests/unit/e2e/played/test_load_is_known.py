"""What the played Prometheus tells is a load that the operator knows: else a benchmark of many services never begins."""

import random
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from e2e.bench.played import load
from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster.http import HttpReply
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import ApplicationSeen, DeploymentSeen, RaySeen, ReplicaSeen
from internvl_operator.scaling.model import WorkKind
from internvl_operator.settings import Settings

KEY = ServiceKey("team", "a")
HOME = RayHome(Backend.RAY, "http://127.0.0.1:8265")
DEPLOYED = {
    names.application(KEY, role): [
        DEPLOYMENTS[one] for one in Role if names.application(KEY, one) == names.application(KEY, role)
    ]
    for role in Role
}
SHOWN = [
    {"name": name, "deployments": {deployment: {"replicas": [{}]} for deployment in deployments}}
    for name, deployments in DEPLOYED.items()
]


class Asked:
    """Hands each query to the played Prometheus."""

    chance = random.Random(1)

    async def request(self, method: str, url: str, *, body: bytes, **how: Any) -> HttpReply:
        (query,) = parse_qs(body.decode())["query"]
        return HttpReply(200, load.answer(query, SHOWN, self.chance).encode())


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


async def test_every_side_has_a_load_that_is_whole() -> None:
    settings = Settings(prometheus_url="http://prometheus:9090")
    watch = LoadWatch(Asked(), settings, find=lambda home: pytest.fail("no node is asked"), now=time.time)
    found = (await watch.read({KEY: (HOME, seen())}))[KEY]
    assert (found.reason, found.unknown, found.advice) == (Reason.METRICS_SEEN, "", "")
    tiles = found.loads[Role.VISION].work[WorkKind.TILES].arriving
    tokens = found.loads[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS].arriving
    assert tiles == pytest.approx(4, rel=load.CHANCE) and tokens == pytest.approx(30, rel=load.CHANCE)
