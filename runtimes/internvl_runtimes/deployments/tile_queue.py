"""The vision encoder's queue: tiles of several requests in one engine call, in a thread of its own.

There is no timer: when the engine is idle the next batch is whatever waits, so a lone request never waits for
company and batches grow by themselves under load.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from internvl_runtimes.deployments.tile_meter import TileMeter
from internvl_runtimes.engines.base import EngineFailed, Pixels
from internvl_runtimes.engines.tile_features import RequestFeatures

Encode = Callable[[Pixels, Sequence[int]], list[RequestFeatures]]
"""One engine call: float32 [N, 3, S, S] and how many tiles each request has."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One request's result."""

    features: RequestFeatures
    queue_s: float
    encode_s: float


@dataclass(slots=True, eq=False)
class _Job:
    pixels: Pixels
    done: asyncio.Future[Encoded]
    submitted_at: float


class TileQueue:
    """Batches and runs encodes until closed. All methods on one event loop."""

    def __init__(self, encode: Encode, meter: TileMeter, *, max_batch_tiles: int) -> None:
        self._encode = encode
        self._meter = meter
        self.max_batch_tiles = max_batch_tiles
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vision-engine")
        self._worker = asyncio.get_running_loop().create_task(self._work())

    @property
    def waiting_tiles(self) -> int:
        """Tiles of requests that wait and were not cancelled."""
        return sum(len(job.pixels) for job in self._jobs if not job.done.done())

    async def encode(self, pixels: Pixels) -> Encoded:
        """Encode one request's tiles, float32 [n, 3, S, S]. Cancelling drops them if they have not started.

        Raises:
            EngineFailed: the engine failed on the batch, or the queue was closed.
        """
        if self._closing or self._worker.done():
            raise EngineFailed("the vision engine's queue has stopped")
        job = _Job(pixels, asyncio.get_running_loop().create_future(), time.perf_counter())
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await job.done
        except asyncio.CancelledError:
            if job in self._jobs:  # its pixels go now, not when the present batch ends
                self._jobs.remove(job)
            raise

    def check_health(self) -> None:
        """Raise `EngineFailed` when nothing would be encoded any more."""
        if self._worker.done():
            raise EngineFailed("the vision engine's queue has stopped; the replica must be replaced")

    async def close(self) -> None:
        """Finish what waits, then stop. Whoever comes later is refused."""
        self._closing = True
        self._arrived.set()
        await asyncio.wait([self._worker])
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        try:
            while True:
                batch = self._next_batch()
                if batch:
                    await self._run(batch)
                elif self._closing:
                    return
                else:
                    self._arrived.clear()
                    await self._arrived.wait()
        finally:
            for job in self._jobs:
                if not job.done.done():
                    job.done.set_exception(EngineFailed("the vision engine's queue has stopped"))

    def _next_batch(self) -> list[_Job]:
        """Jobs in order of arrival, up to the limit; the first one also when it alone is above it."""
        batch: list[_Job] = []
        tiles = 0
        while self._jobs:
            job = self._jobs[0]
            if job.done.done():  # Cancelled: its tiles are never run.
                self._jobs.popleft()
                continue
            if batch and tiles + len(job.pixels) > self.max_batch_tiles:
                break
            tiles += len(job.pixels)
            batch.append(self._jobs.popleft())
        return batch

    async def _run(self, batch: list[_Job]) -> None:
        started = time.perf_counter()
        sizes = [len(job.pixels) for job in batch]
        loop = asyncio.get_running_loop()
        try:
            with self._meter.batch(sum(sizes)):
                results = await loop.run_in_executor(self._thread, self._call, batch, sizes)
        except Exception as error:
            failure = (
                error if isinstance(error, EngineFailed) else EngineFailed(f"encoding failed: {error!r}")
            )
            for job in batch:
                if not job.done.done():
                    job.done.set_exception(failure)
            return
        spent = time.perf_counter() - started
        for job, features in zip(batch, results, strict=True):
            if not job.done.done():
                job.done.set_result(Encoded(features, started - job.submitted_at, spent))

    def _call(self, batch: list[_Job], sizes: list[int]) -> list[RequestFeatures]:
        pixels = batch[0].pixels if len(batch) == 1 else np.concatenate([job.pixels for job in batch])
        return self._encode(pixels, sizes)
