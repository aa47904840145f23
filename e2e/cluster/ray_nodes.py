"""A real Ray cluster of several nodes on one machine, as a context manager that waits: for tests, demo, benchmarks.

Needs no Ray in the calling process: it starts the `ray` command of an environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from e2e.cluster.errors import StartFailed
from internvl_operator.standalone.local_ray import OBJECT_STORE_BYTES, LocalRay, RayNode

APPLICATIONS = Path(__file__).with_name("applications")
"""Serve applications that do nothing, for what is about Serve and not about us; put it into `packages`."""
HEAD = "head"
DEFAULT_NODES = (RayNode(HEAD, "gateway"), RayNode("vision", "vision"), RayNode("language", "language"))

_NODE_ID = "ray.io/node-id"
_ROOT = Path(__file__).parents[2]
_POLL_S = 0.05


@dataclass(slots=True)
class RayNodes:
    """A running Ray cluster, as a context manager.

    Args:
        nodes: the first one is the head and must be called `head`.
        python: interpreter of the environment whose `ray` is started.
        packages: folders put on PYTHONPATH of every Ray process; the checkout's three when not given.
        environment: more variables for every Ray process.
    """

    nodes: Sequence[RayNode] = DEFAULT_NODES
    python: Path = Path(sys.executable)
    packages: Sequence[Path] = (_ROOT / "operator", _ROOT / "runtimes", _ROOT / "engines")
    environment: Mapping[str, str] = field(default_factory=dict)
    object_store_bytes: int = OBJECT_STORE_BYTES
    start_timeout_s: float = 300.0

    _ray: LocalRay = field(init=False)

    def __enter__(self) -> Self:
        self._ray = LocalRay(
            self.nodes,
            python=self.python,
            environment={
                "PYTHONPATH": os.pathsep.join(str(path) for path in self.packages),
                # Other things on a developer's machine are not for Ray to make room for by killing replicas.
                "RAY_memory_monitor_refresh_ms": "0",
                "RAY_DISABLE_IMPORT_WARNING": "1",
                **self.environment,
            },
            object_store_bytes=self.object_store_bytes,
        )
        try:
            self._start_head()
            for node in self.nodes[1:]:
                self._ray.start(node.name)
            self.wait_for_nodes(len(self.nodes))
        except BaseException:
            self._ray.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.close()

    @property
    def folder(self) -> Path:
        """Ray's folder: a node's logs lie below `<its number>/session_latest/logs`."""
        return self._ray.folder

    @property
    def serve_port(self) -> int:
        """Free port for Serve's HTTP proxy: put it into `http_options` of the first Serve config."""
        return self._ray.http_port

    @property
    def dashboard_url(self) -> str:
        """Address of the REST API: what a service names as its Ray."""
        return self._ray.address

    @property
    def gcs_address(self) -> str:
        """Address for `ray.init(address=...)`."""
        return self._ray.gcs_address

    @property
    def serve_url(self) -> str:
        """Address of the HTTP proxies, once Serve runs with `serve_port`."""
        return f"http://127.0.0.1:{self.serve_port}"

    def metrics_url(self, name: str) -> str:
        """Address of a node's metrics exporter."""
        return self._ray.metrics_url(name)

    def process_environment(self, name: str = HEAD) -> dict[str, str]:
        """Environment of that node's processes; also right for a driver that joins the cluster."""
        return self._ray.environment(name)

    def kill(self, name: str) -> None:
        """Cut a node's power: SIGKILL to every process of it, workers included, and wait until they are gone."""
        _wait(lambda: self._ray.kill(name), timeout_s=60, what=f"the processes of Ray node {name} to be gone")

    def restart(self, name: str) -> None:
        """Start a killed node again, on the same ports, and wait until Ray counts it."""
        # Ray may still count the killed one: what must appear is a node that was not there.
        before = {seen[_NODE_ID] for seen in self.alive_nodes()}
        if name == HEAD:
            self._start_head()
        else:
            self._ray.start(name)
        self._wait_for(
            lambda: any(seen[_NODE_ID] not in before for seen in self.alive_nodes()),
            f"Ray node {name} to be back",
        )

    def wait_for_nodes(self, count: int) -> None:
        """Wait until that many nodes are alive."""
        self._wait_for(lambda: len(self.alive_nodes()) >= count, f"{count} Ray nodes")

    def alive_nodes(self) -> list[dict[str, str]]:
        """Labels of the nodes that Ray counts as alive. A killed one is counted for some seconds more."""
        found = self.get_json(
            "/api/v0/nodes?detail=true&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
        )
        result = found["data"]["result"]["result"] if found else []
        return [dict(node.get("labels") or {}) for node in result]

    def get_json(self, path: str, *, timeout_s: float = 20.0) -> Any:
        """GET a path of the dashboard; None when it does not answer (yet)."""
        try:
            with urllib.request.urlopen(self.dashboard_url + path, timeout=timeout_s) as reply:
                return json.load(reply)
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def put_serve_config(self, config: Mapping[str, Any], *, timeout_s: float = 180.0) -> None:
        """PUT a whole Serve config, `http_options` for this cluster added. Raises on any answer but 200."""
        body = {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": self.serve_port}}
        request = urllib.request.Request(
            self.dashboard_url + "/api/serve/applications/",
            data=json.dumps({**body, **config}).encode(),
            method="PUT",
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            reply.read()

    def applications(self) -> dict[str, Any]:
        """Serve's applications by name, as its REST API shows them."""
        details = self.get_json("/api/serve/applications/") or {}
        return dict(details.get("applications", {}))

    def _start_head(self) -> None:
        assert self.nodes[0].name == HEAD
        self._ray.start(HEAD)
        self._wait_for(self._ray.head_answers, "Ray's head to answer")

    def _wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Wait; a node whose start failed is started again, a few times."""

        def done_or_start_again() -> bool:
            if given_up := self._ray.start_again_what_failed():
                raise StartFailed(
                    f"Ray node {given_up[0]} does not start\n{self._ray.end_of_log(given_up[0])}"
                )
            return done()

        def logs() -> str:
            return "\n".join(f"--- {node.name}\n{self._ray.end_of_log(node.name)}" for node in self.nodes)

        _wait(done_or_start_again, timeout_s=self.start_timeout_s, what=what, logs=logs)


def _wait(
    done: Callable[[], bool], *, timeout_s: float, what: str, logs: Callable[[], str] = lambda: ""
) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise StartFailed(f"waited {timeout_s:.0f} s for {what}\n{logs()}")
        time.sleep(_POLL_S)
