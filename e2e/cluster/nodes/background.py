"""A cluster that stays when the command that started it returns: `make cluster-up` and `cluster-down`.

A process of its own holds the `NodeCluster`; commands find it through what the host's record says.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes import kernel
from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.setup import progress
from e2e.setup.cache import Cache

_POLL_S = 0.1
_GONE_WITHIN_S = 120.0
_READY_FILE = "ready.json"


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that is up, with KubeRay."""

    owner: int
    server: str
    kubeconfig: Path
    logs: Path


def find() -> Running | None:
    """The cluster that is up on this host; None also while one is still starting."""
    record = kernel.running_record()
    if record is None:
        return None
    try:
        values = json.loads(Path(record.directory, _READY_FILE).read_text())
    except FileNotFoundError:
        return None
    return Running(record.owner, values["server"], Path(values["kubeconfig"]), Path(values["logs"]))


def bring_up() -> Running:
    """Return the cluster that is up; started when there is none, its progress shown on standard error.

    Raises:
        ClusterFailed: It did not come up; the lines above say why.
    """
    running = find()
    if running is not None:
        progress.say(f"a cluster is up already, of process {running.owner}")
        return running
    log = Cache.from_environment().path("logs", "cluster-up.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "e2e.cluster.nodes", "run"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        running = _follow(process, log)
    except BaseException:
        process.send_signal(signal.SIGTERM)  # a Ctrl-C reaches only us: what we started must go too
        process.wait()
        raise
    if running is None:
        raise ClusterFailed(f"the cluster did not come up; its whole log: {log}")
    return running


def take_down() -> None:
    """End the cluster that is up, and undo what a killed one left; returns when nothing is there any more."""
    record = kernel.running_record()
    if record is not None:
        with progress.step(f"ending the cluster of process {record.owner}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.owner, signal.SIGTERM)
            _wait_until_gone(record.owner)
    kernel.Host().undo_leftovers()


def run() -> None:
    """Hold a cluster with KubeRay until SIGTERM: the process that `bring_up` starts."""
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()
        if not is_up:
            raise ClusterFailed("ended while it started")

    is_up = False
    signal.signal(signal.SIGTERM, end)
    with NodeCluster() as cluster:
        cluster.install_kuberay()
        values = {"server": cluster.server, "kubeconfig": cluster.kubeconfig(), "logs": cluster.logs}
        aside = cluster.directory / f"{_READY_FILE}.new"
        aside.write_text(json.dumps({key: str(value) for key, value in values.items()}))
        is_up = True
        aside.rename(cluster.directory / _READY_FILE)
        ended.wait()
    progress.say("the cluster is gone")


def _follow(process: subprocess.Popen[bytes], log: Path) -> Running | None:
    with log.open() as lines:
        while True:
            has_ended, running = process.poll() is not None, find()
            sys.stderr.write(lines.read())
            sys.stderr.flush()
            if has_ended or running is not None:
                return running
            time.sleep(_POLL_S)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + _GONE_WITHIN_S
    while Path(f"/proc/{pid}").is_dir():
        if time.monotonic() > deadline:
            raise ClusterFailed(f"process {pid} still runs {_GONE_WITHIN_S:.0f} s after SIGTERM")
        time.sleep(_POLL_S)
