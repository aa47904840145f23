"""What nodes need of the host's kernel: a bridge, cables, routes, cgroups. `guardian` undoes all of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from e2e.cluster.commands import SERVICE_ADDRESSES
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes import guardian
from e2e.cluster.nodes.configuration import CGROUP
from e2e.cluster.nodes.plan import BRIDGE, BRIDGE_ADDRESS, NodePlan

_STATE = Path("/run/internvl-nodes")
_RECORD = _STATE / "record.json"
_VETH_PREFIX = "internvl-n"
_WAIT_FOR_EARLIER_S = 90.0
_POLL_S = 0.05
# A kubelet sets these, and they are the host's: no namespace has its own.
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


class Host:
    """The one cluster with nodes that this host has room for: its addresses and names are fixed."""

    def __init__(self) -> None:
        self._lock: IO[str] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self.record: guardian.Record | None = None

    def claim(self, directory: Path) -> None:
        """Take the host for a cluster in this directory; from now on everything is undone at our end.

        Raises:
            ClusterFailed: It cannot have nodes, or another cluster has it.
        """
        require_capable_host()
        self.undo_leftovers()
        self._lock = self._take_lock()
        settings = {name: Path("/proc/sys", name).read_text() for name in _SETTINGS}
        self.record = guardian.Record(
            owner=os.getpid(),
            directory=str(directory),
            bridge=BRIDGE,
            veth_prefix=_VETH_PREFIX,
            cgroup=CGROUP,
            settings=settings,
        )
        self.record.write(_RECORD)
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, str(_RECORD), str(os.getpid())],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[self._lock.fileno()],  # the host is free when the guardian is done, not before
        )

    def undo_leftovers(self) -> None:
        """Undo what a killed cluster with a killed guardian left; waits for a guardian that still works.

        Raises:
            ClusterFailed: A cluster runs, or something could not be undone.
        """
        with self._take_lock():
            if _RECORD.exists():
                remaining = guardian.undo(guardian.Record.read(_RECORD))
                if remaining:
                    raise ClusterFailed(
                        "an earlier cluster left what cannot be undone: " + "; ".join(remaining)
                    )
                _RECORD.unlink()

    def release(self) -> None:
        """Undo everything and wait until that is done. May be called twice.

        Raises:
            ClusterFailed: Something could not be undone.
        """
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            status = self._guardian.wait()
            self._guardian = None
            if status != 0:
                raise ClusterFailed(f"not everything of the nodes is gone; {_RECORD} says what they changed")
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def make_bridge(self, nodes: Sequence[NodePlan]) -> None:
        """The network that all nodes are plugged into, and the host's ways to their pods and services."""
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("address", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for node in nodes:
            _ip("route", "add", node.pod_addresses, "via", node.address, "dev", BRIDGE)
        _ip("route", "add", SERVICE_ADDRESSES, "via", nodes[0].address, "dev", BRIDGE)

    def plug_in(self, node: NodePlan, pid: int) -> None:
        """Lay the cable from the bridge into the network namespace of a process."""
        _ip("link", "add", node.veth, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("link", "set", node.veth, "master", BRIDGE, "up")

    def unplug(self, node: NodePlan) -> None:
        """Take the cable away; nothing happens when it went with its node."""
        subprocess.run(["ip", "link", "delete", node.veth], capture_output=True, check=False)

    def set_cable(self, node: NodePlan, *, is_up: bool) -> None:
        """Cut a node off the network, or join it again; its processes go on."""
        _ip("link", "set", node.veth, "up" if is_up else "down")

    def make_cgroups(self, node: NodePlan) -> list[Path]:
        """A node's folder below every controller; returns them."""
        folders = []
        for controller in cgroup_controllers():
            root = controller / CGROUP
            for folder in (root, root / node.name):
                folder.mkdir(exist_ok=True)
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if (folder / name).exists():
                        (folder / name).write_text((folder.parent / name).read_text())
            folders.append(root / node.name)
        return folders

    def _take_lock(self) -> IO[str]:
        _STATE.mkdir(exist_ok=True)
        handle = (_STATE / "lock").open("w")
        deadline = time.monotonic() + _WAIT_FOR_EARLIER_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                record = running_record()
                if record is not None or time.monotonic() > deadline:
                    handle.close()
                    owner = f"of process {record.owner}" if record else "whose end takes too long"
                    raise ClusterFailed(
                        f"this host has a cluster with nodes already, {owner}; "
                        "end it (make cluster-down) or use it (make cluster-status)"
                    ) from None
                time.sleep(_POLL_S)  # the guardian of an earlier one is still undoing
            else:
                return handle


def require_capable_host() -> None:
    """Raise ClusterFailed where nodes cannot run, with the reason."""
    if os.geteuid() != 0:
        raise ClusterFailed("nodes need root: namespaces, mounts, cgroups, a bridge")
    if not (guardian.CGROUPS / "memory").is_dir():
        raise ClusterFailed(
            "nodes need cgroup v1 below /sys/fs/cgroup (boot with systemd.unified_cgroup_hierarchy=0), "
            "or name an existing cluster: make e2e KUBECONFIG=file"
        )


def cgroup_controllers() -> list[Path]:
    """The v1 controllers, each once; v2's own folder is not one."""
    folders = [path for path in guardian.CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in folders if path.name != "unified")


def running_record() -> guardian.Record | None:
    """What the cluster that runs on this host has changed; None when none runs."""
    try:
        record = guardian.Record.read(_RECORD)
    except (OSError, ValueError, TypeError):
        return None
    return record if Path(f"/proc/{record.owner}").is_dir() else None


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterFailed(f"ip {' '.join(words)}: {done.stderr.strip()}")
