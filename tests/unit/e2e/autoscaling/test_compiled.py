"""The simulator's compiled loops."""

import numpy as np
import pytest

from e2e.bench.autoscaling.simulator import compiled


def test_loops_are_compiled_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(*, cache: bool) -> object:
        if cache:
            raise RuntimeError("cannot cache function 'add': no locator available")
        return lambda function: ("compiled", function)

    monkeypatch.setattr("numba.njit", njit)
    assert compiled.machine_code(abs) == ("compiled", abs)


def test_of_one_time_what_came_directly_is_queued_first_and_what_is_not_there_yet_stays() -> None:
    came_at, came = np.array([3.0, 9.0, 2.0]), np.array([10, 11, 12])
    queue_at, queued = np.empty(5), np.empty(5, np.int64)
    others = compiled.queue(5.0, came_at, came, 3, np.array([2.0, 7.0]), np.array([20, 21]), queue_at, queued)
    assert others == (1, 1)
    assert queued[:3].tolist() == [20, 12, 10] and queue_at[:3].tolist() == [2.0, 2.0, 3.0]
    assert (came_at[0], came[0]) == (9.0, 11)


def test_each_request_begins_on_the_replica_that_is_free_first() -> None:
    free, ended = np.array([4.0, 6.0]), np.empty(4)
    service = np.array([10.0, 1.0, 1.0, 1.0])
    begun = compiled.encode(free, np.array([0.0, 5.0, 5.0, 8.0]), service, 9.0, ended)
    assert begun == 4 and ended.tolist() == [14.0, 7.0, 8.0, 9.0]
    assert sorted(free.tolist()) == [9.0, 14.0]


def test_an_answer_longer_than_any_before_finds_its_place() -> None:
    number, output = np.array([1]), np.array([0, 1_000])
    first_token, allowed = np.array([0.0, 2.0]), np.array([0.0, 1.5])
    ends = np.zeros(8, np.int64)
    ends, outputs, late = compiled.answer(number, output, first_token, allowed, 1.0, 100.0, 10.0, ends)
    assert (outputs, late) == (1_000, 1)
    assert np.flatnonzero(ends).tolist() == [100 + 10 + 1_000]
