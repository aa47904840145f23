"""A Ray of our own for `internvl up`: started from this environment, on loopback, gone when we are.

A Ray node has one value a label, so there is one raylet for each pool that the file names; the first pool is
the head's. Every process carries a mark in its environment: by it a killed run's remains are found and ended.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from internvl_operator.api.labels import POOL
from internvl_operator.errors import Rejected
from internvl_operator.standalone.ports import FreePorts

MARK = "INTERNVL_UP"
FOLDER_PREFIX = "ivup-"
OBJECT_STORE_BYTES = 200 * 1024 * 1024
STOP_S = 3.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One raylet to start."""

    pool: str | None
    cpus: int


class LocalRay:
    """Starts, knows and stops the processes."""

    def __init__(self, nodes: Sequence[LocalNode]) -> None:
        self._nodes = nodes
        self._mark = uuid.uuid4().hex
        self._processes: list[asyncio.subprocess.Process] = []
        # Short: Ray puts Unix sockets below it, whose paths may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self._ports = FreePorts()
        self._gcs_port, self._dashboard_port, self.http_port = (self._ports.take() for _ in range(3))

    @property
    def address(self) -> str:
        """The dashboard."""
        return f"http://127.0.0.1:{self._dashboard_port}"

    @property
    def log_folder(self) -> Path:
        """Where Ray writes its logs."""
        return self.folder / "session_latest" / "logs"

    async def start(self, *, within_s: float) -> None:
        """Start all raylets. They are not ready yet.

        Raises:
            Rejected: this environment has no Ray, or its head let no worker join in time.
        """
        ray = Path(sys.executable).with_name("ray")
        if not ray.exists():
            raise Rejected(
                "this environment has no Ray; run `pip install 'internvl-operator[operator,runtime]'`, "
                "or name a running one with --ray http://host:8265"
            )
        owner = {"pid": os.getpid(), "started": process_start(os.getpid()), "mark": self._mark}
        (self.folder / "owner.json").write_text(json.dumps(owner))
        (self.folder / "home").mkdir()
        for index, node in enumerate(self._nodes):
            place = self._head_arguments() if index == 0 else [f"--address=127.0.0.1:{self._gcs_port}"]
            if index == 1:
                try:
                    await asyncio.wait_for(self._head_answers(), within_s)
                except TimeoutError:
                    where = self.folder / "node-0.log"
                    raise Rejected(
                        f"Ray's head does not answer after {within_s:.0f} s; see {where}"
                    ) from None
            log = (self.folder / f"node-{index}.log").open("wb")
            with log:
                self._processes.append(
                    await asyncio.create_subprocess_exec(
                        ray,
                        *("start", "--block", "--node-ip-address=127.0.0.1", *place),
                        *_node_arguments(node, self._ports),
                        env=self._environment(os.environ),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,  # Ctrl-C is ours to handle
                        preexec_fn=_die_with_parent,
                    )
                )

    def dead(self) -> str | None:
        """The end of the log of a raylet that has ended, or None while all run."""
        for index, process in enumerate(self._processes):
            if process.returncode is not None:
                log = (self.folder / f"node-{index}.log").read_text(errors="replace")
                return " ".join(log.split())[-600:]
        return None

    async def stop(self) -> None:
        """End all processes and remove the folder."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in self._processes]
        if waits:
            await asyncio.wait(waits, timeout=STOP_S)
        await end_marked(self._mark)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _head_answers(self) -> None:
        """Wait until workers can join; a head that ends instead is noticed by `dead`."""
        while self.dead() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._gcs_port)
                writer.close()
                return
            await asyncio.sleep(0.1)

    def _head_arguments(self) -> list[str]:
        return [
            "--head",
            f"--port={self._gcs_port}",
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard_port}",
            f"--ray-client-server-port={self._ports.take()}",
            f"--temp-dir={self.folder}",
        ]

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in env.items() if not key.startswith("RAY_")}
        bin_folder = str(Path(sys.executable).parent)
        return kept | {
            "HOME": str(self.folder / "home"),
            "PATH": f"{bin_folder}{os.pathsep}{env.get('PATH', '')}",
            # Unset, Ray 2.60 turns authentication on by itself when a token lies about.
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_metrics_report_interval_ms": "1000",
            # The dashboard imports nine modules in as many processes; on a busy machine Ray's 30 s are too short.
            "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "120",
            MARK: self._mark,
        }


def _node_arguments(node: LocalNode, ports: FreePorts) -> list[str]:
    return [
        f"--num-cpus={node.cpus}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        *([f"--labels={POOL}={node.pool}"] if node.pool else []),
        f"--metrics-export-port={ports.take_for_metrics()}",
        f"--dashboard-agent-listen-port={ports.take()}",
        f"--dashboard-agent-grpc-port={ports.take()}",
        f"--runtime-env-agent-port={ports.take()}",
        f"--node-manager-port={ports.take()}",
        f"--object-manager-port={ports.take()}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--log-color=false",
        "--disable-usage-stats",
    ]


async def end_remains() -> int:
    """End what earlier runs left behind that were killed; returns how many runs."""
    remains = _remains()
    for folder, mark in remains:
        await end_marked(mark)
        shutil.rmtree(folder, ignore_errors=True)
    return len(remains)


def _remains() -> list[tuple[Path, str]]:  # folder and mark of runs of this user whose process is gone
    found = []
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        try:
            owner = json.loads((folder / "owner.json").read_text())
            pid, started, mark = int(owner["pid"]), owner["started"], str(owner["mark"])
            mine = folder.stat().st_uid == os.getuid()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if mine and mark and process_start(pid) != started:
            found.append((folder, mark))
    return found


async def end_marked(mark: str) -> None:
    """Kill every process that carries the mark, and wait until they are gone.

    A process that replaces its program cannot be read for a moment: nobody is left when nobody was seen twice.
    """
    empty_looks = 0
    while empty_looks < 2:
        pids = _marked(mark)
        empty_looks = 0 if pids else empty_looks + 1
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.05)


def process_start(pid: int) -> str | None:
    """Start time of a process as the kernel counts it, or None when there is none: tells a reused pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _marked(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _die_with_parent() -> None:
    """In the child: end when our process ends, also when it was killed. Linux only, elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
