"""One round for all services: from Prometheus fifteen queries however many they are, from nodes each page once."""

import json
import logging
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster.http import HttpReply, HttpUnreachable
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.cluster.ray import RayFault
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import ApplicationSeen, DeploymentSeen, RaySeen, ReplicaSeen
from internvl_operator.scaling.model import WorkKind
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics

A, B = ServiceKey("team", "a"), ServiceKey("team", "b")
HOME, OTHER = RayHome(Backend.RAY, "http://127.0.0.1:8265"), RayHome(Backend.RAY, "http://127.0.0.2:8265")
PROMETHEUS = "http://prometheus:9090"


class Net:
    """A Prometheus and the nodes of Ray clusters."""

    def __init__(self):
        self.asked = []
        self.rows = {}
        self.page = ""
        self.is_up = True
        self.headers = {}
        self.address = HOME.address

    async def request(self, method, url, *, headers, body=None, timeout_s, max_bytes):
        self.asked.append(url)
        self.headers = headers
        if not self.is_up:
            raise HttpUnreachable(f"cannot reach {url}: connection refused")
        if method == "GET":
            return HttpReply(200, self.page.encode())
        (query,) = parse_qs(body.decode())["query"]
        found = next((rows for part, rows in self.rows.items() if part in query), [])
        result = [{"metric": labels, "value": [0, str(value)]} for labels, value in found]
        data = {"resultType": "vector", "result": result}
        return HttpReply(200, json.dumps({"status": "success", "data": data}).encode())

    async def fetch_exporters(self):
        return ("127.0.0.1:9999",)


@pytest.fixture
def net():
    return Net()


def watch(net, now=lambda: 100.0, **settings):
    return LoadWatch(net, Settings(**settings), find=lambda home: net, now=now)


def ray(*keys, node="127.0.0.1", state="RUNNING"):
    """Each role of these services has one replica, all on one node."""
    applications = {}
    for key in keys:
        for name in names.applications(key):
            roles = [role for role in Role if names.application(key, role) == name]
            replica = ReplicaSeen(id="r", state=state, node_ip=node)
            applications[name] = ApplicationSeen(
                name=name,
                status="RUNNING",
                deployments={
                    DEPLOYMENTS[role]: DeploymentSeen(
                        name=DEPLOYMENTS[role], status="HEALTHY", replicas=(replica,), user_config={}
                    )
                    for role in roles
                },
            )
    return RaySeen(address=HOME.address, at=datetime(2026, 1, 1, tzinfo=UTC), applications=applications)


ADMITTED = (
    metrics.REQUESTS_ADMITTED,
    metrics.TILES_ADMITTED,
    metrics.PROMPT_TOKENS_ADMITTED,
    metrics.OUTPUT_TOKENS_ADMITTED,
)


WAITING = (metrics.AWAITED, metrics.AWAITED_TILES, metrics.QUEUE_DEPTH, metrics.RUNNING_SEQUENCES)


def series_of(metric, role=Role.GATEWAY):
    return tuple(metric.series(metrics.Role(role.value)))


def prometheus_rows(*keys):
    main = [{"application": names.main_application(key)} for key in keys]
    present = [
        ({"application": names.application(key, role), "deployment": DEPLOYMENTS[role]}, 1)
        for key in keys
        for role in Role
    ]
    return {
        "count by": present,
        "timestamp(": [(labels, 99.0) for labels in main],
        **{
            metric.exported: [({**labels, **own}, 12.5) for labels in main for own in series_of(metric)]
            for metric in ADMITTED
        },
        **{
            metric.exported: [
                ({"application": names.application(key, role), **own}, 0)
                for key in keys
                for role in Role
                for own in series_of(metric, role)
            ]
            for metric in WAITING
        },
    }


