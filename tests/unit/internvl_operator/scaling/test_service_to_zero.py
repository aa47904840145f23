"""Both sides without a replica: language goes after vision, and whatever waits brings back what it needs."""

from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.model import SIDES, Limit, SideLoad, Work, WorkKind

pytestmark = pytest.mark.timeout(180)  # hours of rounds: seconds, and more on a busy machine

IDLE = {Role.VISION: 0, Role.LANGUAGE: 0}


@pytest.fixture
def service(made):
    played = made()
    for role in SIDES:
        played.bounds[role] = replace(played.bounds[role], minimum=0)
    return played


@pytest.fixture
def asleep(service):
    service.stands = dict(IDLE)
    service.play(60, vision=0.0, language=0.0)
    service.now += 5
    return service


def awaited(service, count, **more):
    """Language while requests wait for it, and none came within the window."""
    work = {
        WorkKind.PROMPT_TOKENS: Work(arriving=0.0, waiting=count * 100.0),
        WorkKind.OUTPUT_TOKENS: Work(arriving=0.0, waiting=count * 100.0),
    }
    return SideLoad(at=service.now, window_s=5.0, work=work, requests=0.0, **more)


def test_without_a_request_both_go_vision_first(service):
    service.play(300, vision=1.0, language=1.0)
    seen = [decision.targets for decision in service.play(700, vision=0.0, language=0.0)]
    assert seen[-1] == IDLE
    assert all(targets[Role.LANGUAGE] for targets in seen[:118]), "not before scaling.idle"
    assert all(targets[Role.LANGUAGE] or not targets[Role.VISION] for targets in seen)
    gone = next(index for index, targets in enumerate(seen) if not targets[Role.VISION])
    assert seen[gone][Role.LANGUAGE] == 1, "vision is to be gone before"


def test_text_keeps_language_and_nothing_keeps_vision(service):
    service.play(300, vision=1.0, language=1.0)
    assert service.play(1500, vision=0.0, language=0.1)[-1].targets == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_an_answer_that_is_being_written_is_no_idleness(service):
    service.play(30, vision=0.0, language=0.5)
    for _ in range(300):
        service.now += 5
        decision = service.round(service.tiles(0.0), service.tokens(0.0, running=1.0))
    assert decision.targets == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_a_probe_is_no_load_and_what_it_hides_counts_once_it_is_over(service):
    service.stands = {Role.VISION: 0, Role.LANGUAGE: 1}
    service.play(590, vision=0.0, language=0.0)
    service.probed, service.kept = {Role.LANGUAGE}, {Role.LANGUAGE: "one is kept for 45 s after a probe"}
    for _ in range(4):
        service.now += 5
        assert service.round(service.tiles(0.0), service.tokens(0.0, running=1.0)).targets[Role.LANGUAGE] == 1
    ended = replace(service)
    ended.probed, ended.kept = set(), {}
    assert ended.play(5, vision=0.0, language=0.0)[-1].targets == IDLE
    service.probed, service.kept, service.stands = set(), {}, {Role.VISION: 0, Role.LANGUAGE: 1}
    for _ in range(4):
        service.now += 5
        answer = service.tokens(0.0, running=1.0)
        assert service.round(service.tiles(0.0), answer).targets[Role.LANGUAGE] == 1
    assert service.play(500, vision=0.0, language=0.0)[-1].targets[Role.LANGUAGE] == 1


def test_it_says_what_did_not_come_and_when_the_last_one_goes(service):
    service.play(30, vision=0.0, language=0.2)
    side = service.play(400, vision=0.0, language=0.0)[-1].sides[Role.LANGUAGE]
    assert (side.target, side.limited_by) == (1, Limit.IDLE)
    assert "no request for 7 min; none is kept after 10 min" in side.why
    gone = service.play(400, vision=0.0, language=0.0)[-1].sides[Role.LANGUAGE]
    assert gone.target == 0 and gone.why.endswith("no request for 10 min")


def test_vision_that_stands_in_serve_keeps_language(service):
    """It was decided that vision goes, and that is not written, as in a mode that only recommends."""
    for _ in range(400):
        service.now += 5
        decision = service.round(service.tiles(0.0), service.tokens(0.0))
        service.stands[Role.VISION] = 1
    side = decision.sides[Role.LANGUAGE]
    assert (decision.targets[Role.VISION], side.target) == (0, 1)
    assert side.why.endswith("one is kept while vision has any")


def test_what_keeps_one_is_no_load_once_it_ends(service):
    service.stands = {Role.VISION: 0, Role.LANGUAGE: 1}
    service.kept = {Role.LANGUAGE: "one is kept for 45 s after a probe"}
    side = service.play(900, vision=0.0, language=0.0)[-1].sides[Role.LANGUAGE]
    assert (side.target, side.limited_by) == (1, Limit.IDLE)
    assert side.why.endswith("one is kept for 45 s after a probe")
    service.kept = {}
    assert service.play(5, vision=0.0, language=0.0)[-1].targets == IDLE


