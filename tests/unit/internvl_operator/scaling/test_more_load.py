"""More load never gets a side fewer replicas, unless the budget has to choose between both sides.

Then it serves most requests: of a side that it cannot help any more it may take some. So with a budget less holds: it
only takes; and what it grants in full at some load it grants in full at less.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import decide
from internvl_operator.scaling.model import KINDS, SIDES, Observation, SideLoad, SideSeen, Work, WorkKind
from tests.unit.internvl_operator.scaling.test_random_histories import begun
from tests.unit.internvl_operator.scaling.wild import Wild

pytestmark = pytest.mark.timeout(180)

LOADS = st.tuples(st.floats(0, 30), st.floats(0, 30))
"""What arrives, in replicas, and what waits, in replica-seconds."""
REQUESTS = st.sampled_from(
    [lambda load: None, lambda load: 1.0, lambda load: 50.0, lambda load: 0.3 * load, lambda load: 30 * load]
)
"""Those that are counted, by the load."""
WILDS = st.deferred(lambda: st.builds(lived, st.integers(0, 10_000), st.integers(0, 6)))

Loads = Mapping[Role, tuple[float, float]]
Requests = Callable[[float], float | None]


def seen(wild: Wild, loads: Loads, requests: Requests) -> Observation:
    """Each of these sides has so much (arriving, waiting)."""

    def work(role: Role, arriving: float, waiting: float) -> dict[WorkKind, Work]:
        known = wild.history.of(role).capacity
        each = {kind: known[kind].value if kind in known else 10.0 for kind in KINDS[role]}
        return {kind: Work(arriving=arriving * one, waiting=waiting * one) for kind, one in each.items()}

    return Observation(
        sides={
            role: SideSeen(
                load=SideLoad(
                    at=wild.now,
                    window_s=5,
                    work=work(role, arriving, waiting),
                    requests=requests(arriving),
                ),
                target=wild.stands[role],
                ready=1,
            )
            for role, (arriving, waiting) in loads.items()
        }
    )


def lived(seed: int, rounds: int) -> Wild:
    """A service to which something happened. What it states now is known: what was learned was taken over already."""
    wild = begun(seed)
    for _ in range(rounds):
        wild.round()
    some = seen(wild, dict.fromkeys(SIDES, (1.0, 0.0)), lambda load: None)
    wild.history = decide(some, wild.history, wild.settings, wild.now).history
    wild.now += 5
    return wild


def targets(wild: Wild, loads: Loads, requests: Requests) -> dict[Role, int]:
    return decide(seen(wild, loads, requests), wild.history, wild.settings, wild.now).targets


def in_order(one: tuple[float, float], other: tuple[float, float]) -> tuple[tuple, tuple]:
    """The less and the more of each."""
    return tuple(map(min, one, other)), tuple(map(max, one, other))


@settings(max_examples=300)
@given(wild=WILDS, role=st.sampled_from(SIDES), one=LOADS, other=LOADS, requests=REQUESTS)
def test_without_a_budget_more_load_never_gets_fewer(wild, role, one, other, requests):
    wild.settings = replace(wild.settings, max_gpus=None)
    less, more = in_order(one, other)
    assert targets(wild, {role: less}, requests)[role] <= targets(wild, {role: more}, requests)[role]


@settings(max_examples=300)
@given(wild=WILDS, one=LOADS, other=LOADS, beside=LOADS, gpus=st.integers(4, 40), requests=REQUESTS)
def test_more_load_never_gets_fewer_of_a_budget_that_is_for_one_side(
    wild, one, other, beside, gpus, requests
):
    sides = dict(wild.settings.sides)
    sides[Role.LANGUAGE] = replace(sides[Role.LANGUAGE], gpus=0)
    wild.settings = replace(wild.settings, max_gpus=gpus, sides=sides)
    less, more = (
        targets(wild, {Role.VISION: load, Role.LANGUAGE: beside}, requests) for load in in_order(one, other)
    )
    assert less[Role.VISION] <= more[Role.VISION]
    assert less[Role.LANGUAGE] == more[Role.LANGUAGE]


@settings(max_examples=300)
@given(
    wild=WILDS,
    ours=st.tuples(LOADS, LOADS),
    theirs=st.tuples(LOADS, LOADS),
    gpus=st.integers(4, 200),
    requests=REQUESTS,
)
def test_a_budget_only_takes_and_what_it_grants_in_full_it_grants_in_full_at_less_load(
    wild, ours, theirs, gpus, requests
):
    loads = [
        dict(zip(SIDES, pair, strict=True)) for pair in zip(in_order(*ours), in_order(*theirs), strict=True)
    ]
    wild.settings = replace(wild.settings, max_gpus=None)
    wanted = [targets(wild, load, requests) for load in loads]
    wild.settings = replace(wild.settings, max_gpus=gpus)
    less, more = (targets(wild, load, requests) for load in loads)
    for granted, asked in zip((less, more), wanted, strict=True):
        assert all(granted[role] <= asked[role] for role in SIDES)
    if more == wanted[1]:
        assert less == wanted[0]
        assert all(less[role] <= more[role] for role in SIDES)
