"""How the gateway reaches the other two sides, and what it is told when one is lost.

The Protocols are all that the gateway knows; `ray_handles` implements them with Serve's deployment handles,
the unit tests with fakes.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol, TypeVar

from internvl_runtimes.protocol.handover import Chunk, EncodeRequest, Features, GenerateRequest
from internvl_runtimes.protocol.problems import DeadlinePassed

_Item = TypeVar("_Item")


class Lost(Exception):
    """A replica, a node, or an object that lay there is gone; the call may be made again.

    The request itself is not to blame, and nothing of its answer was seen.
    """


class PendingFeatures(Protocol):
    """An encode that is under way: passed on as it is, so that the rows never come to the gateway."""

    @property
    def is_queued(self) -> bool:
        """Whether it waits here, because no replica has taken it yet."""
        ...

    def cancel(self) -> None:
        """Stop the encode if it is not done. Never blocks, may be called twice."""

    async def resolve(self) -> Features:
        """Fetch the rows into this process. For the probe only.

        Raises:
            Lost: the replica or the object is gone.
            RoleUnavailable, Overloaded, PictureUnreadable: as the vision side said.
        """
        ...


class VisionHandle(Protocol):
    """The vision side."""

    async def encode(self, request: EncodeRequest) -> PendingFeatures:
        """Start an encode and return at once. Raises `RoleUnavailable` when there is no such application."""
        ...


class LanguageHandle(Protocol):
    """The language side."""

    def generate(
        self, request: GenerateRequest, features: PendingFeatures | None
    ) -> AsyncGenerator[Chunk, None]:
        """Start a generation. Closing the iterator (`aclose`) cancels it.

        The iterator raises what the sides raise, `Lost` when one of them or the features are gone.
        """
        ...


async def next_before(
    iterator: AsyncIterator[_Item], deadline: float | None, clock: Callable[[], float]
) -> _Item:
    """The next item, or `DeadlinePassed` at `deadline` on `clock`. Raises `StopAsyncIteration` at the end."""
    try:
        async with asyncio.timeout(None if deadline is None else max(0.0, deadline - clock())):
            return await anext(iterator)
    except TimeoutError:
        raise DeadlinePassed("The answer was not finished within the request's time.") from None