def test_what_is_to_be_proven_wakes_it(asleep):
    asleep.kept = {Role.LANGUAGE: "one is kept for the rollout that is under way"}
    assert asleep.play(5, vision=0.0, language=0.0)[-1].targets == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_a_text_wakes_language_alone(asleep):
    assert asleep.round(asleep.tiles(0.0), asleep.tokens(0.01)).targets == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_a_text_that_waits_wakes_it_though_it_came_before_this_process_looked(asleep):
    targets = asleep.round(asleep.tiles(0.0), awaited(asleep, 1)).targets
    assert targets == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_a_picture_wakes_both(asleep):
    targets = asleep.round(asleep.tiles(0.01), asleep.tokens(0.01)).targets
    assert targets == {Role.VISION: 1, Role.LANGUAGE: 1}


def test_vision_that_serve_has_started_by_itself_wakes_language(asleep):
    asleep.woken = {Role.VISION}
    assert asleep.round(None, None).targets == {Role.VISION: 1, Role.LANGUAGE: 1}


def test_a_schedule_for_vision_wakes_language(asleep):
    asleep.bounds[Role.VISION] = replace(asleep.bounds[Role.VISION], floor=2, floor_why="the schedule")
    targets = asleep.play(5, vision=0.0, language=0.0)[-1].targets
    assert targets == {Role.VISION: 2, Role.LANGUAGE: 1}


def test_a_crowd_wakes_as_many_as_it_needs(asleep):
    found = asleep.round(asleep.tiles(0.0), asleep.tokens(6.0, waiting=900.0))
    assert found.targets[Role.LANGUAGE] >= 8


def test_a_crowd_wakes_one_while_nobody_knows_what_a_replica_manages(service):
    service.bounds[Role.LANGUAGE] = replace(service.bounds[Role.LANGUAGE], capacity={})
    service.stands = dict(IDLE)
    assert service.play(60, vision=0.0, language=0.0)[-1].targets == IDLE
    service.now += 5
    woken = service.round(service.tiles(0.0), service.tokens(6.0, waiting=900.0)).sides[Role.LANGUAGE]
    assert (woken.target, woken.limited_by) == (1, Limit.UNKNOWN)


def test_an_unknown_load_keeps_it_and_is_not_idleness(service):
    service.play(30, vision=0.0, language=0.5)
    for _ in range(300):
        service.now += 5
        decision = service.round(service.tiles(0.0), None)
    assert decision.targets[Role.LANGUAGE] == 1
    assert service.play(300, vision=0.0, language=0.0)[-1].targets[Role.LANGUAGE] == 1


def test_an_unknown_load_wakes_nobody(asleep):
    for _ in range(30):
        asleep.now += 5
        assert asleep.round(None, None).targets == IDLE


def test_a_load_that_is_known_in_part_is_no_idleness_and_wakes_nobody(service):
    service.play(30, vision=0.0, language=0.5)
    for _ in range(300):
        service.now += 5
        silent = service.tokens(0.0, answered_replicas=1, expected_replicas=2)
        decision = service.round(service.tiles(0.0), silent)
    assert decision.targets == {Role.VISION: 0, Role.LANGUAGE: 1}
    service.play(700, vision=0.0, language=0.0)
    service.now += 5
    silent = service.tokens(0.0, answered_replicas=1, expected_replicas=2)
    assert service.round(service.tiles(0.0), silent).targets == IDLE


def test_a_replica_that_does_not_start_is_not_hidden_by_taking_it_away(service):
    service.play(30, vision=0.0, language=0.5)
    service.ready[Role.LANGUAGE] = 0
    assert service.play(1500, vision=0.0, language=0.0)[-1].targets[Role.LANGUAGE] == 1


def test_the_first_replica_of_each_side_comes_before_all_else(asleep):
    asleep.max_gpus = 3
    targets = asleep.round(asleep.tiles(9.0, waiting=900.0), asleep.tokens(0.01)).targets
    assert targets == {Role.VISION: 1, Role.LANGUAGE: 1}


def test_a_side_with_replicas_leaves_room_for_the_first_one_of_the_other(service):
    """Also where its load is unknown: the other one's requests wait, and its own have replicas."""
    service.max_gpus = 6
    service.stands = {Role.VISION: 0, Role.LANGUAGE: 3}
    service.play(60, vision=0.0, language=2.0)
    assert service.stands == {Role.VISION: 0, Role.LANGUAGE: 3}
    service.now += 5
    assert service.round(service.tiles(0.1), None).targets == {Role.VISION: 1, Role.LANGUAGE: 2}


def test_the_last_replica_of_a_side_that_needs_it_is_not_taken_for_the_other(service):
    """Few requests have pictures, so that the split alone would leave them none, and then start one for them again."""
    service.max_gpus = 8
    service.stands = {Role.VISION: 1, Role.LANGUAGE: 3}
    seen = service.play(1800, vision=0.02, language=9.0)
    assert {decision.targets[Role.VISION] for decision in seen} == {1}


def test_where_the_minimum_is_one_the_last_replica_stays(made):
    service = made()
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], minimum=0)
    assert service.play(3600, vision=0.0, language=0.0)[-1].targets == {Role.VISION: 0, Role.LANGUAGE: 1}


def test_without_vision_in_sight_language_stays(service):
    service.play(30, vision=0.0, language=0.2)
    del service.bounds[Role.VISION]
    assert service.play(1500, vision=0.0, language=0.0)[-1].targets == {Role.LANGUAGE: 1}
