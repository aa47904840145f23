import asyncio
import itertools
from collections.abc import Callable

import pytest

from internvl_operator.reconcile.loop import Backoff, WorkQueue


class Clock:
    """Timers that fire when a test moves the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay, callback):
        entry, timers = (self.now + delay, callback), self.timers
        self.timers.append(entry)

        class Handle:
            def cancel(self) -> None:
                if entry in timers:
                    timers.remove(entry)

        return Handle()

    def move(self, seconds: float) -> None:
        self.now += seconds
        for entry in [item for item in self.timers if item[0] <= self.now]:
            self.timers.remove(entry)
            entry[1]()


async def spin() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def start(clock):
    tasks = []

    def run(reconcile, **options) -> WorkQueue[str]:
        queue: WorkQueue[str] = WorkQueue(reconcile, clock=clock, **options)
        tasks.append(asyncio.create_task(queue.run()))
        return queue

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_additions_are_one_run(start):
    runs = []

    async def reconcile(key):
        runs.append(key)

    queue = start(reconcile)
    for _ in range(10):
        queue.add("a")
    await spin()

    assert runs == ["a"]


async def test_a_key_that_changes_while_it_runs_runs_once_more_and_never_twice_at_a_time(start):
    gate, running, runs, most = asyncio.Event(), 0, 0, 0

    async def reconcile(key):
        nonlocal running, runs, most
        running += 1
        runs += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    queue = start(reconcile)
    queue.add("a")
    await spin()
    queue.add("a")
    queue.add("a")
    await spin()
    assert runs == 1
    gate.set()
    await spin()

    assert (runs, most) == (2, 1)


async def test_other_keys_run_beside_but_not_more_than_allowed(start):
    gate, running, most = asyncio.Event(), 0, 0

    async def reconcile(key):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    queue = start(reconcile, concurrency=3)
    for key in "abcdef":
        queue.add(key)
    await spin()
    assert running == 3
    gate.set()
    await spin()

    assert (running, most) == (0, 3)


async def test_a_key_comes_back_when_its_reconcile_asked_for_it(start, clock):
    runs = []

    async def reconcile(key):
        runs.append(clock.now)
        return 5.0

    start(reconcile).add("a")
    await spin()
    clock.move(4.9)
    await spin()
    assert runs == [0.0]
    clock.move(0.2)
    await spin()

    assert runs == [0.0, pytest.approx(5.1)]


async def test_an_earlier_time_wins_and_a_run_clears_the_later_one(start, clock):
    runs = []

    async def reconcile(key):
        runs.append(clock.now)

    queue = start(reconcile)
    queue.add_after("a", 10.0)
    queue.add_after("a", 3.0)
    queue.add_after("a", 60.0)
    clock.move(3.0)
    await spin()
    clock.move(100.0)
    await spin()

    assert runs == [3.0]


async def test_failures_back_off_with_growing_pauses_and_a_success_resets_them(start, clock, caplog):
    fail, runs = True, []

    async def reconcile(key):
        runs.append(clock.now)
        if fail:
            raise RuntimeError("boom")

    queue = start(reconcile, backoff=Backoff(first_s=1.0, most_s=8.0))
    queue.add("a")
    for _ in range(6):
        await spin()
        due = clock.timers[0][0]
        clock.move(due - clock.now)
    pauses = [later - earlier for earlier, later in itertools.pairwise(runs)]

    assert all(0.7 < pause < 10.1 for pause in pauses)
    assert pauses[-1] > 4 * pauses[0]
    assert "boom" in caplog.text

    fail = False
    await spin()
    assert clock.timers == []


async def test_closing_cancels_what_runs_and_what_would_come(clock):
    cancelled = False

    async def reconcile(key):
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    queue: WorkQueue[str] = WorkQueue(reconcile, clock=clock)
    task = asyncio.create_task(queue.run())
    queue.add("a")
    queue.add_after("b", 5.0)
    await spin()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert cancelled
    assert clock.timers == []


async def test_the_longest_run_is_known_to_the_liveness_check(start, clock):
    async def reconcile(key):
        await asyncio.Event().wait()

    queue = start(reconcile)
    assert queue.longest_s() == 0.0
    queue.add("a")
    await spin()
    clock.move(130.0)

    assert queue.longest_s() == 130.0
