"""What holds for every load, history and clock."""

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import decide
from internvl_operator.scaling.history import from_json, to_json
from internvl_operator.scaling.model import SIDES, Limit, Observation, SideSeen
from tests.unit.internvl_operator.scaling.wild import Wild

MADE_AGAIN = HealthCheck.function_scoped_fixture  # the fixture is a type, of which each example makes its own
LOADS = st.floats(0, 30)
SEEDS = st.integers(0, 10_000)


@pytest.mark.timeout(180)
@settings(max_examples=150)
@given(seed=SEEDS, rounds=st.integers(0, 6))
def test_deciding_twice_about_the_same_changes_nothing(seed, rounds):
    wild = Wild(seed)
    for _ in range(rounds):
        wild.round()
    observation = wild.observation()
    first = decide(observation, wild.history, wild.settings, wild.now)
    second = decide(observation, first.history, wild.settings, wild.now)
    assert second.targets == first.targets
    assert decide(observation, second.history, wild.settings, wild.now) == second


@pytest.mark.timeout(180)
@settings(max_examples=60, suppress_health_check=[MADE_AGAIN])
@given(jump=st.sampled_from([-86400.0, -600.0, -1.0, 61.0, 3600.0, 864_000.0]), load=LOADS)
def test_a_clock_that_jumps_takes_nothing_away(made, jump, load):
    service = made()
    service.play(60, vision=load, language=load / 2)
    before = dict(service.stands)
    service.now += jump
    for _ in range(20):
        service.now += 5
        decision = service.round(service.tiles(0.0), service.tokens(0.0))
        assert all(decision.targets[role] >= before[role] for role in SIDES)


@pytest.mark.timeout(180)
@settings(max_examples=60, suppress_health_check=[MADE_AGAIN])
@given(jump=st.sampled_from([-86400.0, -600.0, 61.0, 3600.0, 864_000.0]), load=st.floats(4, 15))
def test_after_a_clock_that_jumped_a_number_falls_after_a_quiet_window_and_rises_at_once(made, jump, load):
    service = made()
    service.play(60, vision=load)
    high = service.stands[Role.VISION]
    service.now += jump
    assert service.play(370, vision=0.1)[-1].targets[Role.VISION] < high
    service.now += jump
    service.now += 5
    risen = service.round(service.tiles(load + 4), service.tokens(0.5)).sides[Role.VISION]
    assert risen.target >= min(20, load + 4)
    quiet = service.play(295, vision=0.1)
    assert {decision.targets[Role.VISION] for decision in quiet} == {risen.target}
    last = quiet[-1].sides[Role.VISION]
    assert last.limited_by is Limit.QUIET and last.until_s is not None and last.until_s <= service.quiet_s
    assert service.play(70, vision=0.1)[-1].targets[Role.VISION] < risen.target


@pytest.mark.timeout(180)
@settings(max_examples=40, suppress_health_check=[MADE_AGAIN])
@given(
    away_s=st.sampled_from([5.0, 60.0, 400.0, 86400.0]),
    stands=st.integers(1, 20),
    load=st.one_of(st.none(), LOADS),
    is_read=st.booleans(),
)
def test_a_side_that_somebody_else_had_for_long_goes_on_from_their_number(
    made, away_s, stands, load, is_read
):
    service = made()
    service.play(120, vision=8.0)
    for _ in range(3):
        service.now += away_s
        language = {Role.LANGUAGE: service.see(Role.LANGUAGE, service.tokens(0.5))}
        decision = decide(Observation(sides=language), service.history, service.settings(), service.now)
        service.history = from_json(to_json(decision.history)) if is_read else decision.history
    service.stands[Role.VISION] = stands
    for _ in range(50):
        service.now += 5
        tiles = None if load is None else service.tiles(load)
        side = service.round(tiles, service.tokens(0.5)).sides[Role.VISION]
        assert side.target >= stands, "nothing is taken away within the quiet window"
        if load is None:
            assert side.target == stands
    if load is not None:
        service.play(400, vision=load)
        assert service.stands[Role.VISION] >= min(20, math.floor(load)), "and their number is no bound"


@pytest.mark.timeout(180)
@settings(max_examples=10, suppress_health_check=[MADE_AGAIN])
@given(vision=LOADS, language=st.floats(0, 18))
def test_a_constant_load_never_raises_the_number_again(made, vision, language):
    service = made()
    targets = [decision.targets for decision in service.play(3 * 3600, vision, language)]
    for role in SIDES:
        numbers = [found[role] for found in targets]
        assert numbers == sorted(numbers, reverse=True)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("load", [0.5, 4.0, 11.0])
def test_a_noisy_load_moves_the_number_seldom(made, seed, load):
    chance = random.Random(seed)
    service = made()
    service.play(1800, vision=lambda _: max(0.0, chance.gauss(load, 0.15 * load)))
    numbers = [
        decision.targets[Role.VISION]
        for decision in service.play(7200, vision=lambda _: max(0.0, chance.gauss(load, 0.15 * load)))
    ]
    changes = sum(one != other for one, other in itertools.pairwise(numbers))
    assert changes <= 12  # in two hours, 1,440 rounds
    assert max(numbers) - min(numbers) <= 2


@pytest.mark.timeout(180)
@settings(max_examples=100)
@given(seed=SEEDS, rounds=st.integers(1, 6))
def test_what_was_written_down_decides_the_same(seed, rounds):
    wild = Wild(seed)
    for _ in range(rounds):
        wild.round()
    text = to_json(wild.history)
    assert len(text.encode()) < 4096
    assert to_json(from_json(text)) == text
    observation = wild.observation()
    for history in (from_json(text), from_json(to_json(from_json(text)))):
        again = decide(observation, history, wild.settings, wild.now)
        assert again.targets == decide(observation, from_json(text), wild.settings, wild.now).targets


@pytest.mark.timeout(180)
@settings(max_examples=200)
@given(seed=SEEDS, cut=st.integers(0, 2000), junk=st.text(max_size=5))
def test_a_damaged_memory_is_no_obstacle(seed, cut, junk):
    wild = Wild(seed)
    wild.round()
    text = to_json(wild.history)
    cut %= len(text)
    for damaged in (text[:cut] + junk, text[:cut] + junk + text[cut + len(junk) :], junk):
        decide(wild.observation(), from_json(damaged), wild.settings, wild.now)


@pytest.mark.timeout(180)
@settings(max_examples=100)
@given(seed=SEEDS, rounds=st.integers(0, 6))
def test_an_unknown_load_holds_whatever_was_before(seed, rounds):
    wild = Wild(seed)
    wild.settings = replace(wild.settings, max_gpus=None)
    for _ in range(rounds):
        wild.round()
    wild.now += 5
    seen = {role: SideSeen(load=None, target=wild.stands[role], ready=1) for role in SIDES}
    decision = decide(Observation(sides=seen), wild.history, wild.settings, wild.now)
    for role, side in decision.sides.items():
        bounds = wild.settings.sides[role]
        # A picture needs both.
        least = int(role is Role.LANGUAGE and decision.targets[Role.VISION] > 0)
        assert side.target == min(max(wild.stands[role], bounds.least, least), bounds.maximum)
        assert side.limited_by is Limit.UNKNOWN
