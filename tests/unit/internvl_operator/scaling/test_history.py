import json
from dataclasses import replace

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.history import History, SideHistory, from_json, to_json
from internvl_operator.scaling.mix import Mix
from internvl_operator.scaling.model import Work, WorkKind
from internvl_operator.scaling.starts import LONGEST_S, Starts

pytestmark = pytest.mark.timeout(180)  # hours of rounds: seconds, and more on a busy machine


def test_a_restart_forgets_no_reserve(service):
    for _ in range(30):
        service.play(540, vision=2.0)
        service.play(60, vision=8.0)
    service.play(900, vision=2.0)
    held = service.stands[Role.VISION]
    assert held >= 7
    service.history = from_json(to_json(service.history))
    assert service.play(600, vision=2.0)[-1].targets[Role.VISION] == held


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "7", '{"v":0}', '{"v":1}', '{"v":2}', '{"v":2,"at":"x","clock":0}']
)
def test_what_cannot_be_read_is_a_new_history(text):
    assert from_json(text) == History()


def test_a_capacity_of_nothing_is_not_read(service):
    service.play(30, vision=2.0)
    document = json.loads(to_json(service.history))
    document["vision"]["capacity"]["tiles"][0] = 0
    assert from_json(json.dumps(document)) == History()


def test_what_a_budget_goes_by_is_kept_and_may_be_missing():
    lived = History(at=1.7e9, clock=500.0, mix=Mix(1.5, 3.0, 1.7e9), contested_at=417.0)
    text = to_json(lived)
    found = from_json(text)
    assert (found.mix, found.contested_at) == (lived.mix, 417.0)
    document = json.loads(text)
    del document["mix"], document["contested"]
    found = from_json(json.dumps(document))
    assert (found.clock, found.mix, found.contested_at) == (500.0, Mix(), None), "of an earlier operator"


def test_times_are_kept_to_a_tenth_of_a_second_however_long_it_lived():
    lived = History(at=1.7e9, clock=2e6, sides={Role.VISION: SideHistory(busy_at=2e6 - 123.4)})
    assert from_json(to_json(lived)).of(Role.VISION).busy_at == pytest.approx(2e6 - 123.4, abs=0.05)


def test_its_clock_goes_on_by_rounds_and_never_jumps():
    history = History().at_time(1000.0).at_time(1005.0)
    assert history.clock == 5.0
    assert history.at_time(900.0).clock == 5.0
    assert history.at_time(900.0).at_time(905.0).clock == 10.0
    assert history.at_time(1005.0 + 86_400).clock == 65.0


def test_a_clock_that_was_set_back_does_not_end_learning(service):
    service.play(60, vision=2.0)
    before = service.history.of(Role.VISION)
    service.now -= 86_400
    full = Work(arriving=40.0, done_while_full=300.0, seconds_while_full=10.0)
    service.round(replace(service.tiles(2.0), work={WorkKind.TILES: full}), service.tokens(0.5))
    service.play(60, vision=3.0)
    after = service.history.of(Role.VISION)
    assert after.capacity[WorkKind.TILES].value > before.capacity[WorkKind.TILES].value
    assert after.rises.peak > before.rises.peak


def test_a_figure_that_nobody_states_any_more_changes_no_reserve(service):
    service.play(120, vision=2.0)
    before = service.history.of(Role.VISION)
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], capacity={})
    service.round(service.tiles(2.0), service.tokens(0.5))  # the same window, so nothing else is learned
    after = service.history.of(Role.VISION)
    assert (after.rises, after.smooth) == (before.rises, before.smooth)
    assert after.capacity[WorkKind.TILES].value == before.capacity[WorkKind.TILES].value
    assert after.capacity[WorkKind.TILES].stated is None


def starts(*rounds: tuple[float, int, int]) -> Starts:
    found = Starts()
    for clock, target, ready in rounds:
        found = found.after(target=target, ready=ready, healthy=True, clock=clock)
    return found


def test_a_start_lasts_until_as_many_run_as_were_wanted_first():
    found = starts((0, 1, 1), (10, 3, 1), (20, 5, 2), (50, 5, 3), (60, 5, 4))
    assert found.lasted_s == (40.0,)
    assert found.usual_s(99.0) == 40.0


def test_before_any_start_the_stated_time_holds():
    assert starts((0, 2, 2)).usual_s(180.0) == 180.0


def test_one_slow_start_is_no_rule():
    rounds = []
    for index, lasts in enumerate((30, 30, 800, 30, 30)):
        rounds += [(index * 1000, 1, 1), (index * 1000 + 1, 2, 1), (index * 1000 + 1 + lasts, 2, 2)]
    assert starts(*rounds).usual_s(1.0) == 30.0


def test_a_start_that_was_given_up_is_not_measured():
    assert starts((0, 3, 1), (100, 1, 1), (200, 1, 1)).lasted_s == ()
    failing = starts((0, 3, 1)).after(target=3, ready=1, healthy=False, clock=500)
    assert failing.since is None


def test_a_start_counts_as_no_longer_than_a_quarter_of_an_hour():
    assert starts((0, 2, 1), (9999, 2, 2)).lasted_s == (LONGEST_S,)
