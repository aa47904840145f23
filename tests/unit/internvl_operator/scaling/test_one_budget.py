from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internvl_operator.api.names import Role
from internvl_operator.scaling.budget import Claim, alone, split
from internvl_operator.scaling.model import Limit, side_gpus


def claim(needed: float, *, gpus: int = 1, least: int = 1, now: int = 1) -> Claim:
    return Claim(least=least, wanted=max(least, -int(-needed // 1)), needed=needed, now=now, gpus=gpus)


CLAIMS = st.builds(
    claim, st.floats(0, 40), gpus=st.integers(1, 8), least=st.integers(0, 5), now=st.integers(0, 40)
)


@given(vision=CLAIMS, language=CLAIMS, gpus=st.integers(0, 300), pictures=st.floats(0, 1))
def test_it_is_never_overspent_and_nobody_gets_less_than_the_least(vision, language, gpus, pictures):
    ours, theirs = split(vision, language, gpus, pictures)
    assert vision.least <= ours <= vision.wanted
    assert language.least <= theirs <= language.wanted
    fixed = vision.least * vision.gpus + language.least * language.gpus
    assert ours * vision.gpus + theirs * language.gpus <= max(gpus, fixed)


def test_what_fits_is_granted():
    assert split(claim(4.0), claim(3.0, gpus=2), 10, 1.0) == (4, 3)


def test_where_every_request_has_a_picture_both_sides_fall_short_alike():
    assert split(claim(8.0), claim(8.0), 8, 1.0) == (4, 4)
    assert split(claim(12.0), claim(4.0), 8, 1.0) == (6, 2)


def test_where_few_requests_have_pictures_language_comes_first():
    assert split(claim(8.0), claim(8.0), 8, 0.1) == (1, 7)


def test_vision_is_not_starved_by_the_last_replica_of_language():
    ours, theirs = split(claim(8.0), claim(4.0), 8, 0.5)
    assert theirs == 4
    assert ours == 4


def test_a_split_stays_until_another_one_is_clearly_better():
    even = split(claim(8.0, now=4), claim(8.0, now=4), 8, 1.0)
    assert split(claim(8.4, now=even[0]), claim(7.6, now=even[1]), 8, 1.0) == even
    assert split(claim(13.0, now=even[0]), claim(3.0, now=even[1]), 8, 1.0) != even


def test_a_side_with_the_budget_for_itself():
    assert alone(claim(9.0, gpus=2), 8) == 4
    assert alone(claim(9.0, gpus=2, least=5), 8) == 5


def test_a_service_stays_within_its_budget_and_says_so(service):
    service.max_gpus = 8
    decision = service.play(60, vision=6.0, language=4.0)[-1]
    assert side_gpus(service.bounds, decision.targets) <= 8
    limited = [side for side in decision.sides.values() if side.limited_by is Limit.BUDGET]
    assert limited
    assert "are wanted, but scaling.maxGPUs is 8 for both sides" in limited[0].why


def test_a_side_without_gpus_is_not_cut(service):
    service.max_gpus = 4
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], gpus=0)
    decision = service.play(60, vision=9.0, language=9.0)[-1]
    assert decision.targets[Role.VISION] >= 10
    assert decision.targets[Role.LANGUAGE] == 2


def test_what_somebody_else_uses_counts(service):
    service.max_gpus, service.elsewhere_gpus = 10, 6
    decision = service.play(60, vision=9.0, language=9.0)[-1]
    assert side_gpus(service.bounds, decision.targets) <= 4


def test_a_side_whose_load_is_unknown_keeps_its_part(service):
    service.max_gpus = 12
    service.play(60, vision=5.0, language=2.0)
    before = service.stands[Role.VISION]
    for _ in range(50):
        service.now += 5
        decision = service.round(None, service.tokens(9.0))
    assert decision.targets == {Role.VISION: before, Role.LANGUAGE: pytest.approx((12 - before) // 2)}


def test_a_side_that_tells_its_load_in_part_keeps_its_part(service):
    service.max_gpus = 12
    service.play(60, vision=5.0, language=2.0)
    before = service.stands[Role.VISION]
    for _ in range(50):
        service.now += 5
        seen = service.tiles(0.5, answered_replicas=1, expected_replicas=before)
        decision = service.round(seen, service.tokens(9.0))
    assert decision.targets == {Role.VISION: before, Role.LANGUAGE: (12 - before) // 2}
    service.max_gpus = 4
    service.now += 5
    assert side_gpus(service.bounds, service.round(seen, service.tokens(9.0)).targets) <= 4, (
        "a lower budget counts"
    )
