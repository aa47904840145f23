"""An open-loop load: what is due goes out, and latencies count from then."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from internvl_operator.load.outcomes import UNSENT, Outcome
from internvl_operator.load.plans import Planned
from internvl_operator.load.sending import Sender
from internvl_operator.load.shapes import Shape, Size
from internvl_operator.load.tally import Objectives, Tally

WORDS = Shape(1, 1)


class World:
    """A clock that moves when somebody waits for it, and a server that answers after so long, one at a time."""

    def __init__(self, service_s: float = 0.0, at_once: int = 10**6) -> None:
        self.now = 1000.0
        self.service_s = service_s
        self._room = asyncio.Semaphore(at_once)
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self.sent: list[float] = []
        self.made: list[float] = []

    async def sleep(self, seconds: float) -> None:
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarms.append((self.now + seconds, len(self._alarms), alarm))
        await alarm

    def make(self, shape: Shape) -> bytes:
        self.made.append(self.now)
        return b"{}"

    async def send(self, body: bytes, due: float, pictures: bool) -> Outcome:
        sent = self.now
        self.sent.append(sent)
        async with self._room:
            await self.sleep(self.service_s)
        return Outcome(
            due=due, sent=sent, ended=self.now, first=self.now, last=self.now, tokens=1, pictures=pictures
        )

    async def run(self, task: Awaitable[None]) -> None:
        running = asyncio.ensure_future(task)
        while not running.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if self._alarms and not running.done():
                at, _, alarm = first = min(self._alarms)
                self._alarms.remove(first)
                self.now = max(self.now, at)
                alarm.set_result(None)
        await running


def tally_of(world: World) -> Tally:
    return Tally(Objectives(1.0, 0.05), started=world.now)


def sender_of(world: World, most: int = 100, make: Callable[[Shape], bytes] | None = None) -> Sender:
    return Sender(
        make or world.make, world.send, most_in_flight=most, clock=lambda: world.now, sleep=world.sleep
    )


async def test_a_slow_server_does_not_slow_the_load_and_its_queue_is_in_the_latencies():
    world = World(service_s=1.0, at_once=1)
    tally = tally_of(world)
    plan = [Planned(0.1 * number, WORDS) for number in range(1, 11)]
    await world.run(sender_of(world).run(plan, tally))
    assert [round(at - tally.started, 3) for at in world.sent] == [round(p.at_s, 3) for p in plan]
    assert tally.answered == 10
    assert tally.whole.largest == pytest.approx(10.1 - 1.0), (
        "the last was due at 1.0 s and answered at 10.1 s"
    )
    assert tally.late.largest == 0


async def test_what_goes_out_late_still_counts_from_when_it_was_due():
    world = World(service_s=0.5)

    def slow(shape: Shape) -> bytes:
        world.now += 2.0
        return b"{}"

    tally = tally_of(world)
    await world.run(sender_of(world, make=slow).run([Planned(1.0, WORDS)], tally))
    assert tally.late.largest == pytest.approx(1.0)
    assert tally.whole.largest == pytest.approx(1.5)


async def test_a_body_is_made_before_it_is_due():
    world = World()
    await world.run(sender_of(world).run([Planned(3.0, WORDS)], tally_of(world)))
    assert world.made == [1000.0] and world.sent == [1003.0]


async def test_more_than_may_be_in_flight_is_not_sent_and_counts_as_failed():
    world = World(service_s=10.0)
    tally = tally_of(world)
    await world.run(sender_of(world, most=2).run([Planned(float(n), WORDS) for n in range(1, 6)], tally))
    assert len(world.sent) == tally.answered == 2
    assert tally.errors == {UNSENT: 3}
    assert tally.due == 5


async def test_ending_a_load_early_leaves_nothing_in_flight():
    world = World(service_s=10.0)
    cancelled: list[bool] = []

    async def send(body: bytes, due: float, pictures: bool) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        raise AssertionError

    async def no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    sender = Sender(world.make, send, most_in_flight=9, clock=lambda: world.now, sleep=no_sleep)
    running = asyncio.ensure_future(sender.run([Planned(0.0, WORDS)] * 3, tally_of(world)))
    for _ in range(10):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cancelled == [True] * 3


async def test_a_sender_that_is_stopped_sends_nothing_more_and_waits_for_what_was_sent():
    world, answer, waits = World(), asyncio.Event(), asyncio.Event()
    tally = tally_of(world)

    async def send(body: bytes, due: float, pictures: bool) -> Outcome:
        world.sent.append(due)
        await answer.wait()
        return Outcome(due=due, sent=due, ended=due + 1.0, pictures=pictures, tokens=1)

    async def sleep(seconds: float) -> None:
        if seconds > 0:
            waits.set()
            await asyncio.Event().wait()  # the next one is due in an hour

    sender = Sender(world.make, send, most_in_flight=9, clock=lambda: world.now, sleep=sleep)
    running = asyncio.ensure_future(sender.run([Planned(0.0, WORDS), Planned(3600.0, WORDS)], tally))
    async with asyncio.timeout(5):
        await waits.wait()
        sender.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.done(), "what was sent is waited for"
        sender.stop()  # again, when there is nothing left to stop
        answer.set()
        await running
    assert len(world.sent) == tally.answered == tally.due == 1


async def test_a_fault_of_the_plan_is_no_stop():
    def plan() -> Iterator[Planned]:
        yield Planned(0.0, WORDS)
        raise TimeoutError("the file's disk does not answer")

    world = World()
    with pytest.raises(TimeoutError, match="disk"):
        await world.run(sender_of(world).run(plan(), tally_of(world)))


async def test_requests_with_pictures_are_told_apart():
    world = World(service_s=0.5)
    tally = tally_of(world)
    plan = [Planned(1.0, WORDS), Planned(2.0, Shape(1, 1, (Size(8, 8),)))]
    await world.run(sender_of(world).run(plan, tally))
    assert (tally.first_token[False].count, tally.first_token[True].count) == (1, 1)