async def test_prometheus_is_asked_fifteen_times_for_any_number_of_services(net):
    net.rows = prometheus_rows(A, B)
    found = await watch(net, prometheus_url=PROMETHEUS).read({A: (HOME, ray(A)), B: (OTHER, ray(B))})
    assert net.asked == [f"{PROMETHEUS}/api/v1/query"] * 15
    for key in (A, B):
        side = found[key].loads[Role.VISION]
        assert (side.work[WorkKind.TILES].arriving, side.at) == (12.5, 99.0)
    assert found[A].loads[Role.LANGUAGE].answered_replicas == 2


@pytest.mark.parametrize(
    ("state", "expected"), [("RUNNING", 2), ("PENDING_MIGRATION", 2), ("STARTING", 0), ("STOPPING", 0)]
)
async def test_replicas_that_answer_requests_are_expected_to_tell_also_while_their_node_is_drained(
    net, state, expected
):
    net.rows = prometheus_rows(A)
    found = await watch(net, prometheus_url=PROMETHEUS).read({A: (HOME, ray(A, state=state))})
    assert found[A].loads[Role.VISION].expected_replicas == expected, "its own and the gateway's"


def test_the_nodes_are_looked_at_every_second_and_a_prometheus_no_more_often_than_it_can_know_more(net):
    assert watch(net).interval_s == 1.0
    assert watch(net, prometheus_url=PROMETHEUS).interval_s == 2.0
    assert watch(net, prometheus_url=PROMETHEUS, load_interval_s=5.0).interval_s == 5.0


async def test_without_services_that_scale_nobody_is_asked(net):
    assert await watch(net, prometheus_url=PROMETHEUS).read({}) == {} and net.asked == []


async def test_a_prometheus_that_is_away_makes_every_load_unknown_and_is_said_once(net, caplog):
    net.is_up = False
    loads = watch(net, prometheus_url=PROMETHEUS)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            found = await loads.read({A: (HOME, ray(A))})
    assert found[A].loads == {} and found[A].reason is Reason.PROMETHEUS_UNAVAILABLE
    assert PROMETHEUS in found[A].unknown
    assert len(caplog.records) == 1


async def test_a_prometheus_that_knows_nothing_of_a_service_names_the_setting(net):
    found = await watch(net, prometheus_url=PROMETHEUS).read({A: (HOME, ray(A))})
    assert found[A].loads == {} and found[A].reason is Reason.METRICS_MISSING
    assert "INTERNVL_OPERATOR_PROMETHEUS_WINDOW_S" in found[A].unknown


async def test_the_token_comes_from_its_file_and_is_never_said(net, tmp_path, caplog):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    loads = watch(net, prometheus_url=PROMETHEUS, prometheus_token_file=str(token))
    await loads.read({A: (HOME, ray(A))})
    assert net.headers["Authorization"] == "Bearer s3cret"
    net.is_up = False
    found = await loads.read({A: (HOME, ray(A))})
    assert "s3cret" not in found[A].unknown + caplog.text
    token.unlink()
    net.is_up = True
    await loads.read({A: (HOME, ray(A))})
    assert "Authorization" not in net.headers


def page(tiles, *keys):
    lines = []
    for key in keys:
        for role in Role:
            named = f'application="{names.application(key, role)}",deployment="{DEPLOYMENTS[role]}",replica="r{role}"'
            lines.append(f"{metrics.REPLICA_START.exported}{{{named}}} 1")
            for metric in (*ADMITTED, *WAITING):
                for own in series_of(metric, role):
                    more = "".join(f',{name}="{value}"' for name, value in own.items())
                    value = tiles if metric in ADMITTED else 0
                    lines.append(f"{metric.exported}{{{named}{more}}} {value}")
    return "\n".join(lines)


async def test_without_a_prometheus_a_node_that_services_share_is_read_once(net):
    clock = iter(range(100, 200))
    loads = watch(net, now=lambda: float(next(clock)))
    places = {A: (HOME, ray(A, B)), B: (HOME, ray(A, B))}
    net.page = page(10, A, B)
    first = await loads.read(places)
    assert first[A].loads == {} and first[A].reason is Reason.METRICS_MISSING
    net.page = page(30, A, B)
    second = await loads.read(places)
    assert net.asked == ["http://127.0.0.1:9999/metrics"] * 2
    for key in (A, B):
        assert second[key].reason is Reason.METRICS_SEEN
        assert second[key].loads[Role.VISION].work[WorkKind.TILES].arriving > 0


