import pytest

from internvl_operator.scaling.capacity import FARTHEST, TRUST, Capacity, learned
from internvl_operator.scaling.model import Work


def full(speed: float, seconds: float) -> Work:
    """A window in which replicas were full for so many seconds and managed `speed`."""
    return Work(arriving=0.0, done_while_full=speed * seconds, seconds_while_full=seconds)


def after(known: Capacity | None, work: Work, *, windows: int = 1, stated: float | None = None) -> Capacity:
    for _ in range(windows):
        known = learned(known, work, stated, window_s=work.seconds_while_full)
    assert known is not None
    return known


def test_nothing_is_known_until_a_replica_was_full():
    assert learned(None, Work(arriving=99.0), None, window_s=5) is None
    assert learned(None, full(20.0, 1.0), None, window_s=5) is None  # too short to be measured


def test_it_starts_from_what_is_stated():
    assert after(None, Work(arriving=0.0), stated=19.8).value == 19.8


def test_without_a_stated_figure_it_is_the_mean_of_the_first_windows():
    assert after(after(None, full(10.0, 10.0)), full(20.0, 10.0)).value == pytest.approx(15.0)


def test_a_window_in_which_many_were_full_is_no_longer_than_one_in_which_one_was():
    known = learned(None, full(4.0, 100.0), None, window_s=10)
    assert known == Capacity(4.0, 10.0) and known.is_unproven
    known = learned(known, full(20.0, 40.0), None, window_s=10)
    assert known == Capacity(12.0, 20.0) and known.is_unproven
    known = learned(known, full(20.0, 5.0), None, window_s=10)
    assert known == Capacity(pytest.approx(13.6), 25.0)
    assert not after(known, full(20.0, 5.0)).is_unproven


def test_a_window_without_a_length_is_one_all_the_same():
    assert learned(Capacity(20.0), full(4.0, 100.0), None, window_s=0) == Capacity(4.0, 2.0)


def test_it_comes_to_what_is_measured():
    assert after(None, full(30.0, 5.0), windows=200, stated=20.0).value == pytest.approx(30.0, rel=0.02)
    assert after(None, full(12.0, 5.0), windows=200, stated=20.0).value == pytest.approx(12.0, rel=0.02)


@pytest.mark.parametrize("speed", [0.01, 1000.0])
def test_one_bad_window_moves_it_by_five_percent_at_most(speed):
    value = after(None, full(speed, 10_000.0), stated=20.0).value
    assert value != 20.0
    assert abs(value - 20.0) <= 20.0 * (FARTHEST - 1) * 0.25 + 1e-9


@pytest.mark.parametrize("speed", [0.01, 1000.0])
def test_it_stays_within_four_times_what_is_stated(speed):
    value = after(None, full(speed, 100.0), windows=2000, stated=20.0).value
    assert 20.0 / TRUST <= value <= 20.0 * TRUST


def test_a_replica_that_stood_still_was_not_measured():
    assert after(None, full(0.0, 60.0), windows=50, stated=20.0).value == 20.0


def test_it_survives_a_time_without_measurements():
    known = after(None, full(30.0, 5.0), windows=200, stated=20.0)
    assert after(known, Work(arriving=5.0), windows=1000, stated=20.0) == known


def test_another_stated_figure_begins_anew_and_a_rounded_one_does_not():
    known = after(None, full(30.0, 5.0), windows=200, stated=20.0)
    assert after(known, Work(arriving=0.0), stated=22.0) == known
    assert after(known, Work(arriving=0.0), stated=60.0).value == 60.0


def test_what_was_learned_is_kept_when_nobody_states_a_figure_any_more():
    known = after(None, full(30.0, 5.0), windows=200, stated=20.0)
    assert after(known, Work(arriving=0.0), stated=None).value == known.value
    assert after(known, Work(arriving=0.0), windows=2, stated=None).value == known.value


def test_a_figure_that_nobody_states_any_more_bounds_nothing():
    known = after(None, full(200.0, 5.0), windows=200, stated=20.0)
    assert known.value == 20.0 * TRUST
    moved = after(known, full(200.0, 5.0), stated=None)
    assert known.value < moved.value <= known.value * 1.05
    assert after(known, full(200.0, 5.0), windows=200, stated=None).value == pytest.approx(200.0, rel=0.02)
