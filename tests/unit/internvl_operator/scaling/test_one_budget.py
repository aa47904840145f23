import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internvl_operator.api.names import Role
from internvl_operator.scaling.budget import Claim, alone, split
from internvl_operator.scaling.decide import decide
from internvl_operator.scaling.mix import Mix
from internvl_operator.scaling.model import Limit, Observation, side_gpus
from tests.unit.internvl_operator.scaling.conftest import ROUND_S


def claim(needed: float, *, gpus: int = 1, least: int = 1, now: int = 1) -> Claim:
    return Claim(least=least, wanted=max(least, -int(-needed // 1)), needed=needed, now=now, gpus=gpus)


CLAIMS = st.builds(
    claim, st.floats(0, 40), gpus=st.integers(1, 8), least=st.integers(0, 5), now=st.integers(0, 40)
)


@given(vision=CLAIMS, language=CLAIMS, gpus=st.integers(0, 300), pictures=st.floats(0, 1))
def test_it_is_never_overspent_and_nobody_gets_less_than_the_least(vision, language, gpus, pictures):
    found = split(vision, language, gpus, pictures)
    for ours, theirs in (found.kept, found.best):
        assert vision.least <= ours <= vision.wanted
        assert language.least <= theirs <= language.wanted
        fixed = vision.least * vision.gpus + language.least * language.gpus
        assert ours * vision.gpus + theirs * language.gpus <= max(gpus, fixed)
    if found.kept != found.best:
        assert not (vision.gives(found.kept[0]) or language.gives(found.kept[1]))
        assert vision.gives(found.best[0]) != language.gives(found.best[1]), "one side gives to the other"


def test_what_fits_is_granted():
    assert split(claim(4.0), claim(3.0, gpus=2), 10, 1.0).best == (4, 3)


def test_where_every_request_has_a_picture_both_sides_fall_short_alike():
    assert split(claim(8.0), claim(8.0), 8, 1.0).best == (4, 4)
    assert split(claim(12.0), claim(4.0), 8, 1.0).best == (6, 2)


def test_where_few_requests_have_pictures_language_comes_first():
    assert split(claim(8.0), claim(8.0), 8, 0.1).best == (1, 7)


def test_more_load_may_get_a_side_fewer_where_the_budget_cannot_help_it():
    assert split(claim(2.0), claim(8.0), 8, 0.5).best == (2, 6)
    assert split(claim(30.0), claim(8.0), 8, 0.5).best == (1, 7)


def test_vision_is_not_starved_by_the_last_replica_of_language():
    ours, theirs = split(claim(8.0), claim(4.0), 8, 0.5).best
    assert theirs == 4
    assert ours == 4


def test_a_split_stays_until_another_one_is_clearly_better():
    even = split(claim(8.0, now=4), claim(8.0, now=4), 8, 1.0).best
    assert split(claim(8.4, now=4), claim(7.6, now=4), 8, 1.0).best == even
    other = split(claim(13.0, now=4), claim(4.0, now=4), 8, 1.0)
    assert (other.kept, other.best) == (even, (6, 2))


def test_what_does_not_stand_yet_is_taken_from_nobody():
    found = split(claim(8.0, now=4), claim(8.0, now=1), 8, 1.0)
    assert found.kept == found.best == (4, 4)


def test_a_budget_that_has_become_less_takes_at_once():
    found = split(claim(8.0, now=4), claim(8.0, now=4), 4, 1.0)
    assert found.kept == found.best == (2, 2)


def test_a_burst_takes_nothing_that_would_be_back_only_after_it(service):
    """Language is back after 180 s: a minute of pictures is not worth it."""
    service.max_gpus = 12
    service.play(3600, vision=4.0, language=4.0)
    before = dict(service.stands)
    assert side_gpus(service.bounds, before) == 12
    for decision in service.play(60, vision=12.0, language=4.0):
        assert decision.targets == before
    for decision in service.play(900, vision=4.0, language=4.0):
        assert decision.targets == before


def test_another_traffic_gets_another_split_after_a_start_of_the_side_that_gives(service):
    service.max_gpus = 12
    service.play(3600, vision=4.0, language=4.0)
    before = dict(service.stands)
    decisions = service.play(900, vision=12.0, language=4.0)
    moved = next(index for index, decision in enumerate(decisions) if decision.targets != before)
    assert 180 <= moved * ROUND_S <= 240
    assert decisions[-1].targets[Role.VISION] > before[Role.VISION]


@pytest.mark.parametrize("seed", range(5))
def test_chance_in_the_mix_of_requests_moves_nothing(service, seed):
    """Two requests a second, half of them with a picture: in a window of 5 s that is none or all of them at times."""
    chance = random.Random(seed)
    service.max_gpus = 8
    service.bounds[Role.LANGUAGE] = replace(service.bounds[Role.LANGUAGE], gpus=1)
    changes, before = 0, None
    for index in range(round(7200 / ROUND_S)):
        service.now += ROUND_S
        requests = sum(chance.random() < 0.2 for _ in range(50))
        with_pictures = sum(chance.random() < 0.5 for _ in range(requests))
        decision = service.round(
            service.tiles(8.0, requests=with_pictures / ROUND_S),
            service.tokens(8.0, requests=requests / ROUND_S),
        )
        changes += index > 120 and decision.targets != before
        before = decision.targets
    assert side_gpus(service.bounds, before) == 8
    assert changes == 0


def test_a_dispute_does_not_go_on_over_a_time_in_which_nothing_was_seen(service):
    service.max_gpus = 12
    service.play(3600, vision=4.0, language=4.0)
    before = dict(service.stands)
    service.play(150, vision=12.0, language=4.0)
    service.now += 3600
    for decision in service.play(120, vision=12.0, language=4.0):
        assert decision.targets == before


def test_the_first_picture_of_a_resting_side_needs_no_better_split(service):
    service.max_gpus = 8
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], minimum=0)
    service.stands = {Role.VISION: 0, Role.LANGUAGE: 1}
    full = service.play(3600, vision=0.0, language=9.0)[-1]
    assert full.targets == {Role.VISION: 0, Role.LANGUAGE: 4}
    assert service.play(10, vision=0.2, language=9.0)[-1].targets == {Role.VISION: 1, Role.LANGUAGE: 3}


@pytest.mark.parametrize("seed", range(40))
def test_a_budget_that_is_spent_moves_nothing_where_the_load_is_the_same(service, seed):
    """Any load, noisy or not, for both sides; each may rest, or always has one or two replicas."""
    chance = random.Random(seed)
    least, gpus = chance.choice((0, 0, 1, 2)), chance.choice((1, 2, 4))
    service.bounds[Role.VISION] = replace(
        service.bounds[Role.VISION], minimum=least, gpus=chance.choice((1, 2))
    )
    service.bounds[Role.LANGUAGE] = replace(service.bounds[Role.LANGUAGE], gpus=gpus)
    service.max_gpus = least * 2 + gpus * chance.randint(1, 6) + 2
    pictures, tokens, noise = (
        chance.choice((0.02, 0.3, 2.0, 8.0)),
        chance.uniform(0.2, 14),
        chance.choice((0.0, 0.1)),
    )

    def played(load, requests):
        return {"load": max(0.0, chance.gauss(load, noise * load)), "requests": requests}

    seen = []
    for index in range(600):
        service.now += ROUND_S
        vision = played(pictures, 0.2) if index > 60 else played(0.0, 0.0)
        decision = service.round(service.tiles(**vision), service.tokens(**played(tokens, 20.0)))
        seen.append(decision.targets)
    assert side_gpus(service.bounds, seen[-1]) <= service.max_gpus
    assert seen[-1][Role.VISION] >= 1, "pictures come, and there is room for one replica of each side"
    changes = sum(before != after for before, after in itertools.pairwise(seen[120:]))
    assert changes <= (4 if noise else 2)


def test_a_replica_that_a_schedule_wants_of_a_resting_side_stays_within_the_budget(service):
    service.max_gpus = 6
    service.bounds[Role.VISION] = replace(
        service.bounds[Role.VISION], minimum=0, floor=1, floor_why="the schedule"
    )
    service.bounds[Role.LANGUAGE] = replace(service.bounds[Role.LANGUAGE], gpus=1)
    service.stands = {Role.VISION: 0, Role.LANGUAGE: 6}
    decisions = service.play(1800, vision=0.0, language=9.0)
    assert {tuple(decision.targets.values()) for decision in decisions} == {(1, 5)}


def test_one_odd_window_is_not_the_mix(service):
    for requests in ((10.0, 10.0), (1.0, 10.0)):
        mix = Mix()
        for index in range(60):
            seen = (10.0, 10.0) if index in (0, 59) else requests
            mix = mix.after(*seen, at=1.7e9 + 5 * index + 600 * (index == 59), window_s=5.0)
        assert mix.pictures == pytest.approx(requests[0] / requests[1], abs=0.05)


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


TOO_MUCH = "minReplicas of both sides take 14 GPUs, but scaling.maxGPUs is 8"


@pytest.fixture
def overspent(service):
    """Two GPUs a replica, as its pool has them: the minimums alone are more than the budget."""
    service.max_gpus = 8
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], minimum=3, gpus=2)
    service.bounds[Role.LANGUAGE] = replace(service.bounds[Role.LANGUAGE], minimum=4, gpus=2)
    return service


