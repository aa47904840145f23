"""Rates between values that changed: an exporter tells the same value again and again between two reports."""

import pytest

from internvl_operator.cluster.replica_counters import ReplicaCounters

TILES = ("tiles", "")


def look(counters, value, times, *, every_s, report_s, begin=0.0):
    """Look at a counter that `value(time)` gives, of which a report shows what it was at a multiple of `report_s`."""
    seen = []
    for step in range(times):
        now = begin + step * every_s
        counters.take(now, {TILES: value(now // report_s * report_s)}, {})
        seen.append(counters.rates().get(TILES))
    return seen


@pytest.mark.parametrize(
    ("report_s", "every_s"), [(10.0, 5.0), (10.0, 2.0), (10.0, 4.0), (1.0, 2.0), (0.5, 2.0)]
)
def test_a_steady_load_is_steady_however_seldom_it_is_reported(report_s, every_s):
    counters = ReplicaCounters(report_s)
    seen = look(counters, lambda now: 8.0 * now, 40, every_s=every_s, report_s=report_s)
    settled = seen[20:]
    assert all(rate == pytest.approx(8.0, rel=0.3) for rate in settled)
    assert sum(settled) / len(settled) == pytest.approx(8.0, rel=0.1)


def test_a_report_that_comes_between_looks_is_wrong_by_a_part_of_it_at_most():
    seen = look(ReplicaCounters(2.5), lambda now: 8.0 * now, 40, every_s=2.0, report_s=2.5)
    assert {rate for rate in seen[20:]} <= {5.0, 10.0}, "two or four seconds for what was two and a half"


def test_one_sample_is_no_rate():
    counters = ReplicaCounters(1.0)
    counters.take(0.0, {TILES: 5.0}, {})
    assert counters.rates() == {} and counters.window_s == 0


def test_rest_is_zero_once_a_report_is_overdue():
    counters = ReplicaCounters(10.0)
    look(counters, lambda now: 8.0 * min(now, 60.0), 31, every_s=2.0, report_s=10.0)
    for now in (62.0, 66.0, 70.0, 74.0):
        counters.take(now, {TILES: 480.0}, {})
        assert counters.rates()[TILES] > 0, "a report may be late"
    for now in (76.0, 82.0, 92.0):
        counters.take(now, {TILES: 480.0}, {})
    assert counters.rates()[TILES] == 0


def test_a_step_after_a_rest_is_not_spread_over_the_rest():
    counters = ReplicaCounters(1.0)
    for step in range(30):
        counters.take(step * 2.0, {TILES: 0.0}, {})
    counters.take(60.0, {TILES: 20.0}, {})
    assert counters.rates()[TILES] == 5.0, "twenty within the window, not within the minute"
    counters.take(62.0, {TILES: 40.0}, {})
    assert counters.rates()[TILES] == 10.0, "and all of it one look later"


def test_a_counter_that_fell_and_a_clock_that_went_back_make_no_spike():
    counters = ReplicaCounters(1.0)
    counters.take(0.0, {TILES: 1000.0}, {})
    counters.take(2.0, {TILES: 1010.0}, {})
    counters.take(4.0, {TILES: 3.0}, {})
    assert counters.rates() == {}
    counters.take(6.0, {TILES: 7.0}, {})
    assert counters.rates()[TILES] == 2.0
    counters.take(1.0, {TILES: 9.0}, {})
    assert counters.rates() == {}


def test_the_interval_of_reports_is_seen_as_what_has_passed_and_then_as_what_is_usual():
    counters = ReplicaCounters(10.0)
    look(counters, lambda now: 8.0 * now, 8, every_s=1.0, report_s=10.0)
    assert counters.seen_interval_s == 7.0, "at least"
    look(counters, lambda now: 8.0 * now, 40, every_s=1.0, report_s=10.0, begin=8.0)
    assert counters.seen_interval_s == 10.0


def test_memory_is_bounded():
    counters = ReplicaCounters(1.0)
    look(counters, lambda now: now, 1000, every_s=1.0, report_s=1.0)
    assert len(counters.samples) <= 16 and len(counters.spacings) <= 5
