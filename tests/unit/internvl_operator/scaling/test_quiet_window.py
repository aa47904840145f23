import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.history import History
from internvl_operator.scaling.model import Limit
from internvl_operator.scaling.quiet import STEPS, Quiet

pytestmark = pytest.mark.timeout(180)  # hours of rounds: seconds, and more on a busy machine


def test_a_number_comes_down_after_five_quiet_minutes(service):
    service.play(600, vision=6.0)
    high = service.stands[Role.VISION]
    soon = service.play(290, vision=1.0)[-1].sides[Role.VISION]
    assert soon.target == high
    assert soon.limited_by is Limit.QUIET
    assert soon.until_s is not None and 0 < soon.until_s <= 30
    later = service.play(120, vision=1.0)[-1].sides[Role.VISION]
    assert later.target < high
    assert later.until_s is None


def test_a_dip_takes_nothing_away(service):
    service.play(3900, vision=6.0)  # so that nothing is kept because little is known
    high = service.stands[Role.VISION]
    for _ in range(4):
        service.play(200, vision=1.0)
        assert service.stands[Role.VISION] == high
        service.play(200, vision=6.0)


def test_a_new_process_without_memory_takes_nothing_away_for_a_window(service):
    service.play(600, vision=4.0)
    stands = service.stands[Role.VISION]
    service.history = History()
    assert {d.targets[Role.VISION] for d in service.play(280, vision=0.1)} == {stands}


def test_a_window_shorter_than_a_round_ends(service):
    service.quiet_s = 2.0
    service.play(60, vision=6.0)
    assert service.play(60, vision=0.5)[-1].targets[Role.VISION] <= 2


def test_a_lower_maximum_holds_at_once(service):
    from dataclasses import replace

    service.play(60, vision=6.0)
    service.bounds[Role.VISION] = replace(service.bounds[Role.VISION], maximum=4)
    assert service.play(5, vision=6.0)[-1].targets[Role.VISION] == 4


def test_few_numbers_are_kept():
    quiet = Quiet()
    for index in range(2000):
        quiet = quiet.after(2000 - index, clock=index * 1.0, window_s=300)
        assert len(quiet.needed) <= STEPS + 2
    assert quiet.highest >= 2000 - 1999 + 260  # of about five minutes ago
