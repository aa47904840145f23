"""Sends what a plan says when it is due, whatever became of what was sent before."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from internvl_operator.load.outcomes import UNSENT, Outcome
from internvl_operator.load.plans import Planned
from internvl_operator.load.shapes import Shape
from internvl_operator.load.tally import Tally

Make = Callable[[Shape], bytes]
Send = Callable[[bytes, float, bool], Awaitable[Outcome]]
"""Body, moment it was due, whether it has pictures. Raises nothing: what goes wrong is in the outcome."""


class Sender:
    """Sends a plan. On one event loop."""

    def __init__(
        self,
        make: Make,
        send: Send,
        *,
        most_in_flight: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make a sender.

        Args:
            make: the body of a request; called before it is due.
            send: sends it and waits for its end.
            most_in_flight: a request that is due while so many have no answer is not sent, and counts as failed.
            clock: seconds, monotonic; the one of `send`'s outcomes.
            sleep: how to wait.
        """
        self._make = make
        self._send = send
        self._most_in_flight = most_in_flight
        self._clock = clock
        self._sleep = sleep
        self._in_flight: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Timeout | None = None
        """While something is still to be sent."""

    async def run(self, plan: Iterable[Planned], tally: Tally) -> None:
        """Send all of the plan, or until `stop`, and wait for the answers. Cancelling it cancels what is in flight."""
        async with self._ending():
            await self._send_all(plan, tally)
            while self._in_flight:
                await asyncio.wait(self._in_flight)

    def stop(self) -> None:
        """Send nothing more, also not what is waited for to become due. What was sent goes on."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.reschedule(asyncio.get_running_loop().time())

    async def _send_all(self, plan: Iterable[Planned], tally: Tally) -> None:
        sending = asyncio.timeout(None)
        try:
            async with sending:
                self._sending = sending
                await self._send_due(plan, tally)
        except TimeoutError:
            if not sending.expired():
                raise
        finally:
            self._sending = None

    async def _send_due(self, plan: Iterable[Planned], tally: Tally) -> None:
        for planned in plan:
            body = self._make(planned.shape)
            due = tally.started + planned.at_s
            # Also when it is late: what has come must be read, or lateness would grow by itself.
            await self._sleep(max(0.0, due - self._clock()))
            pictures = bool(planned.shape.pictures)
            if len(self._in_flight) >= self._most_in_flight:
                now = self._clock()
                tally.add(Outcome(due=due, sent=now, ended=now, pictures=pictures, error=UNSENT))
                continue
            task = asyncio.get_running_loop().create_task(self._one(body, due, pictures, tally))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _one(self, body: bytes, due: float, pictures: bool, tally: Tally) -> None:
        tally.add(await self._send(body, due, pictures))

    @asynccontextmanager
    async def _ending(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            left = tuple(self._in_flight)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
