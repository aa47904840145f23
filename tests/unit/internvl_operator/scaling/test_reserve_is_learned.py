from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.model import WorkKind
from internvl_operator.scaling.needs import FIRST_SHARE
from internvl_operator.scaling.rises import MISSED, TOPS, Pace, Rises
from tests.unit.internvl_operator.scaling.conftest import TILES

pytestmark = pytest.mark.timeout(180)  # hours of rounds: seconds, and more on a busy machine

HORIZON_S = 30.0
ROUND_S = 5.0


def learned(loads, rises=None, *, begun=0.0, horizon_s=HORIZON_S, first_token_s=1.0) -> Rises:
    pace = Pace(horizon_s=horizon_s, quiet_s=300.0, window_s=ROUND_S, first_token_s=first_token_s)
    rises = Rises() if rises is None else rises
    for index, load in enumerate(loads):
        rises = rises.after(load, made_for=load, clock=begun + index * ROUND_S, pace=pace)
    return rises


def bursts(count: int, height: float, *, lasting: int = 12, apart: int = 120, base: float = 2.0):
    """Loads of a calm base with bursts of one minute every ten."""
    for _ in range(count):
        yield from [base] * (apart - lasting)
        yield from [base + height] * lasting


def test_a_constant_load_needs_no_reserve():
    assert learned([5.0] * 2000).reserve == 0.0


def test_a_falling_load_needs_none():
    assert learned([20 - index / 100 for index in range(2000)]).reserve == 0.0


def test_one_burst_is_no_rule():
    assert learned(bursts(1, 8.0, apart=1000)).reserve == 0.0
    assert learned(bursts(1, 8.0, apart=1000), horizon_s=180.0).reserve == 0.0


def test_bursts_that_come_again_are_kept_in_reserve():
    reserve = learned(bursts(30, 8.0)).reserve
    assert 6.5 <= reserve <= 8.0  # buckets are 15 % wide, and a second of the work may wait


def test_bursts_for_which_the_quiet_window_keeps_replicas_need_none():
    assert learned(bursts(60, 8.0, apart=48)).reserve == 0.0  # every four minutes


def test_it_is_the_rise_beyond_which_half_a_percent_of_the_work_came():
    # The calm hours and their bursts are 43,200 replica-seconds of work, a spike of five seconds is 90.
    few = learned([*bursts(30, 4.0), *bursts(2, 16.0, lasting=1)])
    many = learned([*bursts(30, 4.0), *bursts(4, 16.0, lasting=1)])
    assert MISSED == 0.005
    assert few.reserve <= 4.0
    assert many.reserve >= 11.0


def test_a_burst_of_an_idle_side_counts_by_its_work_not_by_its_seconds():
    crowds = learned(
        bursts(4, 20.0, lasting=120, apart=720, base=0.0)
    )  # 120 s of rises in four hours, 30 s each
    assert 18.0 <= crowds.reserve <= 20.0


def test_what_may_wait_needs_no_reserve():
    spikes = [6.0 if index % 120 == 0 else 5.0 for index in range(4000)]
    assert learned(spikes).reserve == 0.0
    assert learned(spikes, first_token_s=0.1).reserve > 0.5


def test_a_side_that_starts_slowly_needs_more():
    ramp = [index % 240 / 20 for index in range(4000)]  # rises by 0.01 a second for twenty minutes
    fast, slow = learned(ramp, first_token_s=0), learned(ramp, horizon_s=300.0, first_token_s=0)
    assert fast.reserve == pytest.approx(0.01 * 30, rel=0.25)
    assert slow.reserve == pytest.approx(0.01 * 300, rel=0.25)


def test_old_rises_are_forgotten_within_a_day():
    rises = learned(bursts(30, 8.0))
    assert rises.reserve > 6.5
    later = learned([2.0] * 17_280, rises, begun=30 * 600.0)
    assert later.reserve == 0.0


def test_what_is_kept_is_bounded():
    rises = learned(((index * 7919) % 1000) * 10.0 for index in range(5000))
    assert len(rises.slots) <= 15
    assert len(rises.made_for.needed) <= 16
    assert len(rises.tops) <= TOPS
    assert len(rises.buckets) <= 81


def test_the_default_reserve_fades_as_learning_goes_on(service):
    service.play(30, vision=8.0)
    early = service.play(5, vision=8.0)[-1].sides[Role.VISION].needed
    late = service.play(2 * 3600, vision=8.0)[-1].sides[Role.VISION].needed
    assert early - 8.0 > 0.9 * FIRST_SHARE * 8.0
    assert late - 8.0 < 1.0  # chance alone is left


def test_at_the_top_of_a_burst_there_is_nothing_left_to_rise_to(service):
    for _ in range(20):
        service.play(540, vision=2.0)
        top = service.play(60, vision=8.0)[-1].sides[Role.VISION]
    calm = service.play(600, vision=2.0)[-1].sides[Role.VISION]
    assert 7.5 <= calm.needed <= 8.5  # room for a burst
    assert 9.0 <= top.needed <= 9.5  # a tenth above the highest load, and chance; not a second burst on top


def test_replicas_that_say_nothing_teach_no_rise(service):
    for index in range(1500):
        service.now += 5
        is_whole = index % 60 < 30
        load = service.tiles(
            8.0 if is_whole else 1.0, answered_replicas=5 if is_whole else 1, expected_replicas=5
        )
        service.round(load, service.tokens(0.5))
    assert service.history.of(Role.VISION).rises.reserve == 0.0


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_replicas_that_manage_another_number_keep_the_reserve_of_as_many_tiles(service, factor):
    for _ in range(20):
        service.play(540, vision=2.0)
        service.play(60, vision=8.0)
    service.play(600, vision=2.0)
    reserve = service.history.of(Role.VISION).rises.reserve
    assert reserve > 5.0
    vision = service.bounds[Role.VISION]
    service.bounds[Role.VISION] = replace(vision, capacity={WorkKind.TILES: factor * TILES})
    service.play(5, vision=2.0)
    after = service.history.of(Role.VISION).rises
    assert after.reserve == pytest.approx(reserve / factor, rel=0.16), "buckets are 15 % wide"
    assert after.peak == pytest.approx(8.0 / factor, rel=0.1)
    service.play(600, vision=2.0)
    assert service.history.of(Role.VISION).rises.reserve <= 1.16 * reserve / factor
