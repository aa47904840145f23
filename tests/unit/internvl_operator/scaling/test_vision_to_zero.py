from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.history import History
from internvl_operator.scaling.model import Limit

pytestmark = pytest.mark.timeout(180)  # hours of rounds: seconds, and more on a busy machine


@pytest.fixture
def service(made):
    played = made()
    played.bounds[Role.VISION] = replace(played.bounds[Role.VISION], minimum=0)
    return played


def test_vision_goes_when_no_picture_came_for_long_enough(service):
    service.play(300, vision=2.0)
    waiting = service.play(595, vision=0.0)[-1].sides[Role.VISION]
    assert waiting.target >= 1
    assert service.play(10, vision=0.0)[-1].targets[Role.VISION] == 0


def test_it_says_when_the_last_replica_goes(service):
    service.play(30, vision=0.2)
    side = service.play(400, vision=0.0)[-1].sides[Role.VISION]
    assert (side.target, side.limited_by) == (1, Limit.IDLE)
    assert side.why.endswith("none is kept after 10 min; fewer not before 13:57:10 UTC")
    assert side.until_s == pytest.approx(200)


def test_text_alone_needs_none_and_is_served(service):
    service.stands[Role.VISION] = 0
    decision = service.play(600, vision=0.0, language=3.0)[-1]
    assert decision.targets[Role.VISION] == 0
    assert decision.targets[Role.LANGUAGE] >= 3


def test_the_first_picture_wakes_it(service):
    service.stands[Role.VISION] = 0
    service.play(60, vision=0.0)
    service.now += 5
    assert service.round(service.tiles(0.01), service.tokens(0.1)).targets[Role.VISION] == 1


def test_a_crowd_wakes_as_many_as_it_needs(service):
    service.stands[Role.VISION] = 0
    service.play(60, vision=0.0)
    service.now += 5
    assert service.round(service.tiles(6.0, waiting=30.0), service.tokens(0.1)).targets[Role.VISION] >= 8


def test_another_process_without_memory_does_not_wake_it(service):
    service.stands[Role.VISION] = 0
    service.play(60, vision=0.0)
    service.history = History()
    assert {d.targets[Role.VISION] for d in service.play(60, vision=0.0)} == {0}


def test_a_picture_that_is_being_worked_at_is_no_idleness(service):
    service.play(30, vision=1.0)
    for _ in range(300):
        service.now += 5
        decision = service.round(service.tiles(0.0, running=1.0), service.tokens(0.1))
    assert decision.targets[Role.VISION] == 1


def test_an_unknown_load_keeps_it(service):
    service.play(30, vision=1.0)
    for _ in range(300):
        service.now += 5
        decision = service.round(None, service.tokens(0.1))
    assert decision.targets[Role.VISION] >= 1
    assert service.play(300, vision=0.0)[-1].targets[Role.VISION] >= 1


def test_a_gateway_that_is_silent_for_a_round_does_not_wake_it(service):
    """As while its last replica goes, or a node is slow."""
    service.stands[Role.VISION] = 0
    service.play(60, vision=0.0)
    service.now += 5
    silent = service.tiles(0.0, answered_replicas=1, expected_replicas=2)
    assert service.round(silent, service.tokens(0.1)).targets[Role.VISION] == 0
    service.now += 5
    silent = service.tiles(0.01, answered_replicas=1, expected_replicas=2)
    assert service.round(silent, service.tokens(0.1)).targets[Role.VISION] == 1, "what it does tell counts"


def test_where_the_minimum_is_one_the_last_replica_stays(made):
    service = made()
    assert service.play(3600, vision=0.0)[-1].targets[Role.VISION] == 1


def test_a_picture_wakes_it_though_nobody_knows_what_a_replica_manages(service):
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], capacity={})
    service.stands[Role.VISION] = 0
    assert service.play(30, vision=0.0)[-1].targets[Role.VISION] == 0
    service.now += 5
    woken = service.round(service.tiles(0.5), service.tokens(0.1)).sides[Role.VISION]
    assert (woken.target, woken.limited_by) == (1, Limit.UNKNOWN)


def test_without_pictures_it_goes_though_nobody_knows_what_a_replica_manages(service):
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], capacity={})
    service.play(30, vision=0.5)
    assert service.play(610, vision=0.0)[-1].targets[Role.VISION] == 0


def test_a_replica_that_serve_has_started_by_itself_is_kept(service):
    service.stands[Role.VISION] = 0
    service.play(60, vision=0.0)
    service.now += 5
    service.woken = {Role.VISION}
    assert service.round(None, service.tokens(0.1)).targets[Role.VISION] == 1
    service.now += 5
    service.woken = set()
    assert service.round(None, service.tokens(0.1)).targets[Role.VISION] == 1


def test_a_replica_that_does_not_start_is_not_hidden_by_taking_it_away(service):
    service.play(30, vision=0.5)
    service.ready[Role.VISION] = 0
    assert service.play(1500, vision=0.0)[-1].targets[Role.VISION] == 1
