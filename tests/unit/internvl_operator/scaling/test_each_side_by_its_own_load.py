import math
from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling import needs
from internvl_operator.scaling.model import Limit
from internvl_operator.scaling.rises import Pace


def test_pictures_scale_vision_alone(service):
    decision = service.play(60, vision=5.0, language=0.3)[-1]
    assert decision.targets[Role.VISION] > 5
    assert decision.targets[Role.LANGUAGE] == 1


def test_text_scales_language_alone(service):
    decision = service.play(60, vision=0.0, language=5.0)[-1]
    assert decision.targets[Role.VISION] == 1
    assert decision.targets[Role.LANGUAGE] > 5


def test_prompt_and_output_tokens_add_up(service):
    service.round(service.tiles(0), service.tokens(3.0))
    side = service.round(service.tiles(0), service.tokens(3.0)).sides[Role.LANGUAGE]
    assert side.load == pytest.approx(3.0)


def test_a_new_service_keeps_a_quarter_of_its_load_in_reserve(service):
    side = service.round(service.tiles(8.0), service.tokens(0.1)).sides[Role.VISION]
    assert side.needed == pytest.approx(
        8.0 * 1.25 + math.sqrt(8.0 * 1.25 * 0.1)
    )  # a request is 0.1 s of work


def test_the_number_rises_at_once(service):
    service.play(120, vision=1.0)
    service.now += 5
    assert service.round(service.tiles(6.0), service.tokens(0.5)).targets[Role.VISION] >= 7


def test_what_waits_is_worked_off_over_the_start_time_and_no_faster(service):
    service.round(service.tiles(2.0), service.tokens(0.1))
    calm = service.round(service.tiles(2.0), service.tokens(0.1)).sides[Role.VISION]
    service.now += 5
    side = service.round(service.tiles(2.0, waiting=70.0), service.tokens(0.1)).sides[Role.VISION]
    assert side.needed - calm.needed == pytest.approx(70 / 35)  # vision starts within 30 s, seen 5 s late


def test_a_shorter_objective_keeps_more_for_chance(service, made):
    def needed(first_token_s: float) -> float:
        load = service.tiles(6.0, requests=12.0)
        history = service.round(load, service.tokens(0.1)).history.of(Role.VISION)
        pace = Pace(horizon_s=35, quiet_s=300, window_s=5, first_token_s=first_token_s)
        return needs.need(load, history, base=6.0, pace=pace).chance

    assert needed(0.25) == pytest.approx(2 * needed(1.0))


def test_no_request_asks_for_no_more_than_a_few(service):
    """After bursts the learned reserve stays; chance in it is that of the requests that came last."""
    service.play(4 * 3600, vision=lambda second: 12.0 if second % 1800 < 60 else 1.0)
    few = service.round(service.tiles(0.01, requests=0.1), service.tokens(0.1)).sides[Role.VISION]
    service.play(600, vision=0.0)
    none = service.round(service.tiles(0.0, requests=0.0), service.tokens(0.1)).sides[Role.VISION]
    assert service.history.of(Role.VISION).rises.reserve > 2
    assert none.needed <= few.needed


def test_the_bounds_hold_and_are_said(service):
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], minimum=2, maximum=3)
    low = service.round(service.tiles(0.1), service.tokens(0.1)).sides[Role.VISION]
    assert (low.target, low.limited_by) == (2, Limit.MINIMUM)
    service.now += 5
    high = service.round(service.tiles(9.0), service.tokens(0.1)).sides[Role.VISION]
    assert (high.target, high.limited_by) == (3, Limit.MAXIMUM)


def test_an_open_schedule_is_a_floor_below_the_maximum(service):
    floored = replace(service.bounds[Role.VISION], floor=4, floor_why="the schedule '0 8 * * 1-5'")
    service.bounds[Role.VISION] = floored
    side = service.round(service.tiles(0.1), service.tokens(0.1)).sides[Role.VISION]
    assert (side.target, side.limited_by) == (4, Limit.SCHEDULE)
    service.bounds[Role.VISION] = replace(floored, maximum=3)
    service.now += 5
    assert service.round(service.tiles(0.1), service.tokens(0.1)).targets[Role.VISION] == 3


def test_a_side_that_never_starts_does_not_hold_up_the_other(service):
    service.stands[Role.LANGUAGE] = 5
    service.ready = {Role.LANGUAGE: 0}
    decision = service.play(600, vision=6.0, language=4.0)[-1]
    assert decision.targets[Role.VISION] >= 7
    assert decision.targets[Role.LANGUAGE] >= 5


def test_a_side_of_somebody_else_is_not_decided(service):
    from internvl_operator.scaling.decide import decide
    from internvl_operator.scaling.model import Observation

    seen = {Role.VISION: service.see(Role.VISION, service.tiles(3.0))}
    decision = decide(Observation(sides=seen), service.history, service.settings(), service.now)
    assert list(decision.targets) == [Role.VISION]
