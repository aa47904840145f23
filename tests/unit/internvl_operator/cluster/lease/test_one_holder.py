import asyncio
from typing import Any

import pytest

from internvl_operator.cluster.lease import Lease, LeaseConflict, LeaseLost, LeaseUnreachable
from internvl_operator.errors import NotYet


class Api:
    """One Lease with Kubernetes' optimistic locking."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0
        self.away = False
        self.lose_answer = False

    async def read(self):
        self._check()
        return None if self.stored is None else {**self.stored}

    async def create(self, lease):
        self._check()
        if self.stored is not None:
            raise LeaseConflict("exists")
        return self._store(lease)

    async def replace(self, lease):
        self._check()
        if self.stored is None or lease["metadata"]["resourceVersion"] != str(self.version):
            raise LeaseConflict("written since")
        stored = self._store(lease)
        if self.lose_answer:
            self.lose_answer = False
            raise LeaseUnreachable("answer lost")
        return stored

    def _check(self):
        if self.away:
            raise LeaseUnreachable("down")

    def _store(self, lease):
        self.version += 1
        self.stored = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        return self.stored

    @property
    def holder(self) -> str:
        return self.stored["spec"]["holderIdentity"]


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def new_lease(api, clock):
    def make(identity: str, sleep=None) -> Lease:
        return Lease(
            api,
            name="l",
            namespace="n",
            identity=identity,
            duration_s=15.0,
            monotonic=clock.monotonic,
            sleep=sleep or clock.sleep,
            wall=clock.now,
        )

    return make


async def test_a_free_lease_is_taken_at_once(api, new_lease, clock):
    await new_lease("a").acquire()

    assert api.holder == "a"
    assert clock.seconds == 0.0


async def test_a_dead_holder_is_replaced_after_the_duration_as_watched_from_here(api, new_lease, clock):
    await new_lease("a").acquire()
    # Whatever the holder's clock wrote: only changes that are seen count.
    api.stored["spec"]["renewTime"] = "2099-01-01T00:00:00.000000Z"

    await new_lease("b").acquire()

    assert api.holder == "b"
    assert 15.0 < clock.seconds < 20.0
    assert api.stored["spec"]["leaseTransitions"] == 1


async def test_a_living_holder_is_never_replaced(api, new_lease, clock):
    holder = new_lease("a")
    await holder.acquire()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        await holder._renew()
        if clock.seconds > 120:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await new_lease("b", sleep).acquire()
    assert api.holder == "a"


async def test_a_released_lease_is_taken_within_one_retry(api, new_lease, clock):
    holder = new_lease("a")
    await holder.acquire()
    waiter = asyncio.create_task(new_lease("b").acquire())
    await asyncio.sleep(0)
    await holder.release()
    began = clock.seconds

    await waiter

    assert api.holder == "b"
    assert clock.seconds - began < 3.0


async def test_the_holder_stops_writing_before_another_may_take_over_and_goes_on_after_an_outage(
    api, new_lease, clock
):
    holder = new_lease("a")
    await holder.acquire()
    allowed: dict[float, bool] = {}

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        api.away = clock.seconds < 40.0
        try:
            holder.check()
        except NotYet:
            allowed[clock.seconds] = False
        else:
            allowed[clock.seconds] = True
        if clock.seconds > 60.0:
            raise EOFError

    holder._sleep = sleep
    with pytest.raises(EOFError):
        await holder.keep()

    assert not any(may for second, may in allowed.items() if 10.0 < second < 40.0)
    assert allowed[max(allowed)]
    assert api.holder == "a"


async def test_a_short_outage_is_survived(api, new_lease, clock):
    holder = new_lease("a")
    await holder.acquire()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        api.away = clock.seconds < 8.0
        if clock.seconds > 60:
            raise EOFError

    holder._sleep = sleep
    with pytest.raises(EOFError):
        await holder.keep()
    assert api.holder == "a"


async def test_a_renewal_whose_answer_was_lost_is_no_loss(api, new_lease, clock):
    holder = new_lease("a")
    await holder.acquire()
    api.lose_answer = True

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        if clock.seconds > 60:
            raise EOFError

    holder._sleep = sleep
    with pytest.raises(EOFError):
        await holder.keep()
    assert api.holder == "a"


async def test_the_holder_ends_when_another_has_taken_the_lease(api, new_lease):
    holder = new_lease("a")
    await holder.acquire()
    api._store({**api.stored, "spec": {**api.stored["spec"], "holderIdentity": "b"}})

    with pytest.raises(LeaseLost, match="now held by b"):
        await holder.keep()


async def test_a_process_that_was_stopped_for_long_may_not_write(new_lease, clock):
    holder = new_lease("a")
    await holder.acquire()
    holder.check()

    clock.seconds += 16

    with pytest.raises(NotYet):
        holder.check()


async def test_of_two_that_ask_at_once_one_gets_it(api, new_lease, clock):
    first, second = new_lease("a"), new_lease("b")
    one = asyncio.create_task(first.acquire())
    two = asyncio.create_task(second.acquire())
    done, pending = await asyncio.wait({one, two}, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    for task in pending:
        task.cancel()
    assert api.holder in ("a", "b")
