"""Watches the replicas of a service as Ray Serve lists them: how many there are at each time, and their CPU limits."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from e2e.cluster.ray_nodes import RayNodes
from e2e.scaling.cpu_limits import CpuLimits

VISION, LANGUAGE = "VisionEncoder", "LanguageModel"
SIDES = (VISION, LANGUAGE)
"""Deployments."""
_POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class Look:
    """What Serve listed at one time."""

    at: float
    """Seconds since 1970."""
    listed: Counter[str]
    """Replicas of each deployment, from their order to the end of their drain: what is paid."""
    running: Counter[str]


@dataclass(slots=True)
class ReplicaWatch:
    """A context manager; looks in a thread of its own, and bounds each replica that runs."""

    ray: RayNodes
    limits: CpuLimits
    cores: dict[str, float]
    """Of one replica, by deployment. Changed by `limit`."""

    looks: list[Look] = field(default_factory=list)
    _bounded: dict[int, float] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def limit(self, deployment: str, cores: float) -> None:
        """Change the share of each replica of a side, and return when it holds."""
        self.cores = {**self.cores, deployment: cores}
        self.wait_for_look()

    def wait_for_look(self, looks: int = 2) -> None:
        """Until it has looked so often again."""
        seen = len(self.looks)
        while len(self.looks) < seen + looks and self._thread.is_alive():
            time.sleep(_POLL_S / 3)

    def first(self, deployment: str, running: int, *, since: float) -> float | None:
        """When so many replicas were running first after a time, and no more were listed; None: not yet."""
        for look in self.looks:
            if look.at > since and look.running[deployment] == look.listed[deployment] == running:
                return look.at
        return None

    def replica_seconds(self, deployment: str, begin: float, end: float) -> float:
        """Of the replicas that were listed, between two times in seconds since 1970."""
        times = [look.at for look in self.looks]
        at, total = begin, 0.0
        for index in range(max(bisect_right(times, begin) - 1, 0), len(times)):
            until = min(times[index + 1] if index + 1 < len(times) else end, end)
            if until > at:
                total += (until - at) * self.looks[index].listed[deployment]
                at = until
        return total

    def _watch(self) -> None:
        while not self._stopped.wait(_POLL_S):
            if applications := self.ray.applications():  # empty where the dashboard does not answer
                self._look(applications)

    def _look(self, applications: dict[str, Any]) -> None:
        listed: Counter[str] = Counter()
        running: Counter[str] = Counter()
        for application in applications.values():
            for deployment in application.get("deployments", {}).values():
                if deployment["name"] in SIDES:
                    for replica in deployment.get("replicas", []):
                        listed[deployment["name"]] += 1
                        if replica["state"] == "RUNNING":
                            running[deployment["name"]] += 1
                            self._bound(replica["pid"], self.cores[deployment["name"]])
        self.looks.append(Look(time.time(), listed, running))

    def _bound(self, pid: int, cores: float) -> None:
        if self._bounded.get(pid) != cores:
            self.limits.bound(pid, cores)
            self._bounded[pid] = cores
