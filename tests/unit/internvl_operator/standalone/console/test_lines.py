import json
import shlex
from datetime import UTC, datetime

import pytest

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import (
    Condition,
    ModelStatus,
    RolesStatus,
    RoleStatus,
    ScalingStep,
    Status,
)
from internvl_operator.standalone.console import Console, curl_line

KEY = ServiceKey("default", "a")
NOW = datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def console(lines):
    return Console(lines.append, now=lambda: NOW)


def status(ready: ConditionStatus, reason: Reason, message: str = "why") -> Status:
    condition = Condition(
        type=ConditionType.READY, status=ready, reason=reason, message=message, last_transition_time=NOW
    )
    return Status(url="http://h/default/a", model=ModelStatus(name="it's"), conditions=(condition,))


def test_a_change_is_one_line_with_time_type_status_reason_and_message(console, lines):
    console.show(KEY, None, status(ConditionStatus.FALSE, Reason.DEPLOYING, "wait"))

    (line,) = lines
    assert line.split() == ["12:00:05", "default/a", "Ready", "False", "Deploying", "wait"]


def test_what_did_not_change_is_not_said_again(console, lines):
    same = status(ConditionStatus.FALSE, Reason.DEPLOYING)

    console.show(KEY, same, same)

    assert lines == []


def test_each_change_of_a_number_is_said_once_oldest_first(console, lines):
    def scaled(*steps):
        told = [
            ScalingStep(time=NOW, before=before, to=to, why=f"vision {before} -> {to}: {to}0 tiles/s")
            for before, to in steps
        ]
        return Status(roles=RolesStatus(vision=RoleStatus(last_scaling=tuple(told))))

    console.show(KEY, scaled((1, 2)), scaled((2, 4), (1, 2)))
    assert lines == ["12:00:05  default/a  vision 2 -> 4: 40 tiles/s"]
    console.show(KEY, None, scaled((2, 4), (1, 2)))
    assert [line.split()[3:5] for line in lines[1:]] == [["1", "->"], ["2", "->"]]


def test_a_number_that_is_recommended_only_is_said_when_it_changes(console, lines):
    def recommended(target, reason=Reason.RECOMMENDED_ONLY):
        active = Condition(
            type=ConditionType.SCALING_ACTIVE,
            status=ConditionStatus.FALSE,
            reason=reason,
            message="told once",
            last_transition_time=NOW,
        )
        vision = RoleStatus(target=target, why=f"vision 1 -> {target}: 30 tiles/s")
        return Status(roles=RolesStatus(vision=vision), conditions=(active,))

    console.show(KEY, recommended(1), recommended(3))
    assert lines == ["12:00:05  default/a  recommended, not written: vision 1 -> 3: 30 tiles/s"]
    console.show(KEY, recommended(3), recommended(3))
    console.show(KEY, recommended(3, Reason.SCALED_BY_LOAD), recommended(4, Reason.SCALED_BY_LOAD))
    assert len(lines) == 1


def test_ready_prints_the_address_once_and_a_line_that_a_shell_takes(console, lines):
    ready = status(ConditionStatus.TRUE, Reason.READY)

    console.show(KEY, None, ready)
    console.show(KEY, ready, ready)

    assert sum("answers at http://h/default/a" in line for line in lines) == 1
    words = shlex.split(curl_line(ready))
    assert words[2] == "http://h/default/a/v1/chat/completions"
    assert json.loads(words[-1])["model"] == "it's"
