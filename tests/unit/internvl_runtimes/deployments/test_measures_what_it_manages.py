"""What a vision replica tells of itself: work, and how much of it was done while it was full."""

import pytest

from internvl_runtimes.contract import metrics
from internvl_runtimes.deployments.tile_meter import TileMeter
from internvl_runtimes.engines.base import EngineFailed
from tests.unit.internvl_runtimes.deployments.fakes import Clock, Recorded


class Setting:
    def __init__(self, limit: int = 4) -> None:
        self.clock, self.recorded = Clock(), Recorded()
        self.meter = TileMeter(self.recorded, self.clock)
        self.meter.batch_limit = limit

    def batch(self, tiles: int, seconds: float) -> None:
        with self.meter.batch(tiles):
            self.clock.now += seconds

    def told(self) -> tuple[float, float, float, float]:
        """Work, busy seconds, saturated work, saturated seconds: all until now."""
        self.meter.record_load()
        total = self.recorded.total
        return (
            total(metrics.WORK, stage="vision"),
            total(metrics.BUSY_SECONDS, stage="vision"),
            total(metrics.SATURATED_WORK, stage="vision"),
            total(metrics.SATURATED_SECONDS, stage="vision"),
        )


def test_a_replica_with_one_batch_is_busy_but_not_full() -> None:
    setting = Setting(limit=4)
    with setting.meter.request(4):
        setting.batch(4, 2.0)
    assert setting.told() == (4, 2.0, 0, 0)


def test_a_replica_with_more_than_a_batch_is_full_and_tells_what_it_manages() -> None:
    setting = Setting(limit=4)
    with setting.meter.request(4), setting.meter.request(4), setting.meter.request(4):
        setting.batch(4, 2.0)
        setting.batch(4, 2.0)
    assert setting.told() == (8, 4.0, 8, 4.0)


def test_waiting_for_the_decoding_of_pictures_belongs_to_what_a_full_replica_manages() -> None:
    setting = Setting(limit=4)
    with setting.meter.request(4), setting.meter.request(4):
        setting.clock.now += 3.0
        setting.batch(4, 1.0)
    assert setting.told() == (4, 1.0, 4, 4.0)


def test_a_batch_that_was_begun_by_a_replica_that_was_not_full_counts_by_its_part() -> None:
    setting = Setting(limit=4)
    with setting.meter.request(4), setting.meter.batch(4):
        setting.clock.now += 3.0
        with setting.meter.request(4):
            setting.clock.now += 1.0
    assert setting.told() == (4, 4.0, 1.0, 1.0)


def test_one_large_request_alone_does_not_make_a_replica_full() -> None:
    setting = Setting(limit=4)
    with setting.meter.request(40):
        setting.clock.now += 5.0
        setting.batch(40, 5.0)
    assert setting.told() == (40, 5.0, 0, 0)


def test_a_failed_batch_took_time_and_did_nothing() -> None:
    setting = Setting(limit=4)
    with (
        setting.meter.request(4),
        setting.meter.request(4),
        pytest.raises(EngineFailed),
        setting.meter.batch(4),
    ):
        setting.clock.now += 2.0
        raise EngineFailed("broken")
    assert setting.told() == (0, 2.0, 0, 2.0)
    assert setting.recorded.total(metrics.TILES_BEGUN) == 4


def test_each_second_is_told_once_also_in_the_middle_of_a_batch() -> None:
    setting = Setting(limit=4)
    with setting.meter.request(4), setting.meter.request(4), setting.meter.batch(4):
        setting.clock.now += 1.0
        assert setting.told() == (0, 0, 0, 1.0)
        setting.clock.now += 1.0
    assert setting.told() == (4, 2.0, 4, 2.0)
    assert setting.told() == (4, 2.0, 4, 2.0)


def test_a_limit_that_changes_under_a_request_leaves_nothing_behind() -> None:
    setting = Setting(limit=8)
    with setting.meter.request(8):
        setting.meter.batch_limit = 2
        setting.clock.now += 1.0
    setting.clock.now += 10.0
    assert setting.told()[3] == 1.0, "full while eight tiles met a limit of two, not after"
