from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.smooth import Smooth
from internvl_operator.scaling.starts import Starts


def smoothed(*loads: float, chance: float, every_s: float = 5.0) -> float:
    smooth = Smooth()
    for load in loads:
        smooth = smooth.after(load, chance=chance, passed_s=every_s)
    return smooth.load


def test_the_first_load_counts_as_it_is():
    assert smoothed(3.0, chance=1.0) == 3.0


def test_what_chance_explains_counts_by_the_mean():
    assert smoothed(*[4.0] * 20, 5.5, chance=1.0) == pytest.approx(4.33, abs=0.01)


def test_what_chance_does_not_explain_counts_at_once():
    assert smoothed(*[4.0] * 20, 12.0, chance=1.0) == 8.0


def test_a_quarter_more_is_no_clear_rise_however_many_requests_come():
    assert smoothed(*[12.0] * 20, 14.0, chance=0.1) == pytest.approx(12.44, abs=0.01)


def test_less_counts_after_some_seconds():
    assert smoothed(*[12.0] * 20, 4.0, chance=0.1) > 8.0
    assert smoothed(*[12.0] * 20, *[4.0] * 20, chance=0.1) == pytest.approx(4.1, abs=0.1)


def test_it_does_not_depend_on_how_often_is_looked():
    seldom = smoothed(*[2.0] * 10, *[6.0] * 2, chance=9.0)
    often = smoothed(*[2.0] * 10, *[6.0] * 10, chance=9.0, every_s=1.0)
    assert seldom == pytest.approx(often)


def test_a_load_that_replicas_keep_back_counts_as_it_was_seen(service):
    service.play(60, vision=2.0)
    service.now += 5
    part = service.tiles(7.0, answered_replicas=1, expected_replicas=3)
    assert service.round(part, service.tokens(0.5)).sides[Role.VISION].load == pytest.approx(7.0)


def test_the_same_sample_again_changes_nothing(service):
    service.play(60, vision=6.0)
    service.now += 5
    load = service.tiles(1.0)
    first = service.round(load, service.tokens(0.5)).sides[Role.VISION].load
    assert service.round(load, service.tokens(0.5)).sides[Role.VISION].load == first > 3.0


def test_a_clock_that_was_set_back_begins_the_mean_anew(service):
    service.play(60, vision=6.0)
    service.now -= 86_400
    assert service.round(service.tiles(1.0), service.tokens(0.5)).sides[Role.VISION].load == 1.0
    service.now += 5
    assert 1.0 < service.round(service.tiles(2.0), service.tokens(0.5)).sides[Role.VISION].load < 2.0


def test_one_burst_that_is_smoothed_is_no_rule(service):
    service.quiet_s = 8.0
    service.play(60, vision=0.0)
    vision = replace(service.history.of(Role.VISION), starts=Starts((8.0,)))
    service.history = replace(service.history, sides={**service.history.sides, Role.VISION: vision})
    for _ in range(24):
        service.now += 5
        service.round(service.tiles(2.5, requests=2.0), service.tokens(0.5))
    service.play(120, vision=0.0)
    assert service.history.of(Role.VISION).rises.reserve == 0.0
