"""The first process of a node: makes the inside of its namespaces and keeps its daemons running.

Runs alone (`python -I -S init.py FILE`, standard library only) in fresh namespaces that `unshare` made. When it
ends, however it ends, the kernel ends every other process of the node: that is the power cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_POLL_S = 0.02
_WITHIN_S = 30.0
_RESTART_AFTER_S = 1.0


def main(configuration: Path) -> None:
    """Become a node; never returns."""
    node: dict[str, Any] = json.loads(configuration.read_text())
    for cgroup in node["cgroups"]:
        Path(cgroup, "cgroup.procs").write_text("0")
    # This /proc is still the host's: it knows us by the number that the host calls us.
    Path(node["host_pid"]).write_text(str(Path("/proc/self").readlink()))
    _mount_everything(node["mounts"], node["files"])
    socket.sethostname(node["name"])
    _join_network(node["address"], node["gateway"], node["routes"])
    _keep_running(node["daemons"])


def _mount_everything(mounts: dict[str, str], files: dict[str, str]) -> None:
    _run("mount", "--make-rshared", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    for point in ("/run", "/var/lib", "/var/log"):
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", point)
    for point, source in mounts.items():
        Path(point).mkdir(parents=True, exist_ok=True)
        _run("mount", *(("-o", "loop") if Path(source).is_file() else ("--bind",)), source, point)
    for point, source in files.items():
        _run("mount", "--bind", source, point)


def _join_network(address: str, gateway: str, routes: dict[str, str]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while "eth0" not in [name for _, name in socket.if_nameindex()]:
        if time.monotonic() > deadline:
            sys.exit(f"no cable was plugged in within {_WITHIN_S:.0f} s")
        time.sleep(_POLL_S)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", gateway)
    for subnet, neighbour in routes.items():
        _run("ip", "route", "add", subnet, "via", neighbour)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with contextlib.suppress(FileNotFoundError):  # kernels without br_netfilter
        Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")


def _keep_running(daemons: list[dict[str, Any]]) -> None:
    """Start the daemons, each again a second after its end; collect whoever is orphaned."""
    due = {daemon["name"]: 0.0 for daemon in daemons}
    running: dict[int, str] = {}
    while True:
        for daemon in daemons:
            name = daemon["name"]
            is_possible = all(Path(path).exists() for path in daemon["after"])
            if name in due and time.monotonic() >= due[name] and is_possible:
                del due[name]
                running[_start(daemon)] = name
        for pid in _collect():
            if pid in running:
                due[running.pop(pid)] = time.monotonic() + _RESTART_AFTER_S
        time.sleep(_POLL_S if due else 0.2)


def _start(daemon: dict[str, Any]) -> int:
    with Path(daemon["log"]).open("a") as log:
        return subprocess.Popen(
            daemon["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=daemon["environment"],
            cwd="/",
            start_new_session=True,
        ).pid


def _collect() -> list[int]:
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            ended.append(pid)
    return ended


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
