"""Reads the status of a service all the time, so that nobody has to believe it afterwards."""

import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

from e2e.faults.measured import Spoken
from e2e.platform.story import Story

PERIOD_S = 0.5


class StatusWatch:
    """Writes down what the status says about Ready while the block runs."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self.spoken: list[Spoken] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            self.spoken.append(self._look())
            self._end.wait(PERIOD_S)

    def _look(self) -> Spoken:
        at = time.time()
        try:
            ready = self._story.ready()
        except (OSError, ValueError):
            return Spoken(at, "")
        return Spoken(
            at, ready.get("status", "Unknown"), ready.get("reason", ""), ready.get("message", "")[:400]
        )
