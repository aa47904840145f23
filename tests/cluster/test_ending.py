"""A cluster of its own, which is killed: nothing of it is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes import guardian, kernel

ROOT = Path(__file__).resolve().parents[2]
HOLD_A_NODE = """
import json, signal, sys, time
from dataclasses import asdict
from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.cluster.nodes.plan import plan_nodes
# A shell starts what it puts into the background with this signal ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
with NodeCluster(plan_nodes({"cpu": 0})) as cluster:
    print(json.dumps(asdict(cluster.record)), flush=True)
    time.sleep(600)
"""


pytestmark = pytest.mark.usefixtures("own_nodes")


@pytest.fixture
def held() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD_A_NODE]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def read_record(held: subprocess.Popen[str]) -> guardian.Record:
    assert held.stdout is not None
    record = guardian.Record(**json.loads(held.stdout.readline()))
    assert len(guardian.leftovers(record)) > 10, "cgroups, processes, bridge, cable, folder, settings"
    return record


def wait_until_nothing_is_left(record: guardian.Record) -> None:
    deadline = time.monotonic() + 180
    while (left := guardian.leftovers(record)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_whatever_ends_the_owner_nothing_is_left(held: subprocess.Popen[str], number: signal.Signals) -> None:
    record = read_record(held)
    held.send_signal(number)
    held.wait(timeout=180)
    wait_until_nothing_is_left(record)


def test_what_a_killed_guardian_leaves_is_undone_by_the_next_cluster(held: subprocess.Popen[str]) -> None:
    record = read_record(held)
    os.kill(_guardian_of(held.pid), signal.SIGKILL)
    held.kill()
    held.wait(timeout=180)
    assert any(left.startswith("network device") for left in guardian.leftovers(record))
    kernel.Host().undo_leftovers()
    assert guardian.leftovers(record) == []


def test_a_second_cluster_is_refused_and_says_whose_the_first_is(held: subprocess.Popen[str]) -> None:
    record = read_record(held)
    with pytest.raises(ClusterFailed, match=f"of process {held.pid}"):
        kernel.Host().claim(Path("/nonexistent"))
    held.kill()
    held.wait(timeout=180)
    wait_until_nothing_is_left(record)


def _guardian_of(parent: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(guardian.__file__) in words and str(parent).encode() in words:
                return int(entry.name)
    raise AssertionError(f"process {parent} has no guardian")