def test_minimums_that_exceed_the_budget_run_and_that_is_said(overspent):
    decision = overspent.play(60, vision=0.5, language=0.5)[-1]
    assert decision.targets == {Role.VISION: 3, Role.LANGUAGE: 4}
    for side in decision.sides.values():
        assert side.limited_by is Limit.BUDGET and side.why.endswith(f"; {TOO_MUCH}")
    vision = overspent.play(400, vision=6.0)[-1].sides[Role.VISION]
    assert (vision.target, vision.limited_by) == (3, Limit.BUDGET)
    assert f" are wanted, but {TOO_MUCH}" in vision.why


def test_minimums_that_just_fit_are_no_limit(overspent):
    overspent.max_gpus = 14
    sides = overspent.play(60, vision=0.5, language=0.5)[-1].sides
    assert {side.limited_by for side in sides.values()} == {Limit.MINIMUM}


def test_a_minimum_that_exceeds_what_somebody_else_leaves_is_said(overspent):
    seen = Observation(
        sides={Role.LANGUAGE: overspent.see(Role.LANGUAGE, overspent.tokens(0.5))}, elsewhere_gpus=4
    )
    side = decide(seen, overspent.history, overspent.settings(), overspent.now).sides[Role.LANGUAGE]
    assert (side.target, side.limited_by) == (4, Limit.BUDGET)
    assert side.why.endswith("; minReplicas and the other side take 12 GPUs, but scaling.maxGPUs is 8")


