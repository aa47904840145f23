"""A figure that nobody stated and that was measured for a short time only may be far too low."""

from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.capacity import KNOWN_S, Capacity
from internvl_operator.scaling.model import Limit, SideSettings, Work, WorkKind

RUN, LOAD = 4, 3.0
"""Replicas, and the load that they serve, where each manages 20 tiles a second."""
COLD = 4.0
"""Tiles that one manages in a second while its cache is cold."""


@pytest.fixture
def unstated(service):
    service.bounds[Role.VISION] = SideSettings(minimum=1, maximum=40)
    service.stands[Role.VISION] = service.ready[Role.VISION] = RUN
    return service


def seen(service, load=LOAD, *, speed=None):
    """A round; with a speed all replicas were full all the time, else none was."""
    service.now += 5
    work = Work(arriving=load * 20)
    if speed is not None:
        seconds = 5.0 * service.ready[Role.VISION]
        work = replace(work, done_while_full=speed * seconds, seconds_while_full=seconds)
    tiles = replace(service.tiles(load), work={WorkKind.TILES: work})
    return service.round(tiles, service.tokens(0.5)).sides[Role.VISION]


def test_a_cold_cache_at_the_beginning_at_most_doubles_the_replicas(unstated):
    for _ in range(2):
        side = seen(unstated, speed=COLD)
    assert (side.target, side.limited_by) == (2 * RUN, Limit.UNPROVEN)
    assert side.why.endswith(
        " are wanted, but until what one manages was measured for 30 s, "
        "no more than two, or twice as many as run while one is full"
    )
    unstated.ready[Role.VISION] = 2 * RUN
    for _ in range(200):
        assert seen(unstated).target == 2 * RUN, "none is full, so more would help nobody"


def test_measured_for_long_enough_it_comes_down_to_what_is_needed(unstated):
    for _ in range(2):
        seen(unstated, speed=COLD)
    for _ in range(4):
        seen(unstated, speed=20.0)
    unstated.play(400, vision=LOAD)
    assert unstated.stands[Role.VISION] < 2 * RUN


def test_what_was_learned_in_replicas_of_a_wrong_figure_is_told_in_right_ones_when_it_is_known(unstated):
    for _ in range(2):
        seen(unstated, speed=COLD)
    for _ in range(720):
        seen(unstated)
    wrong = unstated.history.of(Role.VISION).rises.peak
    assert wrong == pytest.approx(LOAD * 20 / COLD, rel=0.1), "the load in replicas that manage so little"
    for _ in range(30):
        seen(unstated, speed=20.0)
    found = unstated.history.of(Role.VISION)
    assert found.capacity[WorkKind.TILES].value > 18
    # Moves of less than a fifth take nothing along, as those of a figure that is known.
    assert found.rises.peak < wrong / 2.5


def test_a_load_that_was_never_seen_is_followed_once_it_was_measured(unstated):
    numbers = [seen(unstated, load=20.0, speed=20.0).target for _ in range(6)]
    assert numbers[:5] == [2 * RUN] * 5
    assert numbers[5] >= 20


def test_a_replica_of_none_may_be_two(unstated):
    unstated.stands[Role.VISION] = unstated.ready[Role.VISION] = 1
    seen(unstated, speed=COLD)
    unstated.ready[Role.VISION] = 0
    assert seen(unstated).target == 2


def test_what_stands_and_what_always_runs_is_never_lowered(unstated):
    unstated.stands[Role.VISION] = 11
    assert seen(unstated, load=20.0, speed=COLD).target == 11
    for _ in range(100):
        side = seen(unstated, load=20.0)
        assert (side.target, side.limited_by) == (11, Limit.UNPROVEN)
    floor = replace(unstated.bounds[Role.VISION], floor=13, floor_why="the schedule '0 8 * * *'")
    unstated.bounds[Role.VISION] = floor
    assert seen(unstated, load=20.0).target == 13
    unstated.bounds[Role.VISION] = replace(floor, maximum=6)
    assert seen(unstated, load=20.0).target == 6


@pytest.mark.parametrize("capacity", [Capacity(20.0), Capacity(20.0, KNOWN_S)])
def test_a_known_figure_and_that_of_other_replicas_are_relied_upon(unstated, capacity):
    side = replace(unstated.history.of(Role.VISION), capacity={WorkKind.TILES: capacity})
    unstated.history = replace(unstated.history, sides={Role.VISION: side})
    assert seen(unstated, load=20.0).target >= 20


def test_a_stated_figure_is_relied_upon(unstated):
    stated = {WorkKind.TILES: 20.0}
    unstated.bounds[Role.VISION] = replace(unstated.bounds[Role.VISION], capacity=stated)
    assert seen(unstated, load=20.0).target >= 20


def test_prompts_that_are_known_are_followed_while_answers_are_not(service):
    bounds = replace(service.bounds[Role.LANGUAGE], capacity={})
    service.bounds[Role.LANGUAGE] = bounds
    known = {
        WorkKind.PROMPT_TOKENS: Capacity(8000.0, KNOWN_S),
        WorkKind.OUTPUT_TOKENS: Capacity(160.0, 5.0),
    }
    side = replace(service.history.of(Role.LANGUAGE), capacity=known)
    service.history = replace(service.history, sides={Role.LANGUAGE: side})
    service.stands[Role.LANGUAGE] = 2
    found = service.round(service.tiles(0.1), service.tokens(10.0)).sides[Role.LANGUAGE]
    assert found.limited_by is Limit.UNPROVEN
    assert 5 < found.target <= 10, "five for the prompts and their reserve, and not 25 more for the answers"
