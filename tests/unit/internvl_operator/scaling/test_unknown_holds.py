from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import decide
from internvl_operator.scaling.history import from_json, to_json
from internvl_operator.scaling.model import Limit, Observation, SideSettings, Work, WorkKind

pytestmark = pytest.mark.timeout(180)  # hours of rounds: seconds, and more on a busy machine


def test_an_unknown_load_holds_the_number_and_says_why(service):
    service.play(300, vision=6.0)
    held = service.stands[Role.VISION]
    for _ in range(400):
        service.now += 5
        side = service.round(None, service.tokens(0.5)).sides[Role.VISION]
        assert (side.target, side.limited_by) == (held, Limit.UNKNOWN)
    assert side.why == f"vision stays at {held}: held, because its load is unknown: Prometheus did not answer"


def test_the_other_side_goes_on(service):
    service.round(None, service.tokens(0.5))
    service.now += 5
    assert service.round(None, service.tokens(7.0)).targets[Role.LANGUAGE] >= 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"work": {WorkKind.TILES: Work(arriving=float("nan"))}}, "no number"),
        ({"work": {WorkKind.TILES: Work(arriving=float("inf"))}}, "no number"),
        ({"work": {WorkKind.TILES: Work(arriving=-1.0)}}, "no number"),
        ({"work": {WorkKind.TILES: Work(arriving=1.0, outputs_beside=float("nan"))}}, "no number"),
        ({"window_s": 0.0}, "no number"),
        ({"at": 1_000_000.0 - 75}, "its newest sample is 75 s old"),
        ({"at": 1_000_000.0 - 700}, "its newest sample is 12 min old"),
    ],
)
def test_what_is_no_load_is_never_zero(service, change, words):
    service.stands[Role.VISION] = 4
    side = service.round(replace(service.tiles(0.0), **change), service.tokens(0.5)).sides[Role.VISION]
    assert (side.target, side.limited_by) == (4, Limit.UNKNOWN)
    assert words in side.why


def test_quiet_begins_when_the_load_is_known_again(service):
    service.play(300, vision=6.0)
    held = service.stands[Role.VISION]
    for _ in range(100):
        service.now += 5
        service.round(None, service.tokens(0.5))
    assert {d.targets[Role.VISION] for d in service.play(280, vision=0.1)} == {held}
    assert service.play(60, vision=0.1)[-1].targets[Role.VISION] < held


def test_replicas_that_say_nothing_may_raise_the_number_not_lower_it(service):
    service.play(300, vision=4.0)
    held = service.stands[Role.VISION]
    silent = {"answered_replicas": 2, "expected_replicas": 5, "silent": "the node 10.0.0.7 is away"}
    for _ in range(200):
        service.now += 5
        side = service.round(service.tiles(0.5, **silent), service.tokens(0.5)).sides[Role.VISION]
        assert side.target == held
    assert side.limited_by is Limit.SILENT
    assert side.why.endswith("; not lowered, because the node 10.0.0.7 is away")
    service.now += 5
    assert service.round(service.tiles(9.0, **silent), service.tokens(0.5)).targets[Role.VISION] > held


def test_a_capacity_that_nobody_knows_holds_until_a_replica_was_full(service):
    service.bounds[Role.VISION] = SideSettings(minimum=1, maximum=20)
    service.stands[Role.VISION] = 2
    side = service.round(service.tiles(6.0), service.tokens(0.5)).sides[Role.VISION]
    assert side.target == 2
    why = "how many tiles one replica manages is not stated, and none was full yet"
    assert side.why.endswith(f"held, because {why}"), "its load is known"
    service.now += 5
    full = Work(arriving=6 * 20.0, done_while_full=200.0, seconds_while_full=10.0)
    load = replace(service.tiles(6.0), work={WorkKind.TILES: full})
    assert service.round(load, service.tokens(0.5)).targets[Role.VISION] == 4, (
        "at most twice as many at first"
    )
    service.now += 5
    load = replace(load, at=service.now)
    assert service.round(load, service.tokens(0.5)).targets[Role.VISION] >= 7


def test_work_that_no_replica_was_full_of_yet_is_done_beside_the_other(service):
    """Long prompts with short answers never fill all slots, so nobody learns what decoding alone would do."""
    service.bounds[Role.LANGUAGE] = replace(service.bounds[Role.LANGUAGE], capacity={})
    full = {
        WorkKind.PROMPT_TOKENS: Work(arriving=24_000.0, done_while_full=80_000.0, seconds_while_full=10.0),
        WorkKind.OUTPUT_TOKENS: Work(arriving=30.0, waiting=10.0),
    }
    service.stands[Role.LANGUAGE] = 2
    side = service.round(service.tiles(1.0), replace(service.tokens(1.0), work=full)).sides[Role.LANGUAGE]
    assert side.target >= 3
    assert "24000 prompt tokens/s / 8000 per replica + 30 output tokens/s (not measured yet) = 3" in side.why


def test_a_lower_maximum_holds_while_the_load_is_unknown(service):
    service.stands[Role.VISION] = 6
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], maximum=3)
    assert service.round(None, None).targets == {Role.VISION: 3, Role.LANGUAGE: 1}


@pytest.mark.parametrize("load", [None, 0.5])
def test_a_side_that_somebody_else_owned_begins_with_the_number_that_stands(service, load):
    service.play(60, vision=2.0)
    for _ in range(30):
        service.now += 5
        language = {Role.LANGUAGE: service.see(Role.LANGUAGE, service.tokens(0.5))}
        service.history = decide(
            Observation(sides=language), service.history, service.settings(), service.now
        ).history
    service.stands[Role.VISION] = 9
    for _ in range(50):
        service.now += 5
        tiles = None if load is None else service.tiles(load)
        assert service.round(tiles, service.tokens(0.5)).targets[Role.VISION] == 9


@pytest.mark.parametrize("load", [None, 0.5])
def test_a_process_that_ended_between_serve_and_the_status_takes_nothing_away(service, load):
    service.play(60, vision=1.0)
    written = to_json(service.history)
    service.play(10, vision=6.0)
    raised = service.stands[Role.VISION]
    service.history = from_json(written)
    for _ in range(50):
        service.now += 5
        tiles = None if load is None else service.tiles(load)
        assert service.round(tiles, service.tokens(0.5)).targets[Role.VISION] == raised


def test_a_process_that_ended_between_the_status_and_serve_holds_what_it_had_decided(service):
    service.play(60, vision=6.0)
    decided, service.stands[Role.VISION] = service.stands[Role.VISION], 1
    service.history = from_json(to_json(service.history))
    service.now += 5
    assert service.round(None, service.tokens(0.5)).targets[Role.VISION] == decided
