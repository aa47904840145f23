"""Room for decoded tiles: a request waits here with its small encoded pictures, not with their pixels.

A tile is 2.4 MB as float32 of 448 x 448 pixels, a picture in its file a tenth of that for all of its tiles. So
decoded tiles are few, requests that wait for room many, and both are bounded.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from internvl_runtimes.protocol.handover import Overloaded


@dataclass(slots=True, eq=False)
class _Waiter:
    tiles: int
    cost: int
    granted: asyncio.Future[None]


class TileRoom:
    """Gives room for tiles in order of arrival. On one event loop.

    A request of more tiles than there is room for gets it when it is alone.
    """

    def __init__(self, *, tiles: int, waiting: int) -> None:
        self._tiles, self._waiting = tiles, waiting
        self._held = 0
        self._waiters: deque[_Waiter] = deque()

    @property
    def held_tiles(self) -> int:
        """Tiles' worth of memory that is taken."""
        return self._held

    @property
    def waiting_tiles(self) -> int:
        """Tiles whose request waits for room."""
        return sum(waiter.tiles for waiter in self._waiters)

    def resize(self, *, tiles: int, waiting: int) -> None:
        """Other limits from now on; whoever has room or waits keeps it."""
        self._tiles, self._waiting = tiles, waiting
        self._grant()

    @asynccontextmanager
    async def take(self, tiles: int, *, source: int = 0) -> AsyncIterator[None]:
        """Wait for room and hold it while the block runs. Cancelling a wait gives the place up.

        Args:
            tiles: of the request.
            source: tiles' worth of memory beside them: a small file may decode to hundreds of megabytes.

        Raises:
            Overloaded: too many tiles wait already.
        """
        cost = tiles + source
        if self._waiters or not self._fits(cost):
            await self._wait(tiles, cost)
        else:
            self._held += cost
        try:
            yield
        finally:
            self._held -= cost
            self._grant()

    async def _wait(self, tiles: int, cost: int) -> None:
        if self.waiting_tiles + tiles > self._waiting:
            raise Overloaded(
                f"The vision encoder holds {self._held} tiles, {self.waiting_tiles} more wait, "
                f"and it takes no {tiles} more now."
            )
        waiter = _Waiter(tiles, cost, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            else:  # cancelled between the grant and its news
                self._held -= cost
            self._grant()
            raise

    def _fits(self, cost: int) -> bool:
        return self._held == 0 or self._held + cost <= self._tiles

    def _grant(self) -> None:
        while self._waiters and self._fits(self._waiters[0].cost):
            waiter = self._waiters.popleft()
            self._held += waiter.cost
            if not waiter.granted.done():
                waiter.granted.set_result(None)
