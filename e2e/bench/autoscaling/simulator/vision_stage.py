"""Encoding: requests with pictures in the order of arrival, each on the replica that is free first."""

from bisect import bisect_left
from heapq import heapreplace

import numpy as np

from e2e.bench.autoscaling.requests import Requests
from e2e.bench.autoscaling.simulator.pool import Pool
from e2e.bench.autoscaling.simulator.sample import Full, SideSample
from e2e.bench.autoscaling.site import Site


class VisionStage:
    """A queue with as many servers as the pool has replicas."""

    def __init__(self, requests: Requests, site: Site, pool: Pool) -> None:
        chosen = np.flatnonzero(requests.tiles > 0)
        self.pool = pool
        self._speed = site.vision.tiles_per_s
        self._at: list[float] = requests.at[chosen].tolist()
        self._service: list[float] = requests.vision_s(site)[chosen].tolist()
        self._number: list[int] = chosen.tolist()
        self._tiles_before: list[float] = np.concatenate(([0.0], np.cumsum(requests.tiles[chosen]))).tolist()
        self._next = 0
        self._sampled_at = 0.0
        self._sampled_work = 0.0
        self._full_tiles = 0.0
        self._full_s = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether every request was begun."""
        return self._next == len(self._at)

    def advance(self, now: float, until: float) -> list[tuple[float, int]]:
        """Begin what can begin before `until`; returns (time of its features, number of the request) of each."""
        self.pool.admit(until)
        free, at, service, number = self.pool.free, self._at, self._service, self._number
        encoded: list[tuple[float, int]] = []
        i, n = self._next, len(at)
        was_full = i < n and at[i] < now
        while i < n and free:
            begin = at[i]
            if begin < free[0]:
                begin = free[0]
            if begin >= until:
                break
            end = begin + service[i]
            heapreplace(free, end)
            encoded.append((end, number[i]))
            i += 1
        self._next = i
        if was_full and i < n and at[i] < until and free:
            full_s = len(free) * (until - now)
            self._full_tiles += full_s * self._speed
            self._full_s += full_s
        return encoded

    def sample(self, now: float) -> SideSample:
        """What can be seen now."""
        arrived = bisect_left(self._at, now)
        begun = self._next
        ready, running = len(self.pool.free), self.pool.busy(now)
        work = self._tiles_before[begun] / self._speed - self.pool.unfinished_s(now)
        seconds = (now - self._sampled_at) * max(ready, 1)
        busy = (work - self._sampled_work) / seconds if seconds > 0 else 0.0
        self._sampled_at, self._sampled_work = now, work
        queued = max(arrived - begun, 0)
        return SideSample(
            target=self.pool.target,
            ready=ready,
            starting=self.pool.starting,
            arrived=self._tiles_before[arrived],
            arrived_requests=arrived,
            queued=queued,
            waiting=max(self._tiles_before[arrived] - self._tiles_before[begun], 0.0),
            running=running,
            busy=min(max(busy, 0.0), 1.0),
            occupied=(running + queued) / max(ready, 1),
            full=Full(done=self._full_tiles, seconds=self._full_s),
        )