@pytest.mark.parametrize("settings", [{}, {"prometheus_url": PROMETHEUS}], ids=["nodes", "Prometheus"])
@pytest.mark.parametrize(
    "shown",
    [ray(), ray(A, node=None, state="STARTING"), ray(A, state="STOPPING")],
    ids=["none", "new", "dead"],
)
async def test_a_service_none_of_whose_replicas_runs_is_told_so_and_not_to_mend_its_metrics(
    net, settings, shown
):
    found = await watch(net, **settings).read({A: (HOME, shown)})
    assert (found[A].reason, found[A].unknown) == (Reason.METRICS_MISSING, "none of its replicas runs")


async def test_a_ray_without_exporters_is_named(net, monkeypatch):
    async def none():
        return ()

    monkeypatch.setattr(net, "fetch_exporters", none)
    found = await watch(net).read({A: (HOME, ray(A))})
    assert found[A].unknown == (
        f"Ray at {HOME.address} names no metrics exporter of the nodes that the replicas run on"
    )


@pytest.mark.parametrize(
    ("every_s", "is_named"), [(10, True), (1, False)], ids=["by Ray's default", "as advised"]
)
async def test_a_ray_that_reports_seldom_is_told_the_setting_that_makes_it_report_often(
    net, every_s, is_named
):
    second = 0
    loads = watch(net, now=lambda: 100.0 + second)
    said = {}
    for second in range(30):
        net.page = page(10 + second // every_s, A)
        seen = (await loads.read({A: (HOME, ray(A))}))[A]
        said[seen.reason] = f"{seen.unknown}{seen.advice}"
    assert set(said) == {Reason.METRICS_MISSING, Reason.METRICS_SEEN}
    for text in said.values():
        assert ("RAY_metrics_report_interval_ms=1000" in text) is is_named
    assert ("every 10 s" in said[Reason.METRICS_SEEN]) is is_named


async def test_a_node_that_is_away_is_named(net):
    net.is_up = False
    found = await watch(net).read({A: (HOME, ray(A))})
    assert found[A].loads == {} and "127.0.0.1:9999" in found[A].unknown


async def test_a_node_that_is_away_is_named_by_none_but_the_services_on_it(net):
    class Nodes(Net):
        async def request(self, method, url, **how):
            if "127.0.0.9" in url:
                raise HttpUnreachable(f"cannot reach {url}: connection refused")
            return await super().request(method, url, **how)

        async def fetch_exporters(self):
            return ("127.0.0.1:9999", "127.0.0.9:9999")

    nodes, clock = Nodes(), iter(range(100, 200))
    loads = watch(nodes, now=lambda: float(next(clock)))
    places = {A: (HOME, ray(A)), B: (HOME, ray(B, node="127.0.0.9"))}
    for tiles in (10, 30):
        nodes.page = page(tiles, A)
        found = await loads.read(places)
    assert "127.0.0.9:9999" in found[B].unknown
    assert found[A].loads[Role.VISION].silent == ""


async def test_a_ray_that_does_not_say_where_its_nodes_are_holds_up_no_other(net):
    class Broken:
        address = OTHER.address

        async def fetch_exporters(self):
            raise RayFault(Reason.RAY_TIMED_OUT, "Ray at http://127.0.0.2:8265 did not answer")

    clock = iter(range(100, 200))
    loads = LoadWatch(
        net,
        Settings(),
        find=lambda home: net if home == HOME else Broken(),
        now=lambda: float(next(clock)),
    )
    places = {A: (HOME, ray(A)), B: (OTHER, ray(B))}
    for tiles in (10, 20):
        net.page = page(tiles, A)
        found = await loads.read(places)
    assert found[A].loads and found[B].loads == {} and "127.0.0.2" in found[B].unknown
