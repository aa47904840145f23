"""Each sentence that a user reads about a decision."""

from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling import sentences
from internvl_operator.scaling.history import History
from internvl_operator.scaling.model import SideLoad, Work, WorkKind


def why(service, role=Role.VISION, *, vision=0.1, language=0.1, **waiting) -> str:
    service.now += 5
    decision = service.round(service.tiles(vision, **waiting), service.tokens(language))
    return decision.sides[role].why


def test_vision(service):
    assert why(service, vision=3.0) == (
        "vision 1 -> 5: 60 tiles/s / 20 per replica = 3, + 1.36 reserve = 4.36"
    )


def test_language(service):
    assert why(service, Role.LANGUAGE, language=3.0) == (
        "language 1 -> 5: 12000 prompt tokens/s / 8000 per replica + 1200 output tokens/s / 800 per replica = 3, "
        "+ 1.36 reserve = 4.36"
    )


def test_nothing_changes(service):
    service.stands[Role.VISION] = 5
    assert why(service, vision=3.0).startswith("vision stays at 5: 60 tiles/s")


def test_what_waits(service):
    assert "= 3, + 2 for 1400 tiles that wait over 35 s, + 1.36 reserve = 6.36" in why(
        service, vision=3.0, waiting=70.0
    )


def test_no_load(service):
    assert why(service, vision=0.0) == "vision stays at 1: no load"


def test_a_load_that_changes(service):
    service.play(60, vision=6.0)
    assert ": 20 tiles/s / 20 per replica = 1, smoothed 4.89, + " in why(service, vision=1.0)


def test_the_maximum(service):
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], maximum=3)
    assert why(service, vision=6.0).endswith("= 8.37; 9 are wanted, but maxReplicas is 3")


def test_the_minimum(service):
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], minimum=2)
    assert why(service).endswith("; minReplicas is 2")


def test_a_schedule(service):
    floor = "the schedule '0 8 * * 1-5'"
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], floor=3, floor_why=floor)
    assert why(service).endswith("; the schedule '0 8 * * 1-5' wants 3")


def test_the_quiet_window(service):
    # 08:00:00 was the round at which the nine were needed last.
    service.now = 8 * 3600.0 - 60
    service.history = History()
    service.play(60, vision=6.0)
    assert why(service, vision=1.0).endswith(
        "; 9 stood or were needed within the last 5 min; fewer not before 08:05:00 UTC"
    )
    assert service.play(290, vision=1.0)[-1].targets[Role.VISION] == 9
    assert service.play(10, vision=1.0)[-1].targets[Role.VISION] < 9


def test_a_sentence_is_the_same_while_the_reserve_alone_fades():
    reserve = "vision stays at 4: 60 tiles/s / 20 per replica = 3, + 0.929 reserve = 3.93"
    limited = "vision stays at 2: no load, + 0.7 reserve = 0.7; minReplicas is 2"
    assert sentences.without_reserve(reserve) == "vision stays at 4: 60 tiles/s / 20 per replica = 3"
    assert sentences.without_reserve(limited) == "vision stays at 2: no load; minReplicas is 2"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119.4, "119 s"), (120.0, "2 min"), (600.0, "10 min")]
)
def test_times(seconds, words):
    assert sentences.minutes(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"), [(3.0, "3"), (0.25, "0.25"), (19.84, "19.8"), (0.0612, "0.0612"), (5123.4, "5123")]
)
def test_figures(value, words):
    assert sentences.figure(value) == words


def test_only_the_replicas_that_are_missing_are_counted_where_nobody_is_named(service):
    service.stands[Role.VISION] = 4
    work = {WorkKind.TILES: Work(arriving=1.0)}
    load = SideLoad(at=service.now, window_s=5, work=work, answered_replicas=3, expected_replicas=4)
    decision = service.round(load, service.tokens(0.1))
    assert decision.sides[Role.VISION].why.endswith(
        "not lowered, because 1 of 4 replicas do not tell their load"
    )
