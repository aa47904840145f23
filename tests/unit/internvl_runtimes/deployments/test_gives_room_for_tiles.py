"""Room for decoded tiles: order, bounds, cancellation."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from internvl_runtimes.deployments.tile_room import TileRoom
from internvl_runtimes.protocol.handover import Overloaded


class Guest:
    """Takes room and keeps it until it leaves."""

    def __init__(self, room: TileRoom, tiles: int) -> None:
        self.inside, self._leave = False, asyncio.Event()
        self.task = asyncio.ensure_future(self._stay(room, tiles))

    async def _stay(self, room: TileRoom, tiles: int) -> None:
        async with room.take(tiles):
            self.inside = True
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_later_waits_for_who_waits_even_when_it_would_fit() -> None:
    room = TileRoom(tiles=10, waiting=100)
    first, large, small = Guest(room, 6), Guest(room, 8), Guest(room, 1)
    await settled()
    assert (first.inside, large.inside, small.inside) == (True, False, False)
    assert (room.held_tiles, room.waiting_tiles) == (6, 9)
    await first.leave()
    assert large.inside and small.inside
    await large.leave()
    await small.leave()
    assert (room.held_tiles, room.waiting_tiles) == (0, 0)


async def test_a_request_larger_than_the_room_gets_it_alone() -> None:
    room = TileRoom(tiles=10, waiting=100)
    small, large = Guest(room, 1), Guest(room, 40)
    await settled()
    assert not large.inside
    await small.leave()
    assert large.inside and room.held_tiles == 40
    await large.leave()


async def test_what_a_small_file_decodes_to_takes_room_too() -> None:
    room = TileRoom(tiles=10, waiting=100)
    async with room.take(2, source=7):
        assert room.held_tiles == 9
        second = Guest(room, 2)
        await settled()
        assert not second.inside and room.waiting_tiles == 2
    await settled()
    assert second.inside
    await second.leave()


async def test_too_many_that_wait_are_refused_and_the_rest_is_served() -> None:
    room = TileRoom(tiles=10, waiting=5)
    first, waiting = Guest(room, 10), Guest(room, 5)
    await settled()
    with pytest.raises(Overloaded, match="holds 10 tiles, 5 more wait, and it takes no 1 more"):
        async with room.take(1):
            pass
    await first.leave()
    assert waiting.inside
    await waiting.leave()


@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_wait_holds_nobody_up(granted: bool) -> None:
    room = TileRoom(tiles=10, waiting=100)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(room.take(6))
        dropped, last = Guest(room, 8), Guest(room, 3)
        await settled()
        if granted:  # the grant and the cancellation meet in one turn of the loop
            await stack.aclose()
        dropped.task.cancel()
        await settled()
        assert last.inside and not dropped.inside
    await last.leave()
    assert (room.held_tiles, room.waiting_tiles) == (0, 0)


async def test_more_room_lets_in_at_once() -> None:
    room = TileRoom(tiles=4, waiting=100)
    first, second = Guest(room, 4), Guest(room, 4)
    await settled()
    room.resize(tiles=8, waiting=100)
    await settled()
    assert second.inside
    await first.leave()
    await second.leave()
