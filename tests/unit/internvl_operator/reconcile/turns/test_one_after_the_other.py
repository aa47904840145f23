from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import Condition, RolloutStage, RolloutStatus, Status
from internvl_operator.plan.decision import Plan
from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.reconcile.turns import FIRST_LOOK, LONGEST, Turns

START = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO, THREE = (ServiceKey("team", name) for name in ("one", "two", "three"))
SPEC = object()


@dataclass
class Clock:
    now: datetime = START

    def __call__(self):
        return self.now

    def passes(self, time):
        self.now += time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def line(clock):
    """One at a time, some while after the start."""
    turns = Turns(1, now=clock)
    clock.passes(FIRST_LOOK)
    return turns


def decides(turns, key, stage=RolloutStage.CLUSTER, *, head="abc", degraded=False, **service):
    """The plan of a service says this of its rollout."""
    rollout = None if stage is None else RolloutStatus(stage=stage, generation=1, since=START, head=head)
    conditions = (
        Condition(
            type=ConditionType.DEGRADED,
            status=ConditionStatus.TRUE if degraded else ConditionStatus.FALSE,
            reason=Reason.AS_DESIRED,
            message="",
            observed_generation=1,
            last_transition_time=START,
        ),
    )
    seen = ServiceSeen(**{"key": key, "uid": "u", "generation": 1, "spec": SPEC, **service})
    turns.note(seen, Plan(status=Status(rollout=rollout, conditions=conditions), why=("because",)))


def test_the_next_goes_when_the_one_before_is_done(line):
    assert not line.are_taken(ONE)
    decides(line, ONE)
    assert line.are_taken(TWO) and not line.are_taken(ONE), "it goes on"
    decides(line, ONE, RolloutStage.DRAINING)
    assert line.are_taken(TWO), "both clusters still stand"
    decides(line, ONE, None)
    assert not line.are_taken(TWO)


def test_as_many_go_as_the_settings_say(clock):
    turns = Turns(2, now=clock)
    clock.passes(FIRST_LOOK)
    decides(turns, ONE)
    assert not turns.are_taken(TWO)
    decides(turns, TWO)
    assert turns.are_taken(THREE)


@pytest.mark.parametrize(
    "trouble",
    [
        {"stage": RolloutStage.STOPPED},
        {"degraded": True},
        {"deleting_since": START},
        {"spec": None, "spec_error": "wrong"},
    ],
)
def test_who_is_stuck_holds_up_nobody(line, trouble):
    decides(line, ONE)
    decides(line, ONE, **trouble)
    assert not line.are_taken(TWO)


def test_who_is_gone_holds_up_nobody(line):
    decides(line, ONE)
    line.forget(ONE)
    assert not line.are_taken(TWO)


def test_nobody_holds_the_line_for_ever(line, clock):
    decides(line, ONE)
    clock.passes(LONGEST - timedelta(seconds=1))
    decides(line, ONE)
    assert line.are_taken(TWO)
    clock.passes(timedelta(seconds=1))
    assert not line.are_taken(TWO)


def test_after_a_start_those_that_had_begun_are_seen_before_anybody_begins(clock):
    turns = Turns(1, now=clock)
    assert turns.are_taken(TWO)
    decides(turns, ONE)
    clock.passes(FIRST_LOOK)
    assert turns.are_taken(TWO)


def test_other_rollouts_need_no_turn(line):
    decides(line, ONE, RolloutStage.IN_PLACE, head=None)
    decides(line, TWO, RolloutStage.WAITING)
    assert not line.are_taken(THREE)
