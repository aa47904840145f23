"""Whatever happens to a service, and however long: bounds and budget hold, and its memory is small and decides the same.

A part of the histories goes on from one that was lived: with a reserve that was learned, on a clock of days and years.
"""

import random
from functools import cache
from math import ceil

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.history import History, from_json, to_json
from internvl_operator.scaling.model import SIDES
from internvl_operator.scaling.numbers import TOLERANCE
from tests.unit.internvl_operator.scaling.conftest import ROUND_S, Played
from tests.unit.internvl_operator.scaling.wild import NOW, Wild

pytestmark = pytest.mark.timeout(180)

CLOCKS_S = (0.0, 1e6, 3e8)
"""At which a lived history began."""
DIGITS = 1e-3
"""How exact the need is after a figure was written down: with four digits, of several of them."""


@cache
def lived(clock: float) -> tuple[History, float]:
    """Two hours with a burst of both sides every ten minutes, and when they ended."""
    service = Played(now=NOW, history=History(at=NOW, clock=clock))
    for index in range(1440):
        service.now += ROUND_S
        load = 8.0 if index % 120 < 12 else 2.0
        service.round(service.tiles(load), service.tokens(load))
    assert all(service.history.of(role).rises.reserve > 4 for role in SIDES)
    return service.history, service.now


def begun(seed: int) -> Wild:
    """A service of this seed: every fourth one is new."""
    if seed % 4 == 3:
        return Wild(seed)
    history, now = lived(CLOCKS_S[seed % 4])
    return Wild(seed, history, now)


def is_near(one: float | None, other: float | None, **tolerance: float) -> bool:
    return one is other is None or one == pytest.approx(other, **tolerance)


def is_between_two_numbers(needed: float | None) -> bool:
    """Whether so few digits as are written down decide which of two numbers is asked for."""
    return (
        needed is not None and len({ceil(needed * (1 + way) - TOLERANCE) for way in (-DIGITS, DIGITS)}) == 2
    )


def test_ten_thousand_random_histories_stay_within_all_bounds():
    for seed in range(10_000):
        wild = begun(seed)
        for _ in range(4):
            wild.round()
        wild.redraw()
        wild.level = wild.chance.choice([0.0, 1e-4, 1.0])
        wild.round()


@pytest.mark.parametrize("seed", range(30))
def test_a_long_history_stays_within_all_bounds_is_small_and_decides_the_same_when_it_is_read_back(seed):
    wild = begun(seed)
    reserves = set()
    for _ in range(220):
        if wild.chance.random() < 0.05:
            wild.redraw()
        if wild.chance.random() < 0.1:
            wild.level = wild.chance.choice([0.0, 1e-4, 0.01, 1.0])
        wild.round()
        text = to_json(wild.history)
        assert len(text.encode()) < 4096
        kept, read = wild.again(wild.history), wild.again(from_json(text))
        for role, side in kept.sides.items():
            assert is_near(read.sides[role].needed, side.needed, rel=DIGITS)
            assert read.targets[role] == side.target or is_between_two_numbers(side.needed)
            if read.sides[role].limited_by is side.limited_by:
                assert is_near(read.sides[role].until_s, side.until_s, abs=1.0)
        reserves.add(wild.history.of(Role.LANGUAGE).rises.reserve)
    assert len(reserves) > 5, "it learns all the while"


def test_loads_of_all_heights_that_fade_are_kept_in_little():
    chance, service, longest = random.Random(1), Played(now=NOW, history=History(at=NOW, clock=3e8)), 0
    for _ in range(70):
        heights = [10 ** chance.uniform(-1.5, 3.3) for _ in SIDES]
        for index in range(60):
            service.now += ROUND_S
            vision, language = (height * (1 - index / 60) for height in heights)
            service.round(service.tiles(vision), service.tokens(language))
            longest = max(longest, len(to_json(service.history)))
    assert 3000 < longest < 4096, "it is a hard case, and fits"
