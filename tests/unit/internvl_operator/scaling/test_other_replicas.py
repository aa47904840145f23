"""What one replica manages is learned anew when replicas are made from something else."""

import json
from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.history import from_json, to_json
from internvl_operator.scaling.model import Work, WorkKind
from internvl_operator.scaling.starts import Starts

ARRIVING = 60.0


@pytest.fixture
def learned(service):
    """A service of which nothing is stated; replicas called `small` were seen to manage 20 tiles a second."""
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], capacity={})
    service.replica[Role.VISION] = "small"
    for _ in range(20):
        full(service, 20.0)
    assert capacity(service).value == pytest.approx(20.0)
    return service


def full(service, speed, **more):
    """A window in which two replicas were full and managed so many tiles a second each."""
    service.now += 5
    work = Work(arriving=ARRIVING, done_while_full=speed * 10, seconds_while_full=10.0)
    load = replace(service.tiles(ARRIVING / 20, **more), work={WorkKind.TILES: work})
    return service.round(load, service.tokens(0.5))


def capacity(service):
    return service.history.of(Role.VISION).capacity[WorkKind.TILES]


def test_slower_replicas_are_known_after_one_window(learned):
    before = learned.stands[Role.VISION]
    learned.replica[Role.VISION] = "large"
    for _ in range(2):
        assert full(learned, 5.0).targets[Role.VISION] == before
        assert capacity(learned).value == pytest.approx(20.0), (
            "of windows that the old ones may have worked in"
        )
    assert full(learned, 5.0).targets[Role.VISION] == 2 * before
    assert capacity(learned).value == pytest.approx(5.0)
    assert full(learned, 5.0).targets[Role.VISION] >= ARRIVING / 5 > 2 * before


def test_faster_replicas_count_with_what_is_stated_of_them_at_once(learned):
    """Nothing is full any more, so nothing would be learned; the old figure was learned far from what was stated."""
    stated = {WorkKind.TILES: 10.0}
    learned.bounds[Role.VISION] = replace(learned.bounds[Role.VISION], capacity=stated)
    for _ in range(200):
        full(learned, 5.0)
    assert capacity(learned).value < 6
    peak = learned.history.of(Role.VISION).rises.peak
    learned.bounds[Role.VISION] = replace(learned.bounds[Role.VISION], capacity={WorkKind.TILES: 11.0})
    learned.replica[Role.VISION] = "fast"
    learned.now += 5
    load = replace(learned.tiles(3.0), work={WorkKind.TILES: Work(arriving=ARRIVING)})
    learned.round(load, learned.tokens(0.5))
    assert capacity(learned).value == 11.0, "nearly what was stated before, but of other replicas"
    assert learned.history.of(Role.VISION).rises.peak == pytest.approx(peak * 5.0 / 11.0, rel=0.05)


def test_the_reserve_is_carried_over_by_the_first_measurement(learned):
    learned.play(1800, vision=lambda s: 8.0 if s % 600 < 60 else 2.0)
    before = learned.history.of(Role.VISION).rises
    learned.replica[Role.VISION] = "large"
    learned.play(5, vision=2.0)
    assert learned.history.of(Role.VISION).rises == before, "what replicas manage is not known yet"
    learned.play(5, vision=2.0)
    full(learned, 10.0)
    assert learned.history.of(Role.VISION).rises.peak == pytest.approx(before.peak * 2, rel=0.01)
    full(learned, 10.0)
    assert learned.history.of(Role.VISION).rises.peak == pytest.approx(before.peak * 2, rel=0.01), "once"


def test_starts_of_other_replicas_are_forgotten(learned):
    side = replace(learned.history.of(Role.VISION), starts=Starts((30.0,)))
    learned.history = replace(learned.history, sides={**learned.history.sides, Role.VISION: side})
    full(learned, 20.0)
    assert learned.history.of(Role.VISION).starts.lasted_s == (30.0,)
    learned.replica[Role.VISION] = "large"
    full(learned, 20.0)
    assert learned.history.of(Role.VISION).starts == Starts()


def test_while_one_kind_replaces_another_the_old_figure_moves_slowly(learned):
    learned.replica[Role.VISION] = ""
    full(learned, 5.0)
    assert 19.0 <= capacity(learned).value < 20.0
    learned.replica[Role.VISION] = "small"  # the change was taken back
    full(learned, 20.0)
    assert capacity(learned).evidence_s > 0


def test_a_change_while_the_operator_was_away_is_seen(learned):
    learned.history = from_json(to_json(learned.history))
    learned.replica[Role.VISION] = "large"
    full(learned, 5.0)
    learned.history = from_json(to_json(learned.history))
    full(learned, 5.0)
    full(learned, 5.0)
    assert capacity(learned).value == pytest.approx(5.0)


def test_what_was_written_without_its_replicas_is_kept(learned):
    document = json.loads(to_json(learned.history))
    for role in ("vision", "language"):
        del document[role]["replica"]
    known = capacity(learned)
    learned.history = from_json(json.dumps(document))
    learned.play(5, vision=2.0)
    assert capacity(learned) == known
    assert learned.history.of(Role.VISION).replica == "small"
