import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.plan.observation import WriteSeen


def write(world, **fields):
    return world.change(write=WriteSeen(at=world.observation.now, **fields))


def test_a_write_that_waits_names_what_it_waits_for(world):
    write(world, waiting_for="somebody.else")
    assert world.said() == ("False", "WaitingForOtherBuild")
    assert "somebody.else" in world.condition().message
    assert world.said("Progressing") == ("True", "WaitingForOtherBuild")


def test_a_failed_write_says_why_and_is_tried_again_after_a_pause(world):
    write(world, error="Ray Serve refused the configuration: 400 bad thing")
    decided = world.plan()
    assert world.said() == ("False", "WriteFailed")
    assert "400 bad thing" in world.condition().message
    assert not decided.write
    assert decided.requeue_after_s == 5
    assert world.pass_time(4).plan().requeue_after_s == 1
    assert not world.plan().write
    assert world.pass_time(1).plan().write


def test_a_clock_that_was_set_back_does_not_hold_a_failed_write_up(world):
    write(world, error="refused")
    assert world.pass_time(-3600).plan().write


def test_a_write_that_succeeded_but_is_not_there_is_made_again_at_once(world):
    write(world)
    assert world.plan().write


def test_a_foreign_configuration_that_cannot_be_passed_through_is_named(world):
    write(world, error="other.app holds a redacted value", reason=Reason.FOREIGN_CONFIG_UNREADABLE)
    assert world.said() == ("False", "ForeignConfigUnreadable")


def test_a_write_that_succeeded_is_waited_for(world):
    write(world)
    assert world.said() == ("False", "Deploying")


def test_an_old_write_error_does_not_matter_when_nothing_is_to_be_written(ready):
    before = ready.seen.status
    write(ready, error="long ago")
    assert ready.plan().status == before


def test_a_failed_scaling_degrades_but_what_runs_is_ready(ready):
    spec = {
        "model": {"uri": "file:///models/nano"},
        "vision": {"pool": "vision", "minReplicas": 2},
        "language": {"pool": "language"},
    }
    write(ready.respec(spec), error="refused")
    assert ready.said() == ("True", "Ready")
    assert ready.said("Degraded") == ("True", "WriteFailed")


@pytest.mark.parametrize("name", ["team.nano", "team.nano.vision"])
def test_an_application_deployed_by_hand_is_not_overwritten(world, name):
    world.foreign(name, declarative=False)
    assert not world.plan().write
    assert world.said() == ("False", "ApplicationNotOurs")
    assert name in world.condition().message


def test_foreign_applications_do_not_matter(ready):
    before = ready.seen.status
    assert ready.foreign("somebody.else").plan().status == before
    assert [item.name for item in ready.plan().applications] == ["team.nano.vision", "team.nano"]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"deployments": 7},
        {"deployments": ["x", {"name": "other"}]},
        {"deployments": [{"name": "VisionEncoder", "user_config": 3}]},
        {"deployments": [{"name": "VisionEncoder", "user_config": {"generation": 1, "attempt": "x"}}]},
    ],
)
def test_a_configuration_of_any_shape_is_replaced(ready, config):
    name = "team.nano.vision"
    ready.foreign(name, config={"name": name, **config})
    assert ready.plan().write
    assert ready.said() == ("False", "Deploying")
