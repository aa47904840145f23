from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import RolloutStage, RolloutStatus, Status
from internvl_operator.plan.decision import Plan
from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.reconcile.turns import Turns

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO, THREE = (ServiceKey("team", name) for name in ("one", "two", "three"))


@dataclass
class Said:
    """A service whose status says this about its rollout, and a plan that would say that."""

    key: ServiceKey
    was: RolloutStage | None = None
    will: RolloutStage | None = RolloutStage.CLUSTER
    generation: int = 1
    head: str | None = "abc"

    @property
    def service(self):
        return ServiceSeen(
            key=self.key, uid="u", generation=self.generation, spec_error="none", status=self.status(self.was)
        )

    @property
    def decided(self):
        return Plan(status=self.status(self.will), why=("because",))

    def status(self, stage):
        if stage is None:
            return Status()
        return Status(rollout=RolloutStatus(stage=stage, generation=1, since=NOW, head=self.head))


def asks(turns, said):
    """Whom it waits for; if nobody, it goes."""
    first = turns.before(said.service, said.decided)
    if not first:
        turns.note(said.key, said.decided)
    return first


def test_the_next_goes_when_the_one_before_is_done():
    turns = Turns(1)
    assert asks(turns, Said(ONE)) == ()
    assert asks(turns, Said(TWO)) == (ONE,)
    assert asks(turns, Said(ONE, was=RolloutStage.CLUSTER, will=RolloutStage.DRAINING)) == ()
    assert asks(turns, Said(TWO, was=RolloutStage.WAITING)) == (ONE,), "both clusters still stand"
    asks(turns, Said(ONE, was=RolloutStage.DRAINING, will=None))
    assert asks(turns, Said(TWO, was=RolloutStage.WAITING)) == ()


@pytest.mark.parametrize("stage", [RolloutStage.STOPPED, None])
def test_who_gives_up_or_is_deleted_holds_up_nobody(stage):
    turns = Turns(1)
    asks(turns, Said(ONE))
    if stage is None:
        turns.forget(ONE)
    else:
        asks(turns, Said(ONE, was=RolloutStage.CLUSTER, will=stage))
    assert asks(turns, Said(TWO)) == ()


def test_as_many_go_as_the_settings_say():
    turns = Turns(2)
    assert asks(turns, Said(ONE)) == () and asks(turns, Said(TWO)) == ()
    assert asks(turns, Said(THREE)) == (ONE, TWO)


def test_after_a_restart_those_that_had_begun_go_on():
    turns = Turns(1)
    asks(turns, Said(ONE))
    assert asks(turns, Said(TWO, was=RolloutStage.CLUSTER)) == ()
    assert asks(turns, Said(THREE)) == (ONE, TWO)


def test_who_is_edited_does_not_stand_in_line():
    turns = Turns(1)
    asks(turns, Said(ONE))
    assert asks(turns, Said(TWO, was=RolloutStage.WAITING, generation=2)) == ()


def test_other_rollouts_need_no_turn():
    turns = Turns(1)
    asks(turns, Said(ONE))
    assert asks(turns, Said(TWO, will=RolloutStage.IN_PLACE, head=None)) == ()
    assert asks(turns, Said(TWO, will=None)) == ()
