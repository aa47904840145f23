"""What the operator costs while nothing happens: memory, requests, writes."""

from __future__ import annotations

import re
import time
from pathlib import Path

from e2e.bench.result import BenchResult, Goal
from e2e.cluster.relay import Relay
from e2e.demo.parts import LocalInstallation
from e2e.demo.service import SERVICE, sample
from e2e.demo.waiting import wait_until_ready

WINDOW_S = 30.0


def run() -> BenchResult:
    """One Ready service; count for half a minute."""
    with LocalInstallation() as installation, Relay(installation.ray.dashboard_url) as relay:
        installation.kubectl("apply", "-f", "-", stdin=_behind(relay.url))
        wait_until_ready(installation, SERVICE, timeout_s=180)
        gets, puts, version = relay.count("GET"), relay.count("PUT"), _resource_version(installation)
        began = time.monotonic()
        time.sleep(WINDOW_S)
        elapsed = time.monotonic() - began
        gets, puts = relay.count("GET") - gets, relay.count("PUT") - puts
        memory = resident_mib(installation.operator_pid())
        writes = 0 if _resource_version(installation) == version else 1
    rows = (
        ("operator, resident memory (MiB)", f"{memory:.0f}"),
        ("requests to Ray a second", f"{gets / elapsed:.2f}"),
        ("PUTs to Ray", str(puts)),
        ("the service object was written", str(writes)),
    )
    return BenchResult(
        name="operator_at_rest",
        title=f"One Ready service, {elapsed:.0f} s at rest",
        columns=("what", "value"),
        rows=rows,
        raw={"memory_mib": memory, "gets": gets, "puts": puts, "writes": writes, "seconds": elapsed},
        goals=(
            Goal("resident memory (MiB)", round(memory), "<=", 150),
            Goal("requests to Ray an interval of 2 s", round(gets / elapsed * 2, 2), "<=", 1.1),
            Goal("PUTs to Ray", puts, "<=", 0),
            Goal("writes of the service object", writes, "<=", 0),
        ),
    )


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def _behind(url: str) -> str:
    return sample().replace("spec:\n", f"spec:\n  backend: {{ray: {{address: {url!r}}}}}\n")


def _resource_version(installation: LocalInstallation) -> str:
    return installation.kubectl("get", "ivl", SERVICE, "-o", "jsonpath={.metadata.resourceVersion}")
