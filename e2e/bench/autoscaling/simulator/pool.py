"""The replicas of one side: ordered, starting, serving, draining, and what is paid for them."""

import heapq
from random import Random

import numpy as np

from e2e.bench.autoscaling.requests import Floats
from e2e.bench.autoscaling.site import Start

START_SPREAD = 0.1
"""A start takes up to this share less or more than its mean."""


class Pool:
    """Replicas by the time at which each is free for the next request.

    Attributes:
        free: a heap of seconds, one for each replica that serves. Stages take its least and push it back.
        target: replicas that were asked for last.
        changes: how often the target changed.
    """

    def __init__(self, start: Start, replicas: int, *, seed: int) -> None:
        self.free: list[float] = [0.0] * replicas
        self.target = replicas
        self.changes = 0
        self._start = start
        self._starting: list[float] = []
        self._paid: list[tuple[float, int]] = [(0.0, replicas)]
        self._random = Random(seed)

    @property
    def starting(self) -> int:
        """Replicas that were ordered and do not answer yet."""
        return len(self._starting)

    def admit(self, until: float) -> None:
        """Let replicas serve that answer before this time; each is free from the moment it answers."""
        while self._starting and self._starting[0] < until:
            heapq.heappush(self.free, heapq.heappop(self._starting))

    def aim(self, now: float, target: int) -> None:
        """Order replicas or give some back: first those that start, the youngest first, then whichever is free first."""
        if target < 0:
            raise ValueError(f"a target of {target} replicas")
        self.changes += target != self.target
        self.target = target
        while len(self.free) + self.starting < target:
            spread = 1 + START_SPREAD * (2 * self._random.random() - 1)
            heapq.heappush(self._starting, now + self._start.total_s * spread)
            self._paid.append((now, 1))
        while len(self.free) + self.starting > target:
            if self._starting:
                self._starting.remove(max(self._starting))
                heapq.heapify(self._starting)
                self._paid.append((now, -1))
            else:
                done = max(now, heapq.heappop(self.free))
                self._paid.append((done + self._start.drain_s, -1))

    def busy(self, now: float) -> int:
        """Replicas that work at a request at this time."""
        return sum(free > now for free in self.free)

    def unfinished_s(self, now: float) -> float:
        """Seconds of work that all replicas together have begun and not ended."""
        return sum(free - now for free in self.free if free > now)

    def replica_seconds(self, begin: float, end: float) -> float:
        """What is paid between two times, from the order of a replica to the end of its drain."""
        at = np.array([time for time, _ in self._paid])
        by = np.array([change for _, change in self._paid])
        return float(np.sum(by * (end - np.clip(at, begin, end))))

    def held(self, at: Floats) -> Floats:
        """Replicas that are paid for at each of these times (increasing seconds)."""
        paid = sorted(self._paid)
        counts = np.cumsum([change for _, change in paid])
        index = np.searchsorted([time for time, _ in paid], at, side="right") - 1
        held: Floats = counts[np.maximum(index, 0)].astype(np.float64)
        return held
