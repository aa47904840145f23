"""Counts who still uses something, so that it can be put away after the last one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """Requests that use one engine. On one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request while the block runs."""
        self.count += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self.count -= 1
            if self.count == 0:
                self._nobody.set()

    async def drained(self) -> None:
        """Wait until nobody is left."""
        await self._nobody.wait()
