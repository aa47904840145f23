"""A real Prometheus understands the queries and gives the rates that an exporter counts, however often it is scraped."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from e2e.cluster.prometheus_server import PrometheusServer
from internvl_operator.cluster import promql
from internvl_operator.cluster.http import AiohttpTransport
from internvl_operator.cluster.load_readings import Readings
from internvl_operator.cluster.prometheus import Prometheus
from internvl_operator.cluster.prometheus_loads import read_prometheus
from internvl_operator.cluster.promql import Scope
from internvl_runtimes.contract import metrics

TILES_PER_S = 20.0
SCOPE = Scope(window_s=6.0)


class Node(ThreadingHTTPServer):
    """A node with gateways that admit so many tiles a second. `also`: another node in its list of nodes."""

    daemon_threads = True

    def __init__(self, *gateways: str, tiles_per_s: float = TILES_PER_S, also: "Node | None" = None) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.gateways, self.tiles_per_s = gateways, tiles_per_s
        self.nodes = (self,) if also is None else (self, also)
        self.began = time.monotonic()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"


class Page(BaseHTTPRequestHandler):
    """What a node tells, and Ray's list, which names each node twice: as two scrape jobs would."""

    server: Node

    def do_GET(self) -> None:
        body = self._discovery() if "sd" in self.path else self._page()
        self.send_response(200)
        self.send_header(
            "Content-Type", "application/json" if "sd" in self.path else "text/plain; version=0.0.4"
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return

    def _discovery(self) -> bytes:
        targets = [node.place for node in self.server.nodes]
        return json.dumps([{"labels": {"job": job}, "targets": targets} for job in ("ray", "again")]).encode()

    def _page(self) -> bytes:
        tiles = self.server.tiles_per_s * (time.monotonic() - self.server.began)
        lines = []
        for replica in self.server.gateways:
            labels = f'application="team.nano",deployment="Gateway",replica="{replica}"'
            lines += [
                f"{metrics.REPLICA_START.exported}{{{labels}}} 1",
                f"{metrics.TILES_ADMITTED.exported}{{{labels}}} {tiles}",
                f'{metrics.AWAITED.exported}{{{labels},input="pictures"}} 3',
                f'{metrics.AWAITED.exported}{{{labels},input="text"}} NaN',
            ]
        return "\n".join([*lines, ""]).encode()


@contextmanager
def serving(node: Node) -> Iterator[Node]:
    threading.Thread(target=node.serve_forever, daemon=True).start()
    yield node
    node.shutdown()
    node.server_close()


async def rates(
    server: PrometheusServer, is_so: Callable[[Readings], bool], *, within_s: float, why: str
) -> Readings:
    """What Prometheus says of the application, as soon as it is so."""
    deadline = time.monotonic() + within_s
    async with AiohttpTransport() as transport:
        client = Prometheus(server.url, transport, timeout_s=20.0)
        while True:
            found = (await read_prometheus(client, SCOPE)).get("team.nano")
            if found is not None and is_so(found):
                return found
            assert time.monotonic() < deadline, f"{why}: {found}"
            await asyncio.sleep(0.5)


async def test_one_round_of_a_real_prometheus() -> None:
    with serving(Node("g1", "g2")) as node, PrometheusServer(f"http://{node.place}", scrape_s=1) as server:
        # The first windows are not whole yet, and on a busy machine a scrape may come late or not at all.
        two = pytest.approx(2 * TILES_PER_S, rel=0.2)
        found = await rates(
            server,
            lambda seen: seen.rate(metrics.TILES_ADMITTED) == two and abs(seen.at - time.time()) < 5,
            within_s=180,
            why="not the rate of two, not of four, or not fresh",
        )
    assert found.replicas == {"Gateway": 2}
    assert found.gauge(metrics.AWAITED, "pictures") == 6.0
    assert found.gauge(metrics.AWAITED, "text") == 0, "NaN is no sample"


async def test_a_replica_whose_page_ended_adds_nothing_once_the_window_is_over() -> None:
    gone = Node("g2", tiles_per_s=20 * TILES_PER_S)
    with (
        serving(Node("g1", also=gone)) as node,
        PrometheusServer(f"http://{node.place}", scrape_s=1) as server,
    ):
        with serving(gone):
            both = pytest.approx(21 * TILES_PER_S, rel=0.2)
            await rates(
                server, lambda seen: seen.rate(metrics.TILES_ADMITTED) == both, within_s=180, why="not both"
            )
        one = pytest.approx(TILES_PER_S, rel=0.2)
        # The rate over the longest window would have something of it for a minute.
        found = await rates(
            server,
            lambda seen: seen.rate(metrics.TILES_ADMITTED) == one,
            within_s=promql.LONGEST_S / 2,
            why="it still counts",
        )
    assert found.replicas == {"Gateway": 1}