def test_minimums_that_exceed_the_budget_hide_no_load_that_is_unknown(overspent):
    side = overspent.round(None, overspent.tokens(0.5)).sides[Role.VISION]
    assert side.limited_by is Limit.UNKNOWN
    assert side.why.endswith(f"its load is unknown: Prometheus did not answer; {TOO_MUCH}")


def test_a_side_without_gpus_has_no_part_in_what_exceeds_the_budget(overspent):
    overspent.bounds[Role.VISION] = replace(overspent.bounds[Role.VISION], gpus=0)
    overspent.max_gpus = 4
    sides = overspent.play(60, vision=0.5, language=0.5)[-1].sides
    assert sides[Role.VISION].limited_by is Limit.MINIMUM
    assert sides[Role.LANGUAGE].limited_by is Limit.BUDGET


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


def test_what_is_known_in_part_gives_before_what_is_unknown_and_nothing_comes_back_a_round_later(made):
    """The budget was lowered while the nodes are silent: replicas that are taken away now would be started again next."""
    service = made()
    service.stands = {Role.VISION: 8, Role.LANGUAGE: 5}
    service.max_gpus = 12
    in_part = {"answered_replicas": 1, "expected_replicas": 2}
    for _ in range(3):
        service.now += 5
        decision = service.round(None, service.tokens(40.0, **in_part))
        assert decision.targets == {Role.VISION: 8, Role.LANGUAGE: 2}
