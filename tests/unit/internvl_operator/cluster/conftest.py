"""A Serve in memory with the semantics that were seen on Ray 2.60, and a clock that only moves when slept on."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from internvl_operator.cluster.ray import RayFault, ServeState, parse_serve_state


class FakeServe:
    """PUT replaces the whole declarative set; a GET answers through real JSON."""

    address = "http://ray:8265"

    def __init__(self) -> None:
        self.applications: dict[str, dict[str, Any]] = {}
        self.bodies: list[dict[str, Any]] = []
        self.fetches = 0
        self.pools: frozenset[str] = frozenset()
        self.pool_fetches = 0
        self.started = True
        self.options: dict[str, Any] = {"proxy_location": "EveryNode", "http_options": {"host": "0.0.0.0"}}
        self.fault: RayFault | None = None
        self.put_fault: Callable[[dict[str, Any]], RayFault | None] = lambda body: None
        self.before_put: Callable[[], None] = lambda: None
        self.after_put: Callable[[], None] = lambda: None

    def deploy(self, name: str, *, status: str = "RUNNING", deployments: bool = True, **config: Any) -> None:
        self.applications[name] = {
            "name": name,
            "status": status,
            "message": "",
            "source": "declarative",
            "deployed_app_config": {"name": name, **config},
            "deployments": {"D": {"name": "D", "status": "HEALTHY", "target_num_replicas": 1}}
            if deployments
            else {},
        }

    async def fetch(self) -> ServeState:
        await asyncio.sleep(0)
        self.fetches += 1
        if self.fault is not None:
            raise self.fault
        answer = {
            "controller_info": {"node_id": "n"} if self.started else {},
            "proxies": {"n": {"status": "HEALTHY"}} if self.started else {},
            "applications": self.applications,
            "target_capacity": None,
            **(self.options if self.started else {}),
        }
        return parse_serve_state(json.loads(json.dumps(answer)))

    async def put(self, body: bytes) -> None:
        await asyncio.sleep(0)
        self.before_put()
        config = json.loads(body)
        fault = self.put_fault(config)
        if fault is not None:
            raise fault
        self.bodies.append(config)
        self.started = True
        wanted = {app["name"]: app for app in config["applications"]}
        for name in list(self.applications):
            if self.applications[name]["source"] == "declarative" and name not in wanted:
                del self.applications[name]
        for name, app in wanted.items():
            before = self.applications.get(name, {}).get("deployed_app_config")
            if before != app:
                self.deploy(name)
                self.applications[name]["deployed_app_config"] = app
        self.after_put()

    async def fetch_pools(self, label: str) -> frozenset[str]:
        self.pool_fetches += 1
        if self.fault is not None:
            raise self.fault
        return self.pools


class Clock:
    """Time that passes only in `sleep`, and then at once."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


@pytest.fixture
def serve() -> FakeServe:
    return FakeServe()


@pytest.fixture
def clock() -> Clock:
    return Clock()
