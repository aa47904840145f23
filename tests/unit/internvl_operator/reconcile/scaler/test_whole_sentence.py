"""From a node's page to the status: what two parts say about one fact is one sentence."""

from datetime import UTC, datetime, timedelta

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.cluster.http import HttpReply, HttpTimedOut
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import (
    ApplicationSeen,
    DeploymentSeen,
    Observation,
    RaySeen,
    ReplicaSeen,
    ServiceSeen,
)
from internvl_operator.plan.plan import plan
from internvl_operator.reconcile.scaler import Scaler
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics

KEY = ServiceKey("team", "nano")
HOME = RayHome(Backend.RAY, "http://ray:8265")
NODES = ("10.0.0.1", "10.0.0.2")
SPEC = {
    "model": {"uri": "file:///m"},
    "vision": {"maxReplicas": 8, "capacity": {"tilesPerSecond": 10}},
}


class Cluster:
    """A Ray of two nodes: every role has a replica on the first, vision one more on the second."""

    address = HOME.address

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.texts = 0
        self.second = HttpReply(200, b"")

    async def fetch_exporters(self):
        return tuple(f"{node}:8080" for node in NODES)

    async def request(self, method, url, *, headers, timeout_s, max_bytes):
        if NODES[1] not in url:
            return HttpReply(200, "\n".join(self._page()).encode())
        if isinstance(self.second, Exception):
            raise self.second
        return self.second

    def _page(self):
        """Texts come in, and no picture."""
        self.texts += 4
        for role in Role:
            replica = (
                f'application="{names.application(KEY, role)}",deployment="{DEPLOYMENTS[role]}",replica="r"'
            )
            yield f"{metrics.REPLICA_START.exported}{{{replica}}} 1"
            for metric in metrics.ALL:
                if metric.kind is metrics.MetricKind.HISTOGRAM:
                    continue
                is_counter = metric.kind is metrics.MetricKind.COUNTER
                for labels in metric.series(metrics.Role(role.value)):
                    named = "".join(f',{name}="{label}"' for name, label in labels.items())
                    value = self.texts if is_counter and labels.get("input") == "text" else 0
                    yield f"{metric.exported}{{{replica}{named}}} {value}"

    def known(self, key, home):
        applications = {}
        for role in Role:
            name, count = names.application(KEY, role), 2 if role is Role.VISION else 1
            before = applications.get(name)
            entry = {"name": DEPLOYMENTS[role], "num_replicas": count, "user_config": {}}
            deployed = DeploymentSeen(
                name=DEPLOYMENTS[role],
                status="HEALTHY",
                target_replicas=count,
                replicas=tuple(
                    ReplicaSeen(id=f"r{index}", state="RUNNING", node_ip=NODES[index])
                    for index in range(count)
                ),
                user_config={},
            )
            applications[name] = ApplicationSeen(
                name=name,
                status="RUNNING",
                config={
                    "name": name,
                    "deployments": [*(before.config["deployments"] if before else ()), entry],
                },
                deployments={**(before.deployments if before else {}), DEPLOYMENTS[role]: deployed},
            )
        return RaySeen(address=HOME.address, at=self.now, applications=applications)

    async def status(self):
        """What a user reads after some rounds."""
        service = ServiceSeen(key=KEY, uid="u", generation=1, spec=parse_spec(SPEC))
        loads = LoadWatch(self, Settings(), find=lambda home: self, now=lambda: self.now.timestamp())
        scaler = Scaler(loads, self, quiet_s=300.0, wake=lambda key: None, now=lambda: self.now)
        for _ in range(20):
            scaler.follow(service, HOME)
            self.now += timedelta(seconds=2)
            await scaler.round()
        observation = Observation(
            service=service,
            ray=self.known(KEY, HOME),
            scaling=scaler.follow(service, HOME),
            now=self.now,
        )
        return plan(observation, Settings(ray_address=HOME.address)).status


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (HttpReply(500, b""), "the node 10.0.0.2:8080 does not tell its load: it answers 500"),
        (HttpTimedOut("no answer"), "the node 10.0.0.2:8080 does not tell its load: no answer"),
        (HttpReply(200, b""), "1 of 3 replicas do not tell their load"),
    ],
)
async def test_a_number_that_is_not_lowered_says_who_does_not_tell_its_load(answer, end):
    cluster = Cluster()
    cluster.second = answer
    status = await cluster.status()
    sentence = f"vision stays at 2: no load; not lowered, because {end}"
    assert status.roles.vision.why == sentence
    said = status.condition(ConditionType.METRICS_AVAILABLE)
    assert (said.status, said.reason, said.message) == ("True", Reason.METRICS_INCOMPLETE, sentence)
