"""What a vision replica did and what it manages, measured by itself. On one event loop."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Stage
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.deployments.work import record_work
from internvl_runtimes.engines.base import StageWork


class TileMeter:
    """Counts tiles from their arrival to the end of their engine call.

    A replica is saturated while the requests in it are more than one engine call takes, wherever they are: so it is
    too when the decoding of pictures holds the engine up, and what it then manages is what counts. A request counts
    for no more than one call: alone it must first be decoded, then encoded, which says nothing about a full replica.
    """

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.perf_counter) -> None:
        self._recorder = recorder
        self._clock = clock
        self.batch_limit = 0
        """Tiles of one engine call at most."""
        self._inside = 0
        self._done = 0
        self._busy_s = 0.0
        self._saturated_done = 0.0
        self._saturated_s = 0.0
        self._changed_at = clock()
        self._told = StageWork()

    @contextmanager
    def request(self, tiles: int) -> Iterator[None]:
        """A request is in the replica while the block runs."""
        self._recorder.record(metrics.TILES_ARRIVED, tiles)
        counted = min(tiles, self.batch_limit)
        self._advance()
        self._inside += counted
        try:
            yield
        finally:
            self._advance()
            self._inside -= counted

    @contextmanager
    def batch(self, tiles: int) -> Iterator[None]:
        """An engine call; what it did counts unless it raises."""
        self._recorder.record(metrics.TILES_BEGUN, tiles)
        began, saturated_s = self._advance(), self._saturated_s
        try:
            yield
        finally:
            seconds = self._advance() - began
            self._busy_s += seconds
        self._done += tiles
        if seconds > 0:
            self._saturated_done += tiles * (self._saturated_s - saturated_s) / seconds

    def record_load(self) -> None:
        """Set the gauge of the limit; count what was done since the last time."""
        self._advance()
        self._recorder.record(metrics.BATCH_LIMIT, self.batch_limit, stage="vision")
        work = StageWork(self._done, self._busy_s, self._saturated_done, self._saturated_s)
        record_work(self._recorder, Stage.VISION, work.since(self._told))
        self._told = work

    def _advance(self) -> float:
        now = self._clock()
        if self._inside > self.batch_limit:
            self._saturated_s += now - self._changed_at
        self._changed_at = now
        return now
