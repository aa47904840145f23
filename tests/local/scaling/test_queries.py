"""A real Prometheus understands the queries and gives the rates that an exporter counts, however often it is scraped."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from e2e.cluster.prometheus_server import PrometheusServer
from internvl_operator.cluster.http import AiohttpTransport
from internvl_operator.cluster.prometheus import Prometheus
from internvl_operator.cluster.prometheus_loads import read_prometheus
from internvl_operator.cluster.promql import Scope
from internvl_runtimes.contract import metrics

TILES_PER_S = 20.0
SCOPE = Scope(window_s=6.0)


class Exporter(BaseHTTPRequestHandler):
    """A node with two gateways, and Ray's list, which names it twice: as two scrape jobs would."""

    began = time.monotonic()

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
        host, port = self.server.server_address[:2]
        groups = [{"labels": {"job": job}, "targets": [f"{host!s}:{port}"]} for job in ("ray", "again")]
        return json.dumps(groups).encode()

    def _page(self) -> bytes:
        tiles = TILES_PER_S * (time.monotonic() - self.began)
        lines = []
        for replica in ("g1", "g2"):
            labels = f'application="team.nano",deployment="Gateway",replica="{replica}"'
            lines += [
                f"{metrics.REPLICA_START.exported}{{{labels}}} 1",
                f"{metrics.TILES_ADMITTED.exported}{{{labels}}} {tiles}",
                f'{metrics.AWAITED.exported}{{{labels},input="pictures"}} 3',
                f'{metrics.AWAITED.exported}{{{labels},input="text"}} NaN',
            ]
        return "\n".join([*lines, ""]).encode()


@pytest.fixture
def exporter() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def test_one_round_of_a_real_prometheus(exporter: str) -> None:
    with PrometheusServer(exporter, scrape_s=1) as server:
        async with AiohttpTransport() as transport:
            client = Prometheus(server.url, transport, timeout_s=20.0)
            deadline = time.monotonic() + 180
            found = None
            # The first windows are not whole yet, and on a busy machine a scrape may come late or not at all.
            two = pytest.approx(2 * TILES_PER_S, rel=0.2)
            while not found or found.rate(metrics.TILES_ADMITTED) != two or abs(found.at - time.time()) >= 5:
                assert time.monotonic() < deadline, f"not the rate of two, not of four, or not fresh: {found}"
                time.sleep(0.5)
                found = (await read_prometheus(client, SCOPE)).get("team.nano")
    assert found.replicas == {"Gateway": 2}
    assert found.gauge(metrics.AWAITED, "pictures") == 6.0
    assert found.gauge(metrics.AWAITED, "text") == 0, "NaN is no sample"
