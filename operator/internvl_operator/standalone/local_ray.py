"""A real Ray of several nodes on this machine, on loopback, gone when we are: for `internvl up`, tests and demo.

A Ray node has one value a label, so there is one raylet for each pool; the first node is the head. Nothing here
waits: the caller polls.
"""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from internvl_operator.api.labels import POOL
from internvl_operator.errors import Rejected
from internvl_operator.standalone.ports import FreePorts
from internvl_operator.standalone.processes import ProcessKeeper

OBJECT_STORE_BYTES = 200 * 1024 * 1024
_MARK = "INTERNVL_RAY_NODE"
_STARTS = 4


@dataclass(frozen=True, slots=True)
class RayNode:
    """One Ray node."""

    name: str
    pool: str | None
    """Value of its pool label; None for none."""
    cpus: int = 4
    """CPUs that it offers. Only a promise: the machine's own count does not matter."""
    gpus: int | None = None
    """GPUs that it offers, promised like them; None: those that Ray finds."""


class LocalRay:
    """Starts, knows and ends the nodes. Whatever happens to our process, none of theirs outlives it."""

    def __init__(
        self,
        nodes: Sequence[RayNode],
        *,
        python: Path = Path(sys.executable),
        environment: Mapping[str, str] | None = None,
        object_store_bytes: int = OBJECT_STORE_BYTES,
    ) -> None:
        """Choose ports and a folder; `start` the first node, then the others when `head_answers`.

        Args:
            nodes: the first one is the head.
            python: interpreter of the environment whose `ray` is started.
            environment: variables of every Ray process beside ours; it gets none of our `RAY_*`.
            object_store_bytes: memory of each node's object store.

        Raises:
            Rejected: the environment has no Ray, or this is not Linux.
        """
        self._ray = python.with_name("ray")
        if sys.platform != "linux":
            raise Rejected(
                "a Ray of our own runs on Linux only; name a running one with --ray http://host:8265"
            )
        if not self._ray.exists():
            raise Rejected(
                "this environment has no Ray; run `pip install 'internvl-operator[operator,runtime]'`, "
                "or name a running one with --ray http://host:8265"
            )
        self.nodes = {node.name: node for node in nodes}
        self._head = nodes[0].name
        self._extra = dict(environment or {})
        self._object_store_bytes = object_store_bytes
        self._mark = uuid.uuid4().hex
        self._starts: Counter[str] = Counter()
        self._ports = FreePorts()
        self._gcs_port, self._dashboard_port, self.http_port = (self._ports.take() for _ in range(3))
        self._metrics_ports = {name: self._ports.take_for_metrics() for name in self.nodes}
        self.folder = Path(tempfile.mkdtemp(prefix="ivr-"))
        (self.folder / "home").mkdir()
        self._keeper = ProcessKeeper(self.folder)

    @property
    def address(self) -> str:
        """The dashboard: what a service names as its Ray."""
        return f"http://127.0.0.1:{self._dashboard_port}"

    @property
    def gcs_address(self) -> str:
        """What a worker node or `ray.init(address=...)` joins."""
        return f"127.0.0.1:{self._gcs_port}"

    def metrics_url(self, name: str) -> str:
        """Address of a node's metrics exporter."""
        return f"http://127.0.0.1:{self._metrics_ports[name]}/metrics"

    def start(self, name: str) -> None:
        """Start a node. It is not ready yet."""
        self._starts[name] = 1
        self._spawn(name)

    def head_answers(self) -> bool:
        """Whether other nodes can join: seconds before the dashboard answers."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._gcs_port), timeout=1):
            return True
        return False

    def start_again_what_failed(self) -> list[str]:
        """Start nodes again whose start failed; returns those that failed too often. To be called while waiting.

        Ray 2.60 gives a node's agent 15 s to import and report its ports, fixed in the raylet; on a very busy
        machine that is too short, and the raylet ends by a failed check.
        """
        given_up = []
        for name in self.ended():
            if self._starts[name] >= _STARTS:
                given_up.append(name)
            elif self._kill_processes(name):
                self._starts[name] += 1
                self._spawn(name)
        return given_up

    def ended(self) -> list[str]:
        """Nodes that were started and have ended by themselves."""
        return [name for name in self._starts if self._keeper.exit_status(name) is not None]

    def end_of_log(self, name: str, *, lines: int = 15) -> str:
        """The last lines that a node's start wrote."""
        try:
            return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def kill(self, name: str) -> bool:
        """Cut a node's power: SIGKILL to every process of it, workers included; whether all are gone."""
        self._starts.pop(name, None)
        return self._kill_processes(name)

    def close(self) -> None:
        """End all nodes and remove the folder. May be called twice. Blocks for some tenths of a second."""
        self._keeper.close()

    def environment(self, name: str) -> dict[str, str]:
        """Environment of that node's processes; also right for a driver that joins the cluster."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return (
            kept
            | {
                "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.folder),  # the dashboard leaves sockets there
                "PATH": f"{self._ray.parent}{os.pathsep}{kept.get('PATH', '')}",
                # Unset, Ray 2.60 turns authentication on by itself when a token lies about.
                "RAY_AUTH_MODE": "disabled",
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_metrics_report_interval_ms": "1000",
                # The dashboard imports nine modules in as many processes; on a busy machine 30 s are too short.
                "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "120",
                _MARK: self._mark_of(name),
            }
            | self._extra
        )

    def _spawn(self, name: str) -> None:
        node = self.nodes[name]
        command = [
            *(str(self._ray), "start", "--block", "--node-ip-address=127.0.0.1"),
            *(self._head_arguments() if name == self._head else [f"--address={self.gcs_address}"]),
            f"--num-cpus={node.cpus}",
            *([] if node.gpus is None else [f"--num-gpus={node.gpus}"]),
            f"--object-store-memory={self._object_store_bytes}",
            *([f"--labels={POOL}={node.pool}"] if node.pool else []),
            # One each: in a common one, nodes that start at once choose the same socket, and the later raylet dies.
            f"--temp-dir={self._folder_of(name)}",
            f"--metrics-export-port={self._metrics_ports[name]}",
            f"--dashboard-agent-listen-port={self._ports.take()}",
            f"--dashboard-agent-grpc-port={self._ports.take()}",
            f"--runtime-env-agent-port={self._ports.take()}",
            f"--node-manager-port={self._ports.take()}",
            f"--object-manager-port={self._ports.take()}",
            # Any free port: several clusters then live beside each other.
            *("--min-worker-port=0", "--max-worker-port=0"),
            *("--log-color=false", "--disable-usage-stats"),
        ]
        self._keeper.start(name, command, log=self._log(name), environment=self.environment(name))

    def _head_arguments(self) -> list[str]:
        return [
            "--head",
            f"--port={self._gcs_port}",
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard_port}",
            # Its default, 10001, is one for the whole machine.
            f"--ray-client-server-port={self._ports.take()}",
        ]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _folder_of(self, name: str) -> Path:
        # Short: Ray puts Unix sockets below it, whose paths may have 107 bytes.
        return self.folder / str(list(self.nodes).index(name))

    def _mark_of(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def _kill_processes(self, name: str) -> bool:
        # By their environment, not by descent: the workers of a raylet that ended are nobody's children.
        mark = f"{_MARK}={self._mark_of(name)}".encode()
        for pid in _processes_with(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not _processes_with(mark)


def _processes_with(mark: bytes) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
