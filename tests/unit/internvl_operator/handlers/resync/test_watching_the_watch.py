import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.handlers.resync import ALL_EVERY, KindGone, Resync

A, B = ServiceKey("ns", "a"), ServiceKey("ns", "b")


class World:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.added: list[ServiceKey] = []
        self.known: set[ServiceKey] = set()
        self.resync = Resync(
            self.list,
            add=self.added.append,
            known=lambda: self.known,
            monotonic=lambda: self.seconds,
            sleep=self.sleep,
        )
        self.fault: ApiFault | None = None
        self.lists = 0

    async def list(self):
        self.lists += 1
        if self.fault:
            raise self.fault
        return []

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.lists >= 3:
            raise EOFError


@pytest.fixture
def world():
    return World()


def listed(**versions: str) -> list[dict]:
    return [
        {"metadata": {"namespace": "ns", "name": name, "resourceVersion": version}}
        for name, version in versions.items()
    ]


def test_what_the_watch_delivered_already_is_not_read_again(world):
    world.resync.on_key(A, "1", deleted=False)
    world.added.clear()

    world.resync.compare(listed(a="1"))

    assert world.added == []
    assert world.resync.stalled_for() == 0.0


def test_what_the_watch_missed_is_due(world):
    world.resync.on_key(A, "1", deleted=False)
    world.added.clear()

    world.resync.compare(listed(a="2", b="3"))

    assert sorted(world.added) == [A, B]


def test_a_deletion_that_the_watch_missed_is_found(world):
    world.resync.on_key(A, "1", deleted=False)
    world.added.clear()

    world.resync.compare([])

    assert world.added == [A]


def test_a_watch_that_owes_a_change_for_long_has_stalled(world):
    world.resync.compare(listed(a="2"))
    world.seconds += 130.0
    world.resync.compare(listed(a="2"))

    assert world.resync.stalled_for() == 130.0


def test_a_watch_that_is_only_a_moment_late_has_not(world):
    world.resync.compare(listed(a="2"))
    world.resync.on_key(A, "2", deleted=False)
    world.seconds += 130.0

    assert world.resync.stalled_for() == 0.0


def test_now_and_then_everything_is_due(world):
    world.resync.on_key(A, "1", deleted=False)
    world.known = {B}
    world.added.clear()
    for _ in range(ALL_EVERY):
        world.resync.compare(listed(a="1"))

    assert sorted(world.added) == [A, B]


async def test_an_api_server_that_is_away_is_asked_again(world):
    world.fault = ApiFault(0, "away")

    with pytest.raises(EOFError):
        await world.resync.run()
    assert world.lists == 3


async def test_a_kind_that_is_gone_ends_the_process(world):
    world.fault = ApiFault(404, "no such kind")

    with pytest.raises(KindGone):
        await world.resync.run()


def test_a_deletion_that_is_never_delivered_does_not_make_the_watch_count_as_stalled_for_ever(world):
    """A watch whose place was too old lists anew, and tells nothing of what vanished meanwhile."""
    world.resync.on_key(A, "1", deleted=False)
    for _ in range(3):
        world.resync.compare([])
        world.seconds += 60.0
    assert world.resync.stalled_for() == 0.0

    world.added.clear()
    world.resync.compare([])
    assert world.added == []


def test_a_service_made_while_a_list_was_read_is_not_taken_for_deleted(world):
    world.resync.on_key(A, "1", deleted=False)
    world.resync.compare([])
    world.seconds += 60.0
    world.resync.compare(listed(a="1"))

    assert world.resync.stalled_for() == 0.0


async def test_while_the_api_server_is_away_the_watch_is_not_blamed(world):
    world.resync.compare(listed(a="2"))
    world.fault = ApiFault(0, "connection refused")
    with pytest.raises(EOFError):
        await world.resync.run()
    assert world.seconds > 120
    assert world.resync.stalled_for() == 0.0
