"""Encoding: requests with pictures in the order of arrival, each on the replica that is free first."""

import numpy as np

from e2e.bench.autoscaling.requests import Floats, Ints, Requests
from e2e.bench.autoscaling.simulator import compiled
from e2e.bench.autoscaling.simulator.pool import Pool
from e2e.bench.autoscaling.simulator.sample import Full, SideSample
from e2e.bench.autoscaling.site import Site


class VisionStage:
    """A queue with as many servers as the pool has replicas."""

    def __init__(self, requests: Requests, site: Site, pool: Pool) -> None:
        chosen = np.flatnonzero(requests.tiles > 0)
        self.pool = pool
        self._speed = site.vision.tiles_per_s
        self._at = requests.at[chosen]
        self._service = requests.vision_s(site)[chosen]
        self._number = chosen
        self._tiles_before = np.concatenate(([0.0], np.cumsum(requests.tiles[chosen])))
        self._ended = np.empty(len(chosen))
        self._next = 0
        self._sampled_at = 0.0
        self._sampled_work = 0.0
        self._full_tiles = 0.0
        self._full_s = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether every request was begun."""
        return self._next == len(self._at)

    def advance(self, now: float, until: float) -> tuple[Floats, Ints]:
        """Begin what can begin before `until`; of each the time of its features, and the number of the request."""
        self.pool.admit(until)
        first, at = self._next, self._at
        if first == len(at) or at[first] >= until:
            return self._ended[:0], self._number[:0]
        was_full = at[first] < now
        free, ended = np.array(self.pool.free), self._ended[first:]
        last = first + compiled.encode(free, at[first:], self._service[first:], until, ended)
        self.pool.free = free.tolist()
        self._next = last
        if was_full and last < len(at) and at[last] < until and len(free):
            full_s = len(free) * (until - now)
            self._full_tiles += full_s * self._speed
            self._full_s += full_s
        return self._ended[first:last], self._number[first:last]

    def sample(self, now: float) -> SideSample:
        """What can be seen now."""
        arrived = int(np.searchsorted(self._at, now))
        begun = self._next
        ready, running = len(self.pool.free), self.pool.busy(now)
        work = float(self._tiles_before[begun]) / self._speed - self.pool.unfinished_s(now)
        seconds = (now - self._sampled_at) * max(ready, 1)
        busy = (work - self._sampled_work) / seconds if seconds > 0 else 0.0
        self._sampled_at, self._sampled_work = now, work
        queued = max(arrived - begun, 0)
        return SideSample(
            target=self.pool.target,
            ready=ready,
            starting=self.pool.starting,
            arrived=float(self._tiles_before[arrived]),
            arrived_requests=arrived,
            queued=queued,
            waiting=max(float(self._tiles_before[arrived] - self._tiles_before[begun]), 0.0),
            running=running,
            busy=min(max(busy, 0.0), 1.0),
            occupied=(running + queued) / max(ready, 1),
            full=Full(done=self._full_tiles, seconds=self._full_s),
        )
