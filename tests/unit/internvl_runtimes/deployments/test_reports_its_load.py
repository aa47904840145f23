import contextlib
import logging

from internvl_runtimes.deployments.reporting import REPORT_S, report_forever


class Ended(BaseException):
    """Ends what goes on for ever."""


class Replica:
    """Its load breaks at some of its reports."""

    def __init__(self, **breaks):
        self.breaks = {int(second.removeprefix("at_")): fault for second, fault in breaks.items()}
        self.second = 0
        self.loads, self.presences = [], []

    def record_load(self):
        if self.second in self.breaks:
            raise self.breaks[self.second]
        self.loads.append(self.second)

    def record_presence(self):
        self.presences.append(self.second)

    async def sleep(self, seconds):
        assert seconds == REPORT_S
        self.second += 1
        if self.second == 10:
            raise Ended

    async def live(self):
        with contextlib.suppress(Ended):
            await report_forever(self.record_load, self.record_presence, sleep=self.sleep)


async def test_a_report_that_breaks_is_not_the_last_one():
    replica = Replica(at_3=RuntimeError("the store is full"))
    await replica.live()
    assert replica.loads == [0, 1, 2, 4, 5, 6, 7, 8, 9]


async def test_a_replica_that_cannot_tell_its_load_does_not_say_that_it_is_there():
    replica = Replica(at_3=RuntimeError("the store is full"))
    await replica.live()
    assert 3 not in replica.presences and 4 in replica.presences


async def test_what_breaks_again_and_again_is_logged_once(caplog):
    seconds = {f"at_{second}": KeyError("tiles") for second in range(1, 9)}
    with caplog.at_level(logging.ERROR):
        await Replica(**{**seconds, "at_5": ValueError("closed")}).live()
    assert [record.exc_info[0] for record in caplog.records] == [KeyError, ValueError]
