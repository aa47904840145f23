"""One HTTP server that is the Ray dashboard and the Serve proxy of every service: `python -m ... ADDRESS`.

Clusters are told apart by the Host header. What is PUT runs at once, with as many replicas as it asks for. It is also
the Prometheus that knows the load on all of them. Below `/played/` it tells the benchmark what it was asked.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from e2e.bench.played.prometheus import PlayedPrometheus
from internvl_operator.api import names
from internvl_operator.api.names import Role
from internvl_operator.cluster.prometheus import QUERY_PATH
from internvl_operator.cluster.promql import Scope
from internvl_operator.cluster.ray import APPLICATIONS_PATH
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics, pods, routes

REVISION = "sha256:" + "ab" * 32
COUNTS_PATH = "/played/counts"
PUTS_PATH = "/played/puts"
LIGHT_LOAD = {
    metrics.REQUESTS_ADMITTED.name: 0.5,
    metrics.TILES_ADMITTED.name: 4.0,
    metrics.PROMPT_TOKENS_ADMITTED.name: 400.0,
    metrics.OUTPUT_TOKENS_ADMITTED.name: 30.0,
}
"""Of each series of a service, units per second; what is not here is 0."""
CHANCE = 0.1
"""Share by which each of them is off, another one whenever it is asked for."""
FRONT_PORT = 80
"""Where the operator probes a service: its Kubernetes Service, which nobody routes here."""


@dataclass(slots=True)
class Dashboard:
    """Ray Serve of one cluster."""

    applications: dict[str, Any] = field(default_factory=dict)
    answer: bytes = b""

    def __post_init__(self) -> None:
        self._render()

    def put(self, config: dict[str, Any]) -> None:
        """Take the whole set of applications; they run when this returns."""
        self.applications = {app["name"]: _running(app) for app in config["applications"]}
        self._render()

    def probe(self) -> dict[str, Any]:
        """What the gateway's probe says of the generations that run."""
        users = {
            name: item["deployment_config"]["user_config"]
            for app in self.applications.values()
            for name, item in app["deployments"].items()
        }
        sides = {
            role.value: {
                "ok": True,
                "generation": users[names.DEPLOYMENTS[role]]["generation"],
                "revision": REVISION,
            }
            for role in Role
        }
        return {"ok": True, "features_differ": True, "text": "a red square", **sides}

    def _render(self) -> None:
        self.answer = json.dumps(
            {
                "controller_info": {"node_id": "head"} if self.applications else None,
                "proxy_location": "EveryNode",
                "http_options": {"host": "0.0.0.0", "port": pods.HTTP_PORT},
                "proxies": {"head": {"status": "HEALTHY"}} if self.applications else {},
                "applications": self.applications,
            }
        ).encode()


def _running(app: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": app["name"],
        "route_prefix": app.get("route_prefix"),
        "docs_path": None,
        "status": "RUNNING",
        "message": "",
        "last_deployed_time_s": 1.0,
        "source": "declarative",
        "deployed_app_config": app,
        "deployments": {item["name"]: _healthy(item) for item in app["deployments"]},
    }


def _healthy(item: dict[str, Any]) -> dict[str, Any]:
    count = item.get("num_replicas", 1)
    replicas = [
        {
            "replica_id": f"{item['name']}-{number}",
            "state": "RUNNING",
            "node_id": f"node-{number}",
            "node_ip": f"10.9.0.{number + 1}",
            "pid": 1,
            "actor_name": f"SERVE_REPLICA::{item['name']}#{number}",
            "start_time_s": 1.0,
        }
        for number in range(count)
    ]
    return {
        "name": item["name"],
        "status": "HEALTHY",
        "status_trigger": "CONFIG_UPDATE_COMPLETED",
        "message": "",
        "deployment_config": item,
        "target_num_replicas": count,
        "replicas": replicas,
    }


class Server:
    """All dashboards, and what was asked of them."""

    def __init__(self) -> None:
        self._dashboards: dict[str, Dashboard] = {}
        self._counts: Counter[str] = Counter()
        self._puts: list[tuple[str, float]] = []
        self._prometheus = PlayedPrometheus(Scope(window_s=Settings().prometheus_window_s))
        self._chance = random.Random(1)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_get(COUNTS_PATH, self._tell_counts)
        app.router.add_get(PUTS_PATH, self._tell_puts)
        app.router.add_get(APPLICATIONS_PATH, self._get)
        app.router.add_put(APPLICATIONS_PATH, self._put)
        app.router.add_get("/api/v0/nodes", self._nodes)
        app.router.add_post(QUERY_PATH, self._query)
        app.router.add_get(f"/{{prefix:.*}}{routes.PROBE.lstrip('/')}", self._probe)
        return app

    def _dashboard(self, request: web.Request, what: str) -> Dashboard:
        self._counts[what] += 1
        return self._dashboards.setdefault(_cluster(request), Dashboard())

    async def _get(self, request: web.Request) -> web.Response:
        answer = self._dashboard(request, "applications read").answer
        return web.Response(body=answer, content_type="application/json")

    async def _put(self, request: web.Request) -> web.Response:
        config = await request.json()
        self._dashboard(request, "applications written").put(config)
        self._puts.append((_cluster(request), time.monotonic()))
        return web.json_response({})

    async def _nodes(self, request: web.Request) -> web.Response:
        self._dashboard(request, "nodes read")
        return web.json_response({"data": {"result": {"result": []}}})

    async def _query(self, request: web.Request) -> web.Response:
        deployed = {
            name: {one: len(item["replicas"]) for one, item in shown["deployments"].items()}
            for dashboard in self._dashboards.values()
            for name, shown in dashboard.applications.items()
        }
        query = str((await request.post())["query"])
        status, body = self._prometheus.answer(query, deployed, self._value, now=time.time())
        return web.Response(status=status, body=body, content_type="application/json")

    def _value(self, application: str, metric: str) -> float:
        del application
        return LIGHT_LOAD.get(metric, 0.0) * self._chance.uniform(1 - CHANCE, 1 + CHANCE)

    async def _probe(self, request: web.Request) -> web.Response:
        return web.json_response(self._dashboard(request, "probes").probe())

    async def _tell_counts(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._counts)

    async def _tell_puts(self, request: web.Request) -> web.Response:
        """Service and time (`time.monotonic`, which is one clock for the machine) of each PUT."""
        del request
        return web.json_response(self._puts)


def _cluster(request: web.Request) -> str:
    """`name.namespace.svc`, for the head's name and for the front's."""
    return request.host.partition(":")[0].replace("-ray-head-svc.", ".")


async def _serve(address: str) -> None:
    runner = web.AppRunner(Server().application(), access_log=None, keepalive_timeout=75.0)
    await runner.setup()
    for port in (names.DASHBOARD_PORT, FRONT_PORT):
        await web.TCPSite(runner, address, port, backlog=2048).start()


if __name__ == "__main__":
    import asyncio

    loop = asyncio.new_event_loop()
    loop.run_until_complete(_serve(sys.argv[1]))
    loop.run_forever()
