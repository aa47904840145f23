"""A real Ray cluster of several nodes on one machine: a head and labelled workers, all on loopback.

Used by the tests in tests/local, the demo and the benchmarks. Needs no Ray in the calling process: it starts
the `ray` command of an environment. Whatever happens to the caller, `processes.ProcessKeeper` takes it all down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from e2e.cluster.errors import StartFailed
from e2e.cluster.processes import ProcessKeeper
from internvl_operator.standalone.ports import FreePorts

APPLICATIONS = Path(__file__).with_name("applications")
"""Serve applications that do nothing, for what is about Serve and not about us; put it into `packages`."""
POOL_LABEL = "serving.internvl.io/pool"
HEAD = "head"
_NODE_ID = "ray.io/node-id"

_ROOT = Path(__file__).parents[2]
_MARK = "INTERNVL_RAY_NODE"
_POLL_S = 0.05
_STARTS = 4


@dataclass(frozen=True, slots=True)
class RayNode:
    """One Ray node."""

    name: str
    pool: str | None
    """Value of its pool label; None for none."""
    cpus: int = 4
    """CPUs that it offers. Only a promise: the machine's own count does not matter."""


DEFAULT_NODES = (RayNode(HEAD, "gateway"), RayNode("vision", "vision"), RayNode("language", "language"))


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
    object_store_bytes: int = 200 * 1024 * 1024
    start_timeout_s: float = 180.0

    folder: Path = field(init=False)
    serve_port: int = field(init=False)
    """Free port for Serve's HTTP proxy: put it into `http_options` of the first Serve config."""
    _keeper: ProcessKeeper = field(init=False)
    _mark: str = field(init=False)
    _ports: FreePorts = field(init=False)
    _gcs_port: int = field(init=False)
    _dashboard_port: int = field(init=False)
    _metrics_ports: dict[str, int] = field(init=False)
    _started: dict[str, tuple[str, ...]] = field(init=False, default_factory=dict)
    """Nodes that should run, with the arguments of their role."""

    def __enter__(self) -> Self:
        # Short, because Ray puts UNIX sockets below it and their paths are limited to 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="ivr-"))
        self._keeper = ProcessKeeper(self.folder)
        self._mark = uuid.uuid4().hex
        self._ports = FreePorts()
        self._gcs_port, self._dashboard_port, self.serve_port = (self._ports.take() for _ in range(3))
        self._metrics_ports = {node.name: self._ports.take_for_metrics() for node in self.nodes}
        (self.folder / "home").mkdir()
        try:
            self._start_head()
            for node in self.nodes[1:]:
                self._spawn(node)
            self.wait_for_nodes(len(self.nodes))
        except BaseException:
            self._keeper.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.close()

    @property
    def dashboard_url(self) -> str:
        """Address of the REST API: what a service names as its Ray."""
        return f"http://127.0.0.1:{self._dashboard_port}"

    @property
    def gcs_address(self) -> str:
        """Address for `ray.init(address=...)`."""
        return f"127.0.0.1:{self._gcs_port}"

    @property
    def serve_url(self) -> str:
        """Address of the HTTP proxies, once Serve runs with `serve_port`."""
        return f"http://127.0.0.1:{self.serve_port}"

    def metrics_url(self, name: str) -> str:
        """Address of a node's metrics exporter."""
        return f"http://127.0.0.1:{self._metrics_ports[name]}/metrics"

    def process_environment(self, name: str = HEAD) -> dict[str, str]:
        """Environment of that node's processes; also right for a driver that joins the cluster."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTEST_", "COV_"))}
        return keep | {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.python.parent}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": ":".join(str(path) for path in self.packages),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_metrics_report_interval_ms": "1000",
            # Other things on a developer's machine are not for Ray to make room for by killing replicas.
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_DISABLE_IMPORT_WARNING": "1",
            # The dashboard imports nine modules in as many processes; on a busy machine 30 s are too short.
            "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "120",
            _MARK: f"{self._mark}-{name}",
            **self.environment,
        }

    def kill(self, name: str) -> None:
        """Cut a node's power: SIGKILL to every process of it, workers included, and wait until they are gone."""
        self._started.pop(name, None)
        mark = f"{_MARK}={self._mark}-{name}".encode()

        def all_gone() -> bool:
            for pid in _processes_with(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not _processes_with(mark)

        _wait(all_gone, timeout_s=15, what=f"the processes of Ray node {name} to be gone")

    def restart(self, name: str) -> None:
        """Start a killed node again, on the same ports, and wait until Ray counts it."""
        node = self._node(name)
        # Ray may still count the killed one: what must appear is a node that was not there.
        before = {seen[_NODE_ID] for seen in self.alive_nodes()}
        if name == HEAD:
            self._start_head()
        else:
            self._spawn(node)
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

    def get_json(self, path: str, *, timeout_s: float = 5.0) -> Any:
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

    def _node(self, name: str) -> RayNode:
        return next(node for node in self.nodes if node.name == name)

    def _start_head(self) -> None:
        head = self.nodes[0]
        assert head.name == HEAD
        self._spawn(
            head,
            "--head",
            f"--port={self._gcs_port}",
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard_port}",
            # Its default, 10001, is one for the whole machine.
            f"--ray-client-server-port={self._ports.take()}",
        )
        # The workers can join as soon as this port answers, seconds before the dashboard does.
        self._wait_for(lambda: _answers(self._gcs_port), "Ray's head to answer")

    def _spawn(self, node: RayNode, *arguments: str) -> None:
        self._started[node.name] = arguments
        role = list(arguments) or [f"--address={self.gcs_address}"]
        if node.name == HEAD:
            role.append(f"--temp-dir={self.folder}")
        self._keeper.start(
            node.name,
            [
                self.python.parent / "ray",
                "start",
                "--block",
                *role,
                "--node-ip-address=127.0.0.1",
                f"--num-cpus={node.cpus}",
                f"--object-store-memory={self.object_store_bytes}",
                *([f"--labels={POOL_LABEL}={node.pool}"] if node.pool else []),
                f"--metrics-export-port={self._metrics_ports[node.name]}",
                f"--dashboard-agent-listen-port={self._ports.take()}",
                f"--dashboard-agent-grpc-port={self._ports.take()}",
                f"--runtime-env-agent-port={self._ports.take()}",
                f"--node-manager-port={self._ports.take()}",
                f"--object-manager-port={self._ports.take()}",
                # Any free port: several clusters then live beside each other.
                "--min-worker-port=0",
                "--max-worker-port=0",
                "--log-color=false",
                "--disable-usage-stats",
            ],
            log=self.folder / f"{node.name}.log",
            environment=self.process_environment(node.name),
        )

    def _wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Wait; a node whose start failed is started again, a few times.

        Ray 2.60 gives a node's agent 15 s to import and report its ports, fixed in the raylet; on a busy machine
        that is too short, and the raylet ends by a failed check.
        """
        starts: Counter[str] = Counter()

        def done_or_start_again() -> bool:
            for name, arguments in list(self._started.items()):
                if starts[name] < _STARTS and self._keeper.exit_status(name) is not None:
                    starts[name] += 1
                    self.kill(name)
                    self._spawn(self._node(name), *arguments)
            return done()

        logs = [self.folder / f"{node.name}.log" for node in self.nodes]
        _wait(done_or_start_again, timeout_s=self.start_timeout_s, what=what, logs=logs)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _processes_with(mark: bytes) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _wait(done: Callable[[], bool], *, timeout_s: float, what: str, logs: Sequence[Path] = ()) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {path.name}\n{_tail(path)}" for path in logs)
            raise StartFailed(f"waited {timeout_s:.0f} s for {what}\n{tails}")
        time.sleep(_POLL_S)


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"
