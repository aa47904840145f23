"""The work queue: which key is reconciled next. Knows nothing of services, Kubernetes or Ray.

A key is reconciled by one task at a time; a key that is added while it runs, runs once more afterwards;
any number of additions in between count as one. Called by `__main__` and `standalone`.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)


class Timer(Protocol):
    """A call that can be taken back."""

    def cancel(self) -> None:
        """Do not call."""
        ...


class Clock(Protocol):
    """Time as the queue sees it; an asyncio event loop is one."""

    def time(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call back once, after `delay` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds until a key that failed is tried again: doubled each time, spread by a quarter."""

    first_s: float = 0.5
    most_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """Delay after the given number of failures in a row, at least one."""
        plain = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 16))
        return plain * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries apart


@dataclass(slots=True)
class _Later:
    """When a key is due, and the timer that will add it."""

    due: float
    timer: Timer


class WorkQueue(Generic[Key]):
    """Runs `reconcile(key)` for the keys that are due. It returns seconds until the key is due again, or None."""

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[float | None]],
        *,
        clock: Clock,
        concurrency: int = 8,
        backoff: Backoff | None = None,
    ) -> None:
        self._reconcile = reconcile
        self._clock = clock
        self._concurrency = concurrency
        self._backoff = backoff or Backoff()
        self._ready: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, _Later] = {}
        self._failures: dict[Key, int] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._running_since: dict[Key, float] = {}

    def add(self, key: Key) -> None:
        """The key is due now."""
        if key in self._tasks:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: Key, delay_s: float) -> None:
        """The key is due in `delay_s` seconds, unless an earlier time is already set."""
        due = self._clock.time() + delay_s
        known = self._later.get(key)
        if known is not None:
            if known.due <= due:
                return
            known.timer.cancel()
        self._later[key] = _Later(due, self._clock.call_later(max(0.0, delay_s), lambda: self._come_due(key)))

    def longest_s(self) -> float:
        """Seconds that the longest running reconcile runs by now; 0 when none runs."""
        now = self._clock.time()
        return max((now - since for since in self._running_since.values()), default=0.0)

    async def run(self) -> None:
        """Reconcile until cancelled; then cancel what runs and wait for it."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._ready and len(self._tasks) < self._concurrency:
                    key = self._ready.popleft()
                    self._queued.discard(key)
                    self._tasks[key] = asyncio.create_task(self._run_one(key), name=f"reconcile {key}")
        finally:
            await self._close()

    async def _run_one(self, key: Key) -> None:
        self._drop_timer(key)
        self._running_since[key] = self._clock.time()
        try:
            again_s = await self._reconcile(key)
        except Exception:
            # Known troubles are values of the plan; what arrives here is a bug or a border that leaks.
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            again_s = self._backoff.delay_s(failures)
            log.exception("reconcile of %s failed, trying again in %.1f s", key, again_s)
        else:
            self._failures.pop(key, None)
        finally:
            self._running_since.pop(key, None)
            del self._tasks[key]
            self._wake.set()
        if again_s is not None:
            self.add_after(key, again_s)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _come_due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)

    def _drop_timer(self, key: Key) -> None:
        later = self._later.pop(key, None)
        if later is not None:
            later.timer.cancel()

    async def _close(self) -> None:
        for key in list(self._later):
            self._drop_timer(key)
        running = list(self._tasks.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
