import pytest

from internvl_operator.api.names import Role
from internvl_operator.plan.retry import delay_s
from internvl_operator.settings import Settings
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed

ERROR = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing lies at /models/nano"))


@pytest.fixture
def failed(world):
    """The language side was given up by Serve, just now."""
    world.serve_takes(world.settle()).deployment(Role.LANGUAGE, "DEPLOY_FAILED", ERROR)
    world.settle()
    return world


def attempts(decided):
    deployments = [item for application in decided.applications for item in application.deployments]
    return {item.name: item.user_config["attempt"] for item in deployments}


def fail_again(world, decided):
    world.serve_takes(decided).deployment(Role.LANGUAGE, "DEPLOY_FAILED", ERROR)
    return world.settle()


def test_a_failed_role_is_retried_after_ten_seconds(failed):
    early = failed.pass_time(9).settle()
    assert not early.write
    assert early.requeue_after_s == pytest.approx(1)
    due = failed.pass_time(1).plan()
    assert due.write
    assert attempts(due) == {"VisionEncoder": 0, "Gateway": 0, "LanguageModel": 1}
    assert any("attempt 1" in line for line in due.why)


def test_the_retry_touches_only_the_failed_application(failed):
    due = failed.pass_time(10).plan()
    changed = [line for line in due.why if "differs" in line]
    assert changed == ["team.nano differs from what Ray Serve holds: write it"]


def test_the_generation_does_not_depend_on_the_attempt(failed):
    before = failed.seen.status.roles.language.generation
    assert failed.pass_time(10).plan().status.roles.language.generation == before


def test_pauses_double_up_to_five_minutes(failed):
    pauses = []
    for _ in range(7):
        pauses.append(failed.plan().requeue_after_s)
        due = failed.pass_time(failed.plan().requeue_after_s).settle()
        assert due.write
        fail_again(failed, due)
    assert pauses == pytest.approx([10, 20, 40, 80, 160, 300, 300])
    assert failed.seen.status.roles.language.attempt == 7


def test_delay_does_not_overflow():
    assert delay_s(10**6, Settings()) == 300


def test_the_failure_stays_told_while_the_retry_starts(failed):
    due = failed.pass_time(10).settle()
    failed.serve_takes(due).deployment(Role.LANGUAGE, "UPDATING")
    decided = failed.settle()
    assert failed.said() == ("False", "ModelNotFound")
    assert decided.events == ()


def test_a_failed_gateway_has_no_condition_to_remember_its_failure_in(world):
    world.serve_takes(world.settle()).deployment(Role.GATEWAY, "DEPLOY_FAILED", ERROR)
    world.settle()
    due = world.pass_time(10).settle()
    assert attempts(due)["Gateway"] == 1
    world.serve_takes(due).deployment(Role.GATEWAY, "UPDATING")
    assert world.said() == ("False", "Deploying")


def test_a_retry_that_works_heals(failed):
    due = failed.pass_time(10).settle()
    failed.serve_takes(due).settle()
    failed.probed(failed.answer()).settle()
    assert failed.said() == ("True", "Ready")
    assert failed.seen.status.roles.language.failed_at is None
    assert not failed.plan().write


def test_a_stale_memory_of_another_cause_is_not_repeated(failed):
    due = failed.pass_time(10).settle()
    failed.serve_takes(due).settle()  # it ran, and is starting again for some other reason
    failed.deployment(Role.LANGUAGE, "UPDATING")
    assert failed.said("LanguageReady") == ("False", "Deploying")


def test_a_changed_spec_is_written_at_once_with_a_fresh_attempt(failed):
    fail_again(failed, failed.pass_time(10).settle())
    spec = {"model": {"uri": "file:///models/right"}, "vision": {"pool": "vision"}}
    decided = failed.respec(spec).plan()
    assert decided.write
    assert attempts(decided)["LanguageModel"] == 0


def test_no_failure_is_carried_over_to_a_changed_spec(failed):
    due = failed.pass_time(10).settle()
    spec = {"model": {"uri": "file:///models/right"}, "vision": {"pool": "vision"}}
    failed.serve_takes(due)
    changed = failed.respec(spec).plan()
    failed.serve_takes(changed).deployment(Role.LANGUAGE, "UPDATING")
    assert failed.said("LanguageReady") == ("False", "Deploying")


def test_a_lost_status_starts_the_pause_anew(failed):
    failed.serve_takes(failed.pass_time(10).plan())
    failed.deployment(Role.LANGUAGE, "UPDATING").see(status=None)
    assert failed.said("LanguageReady") == ("False", "Deploying")
    failed.deployment(Role.LANGUAGE, "DEPLOY_FAILED", ERROR)
    assert failed.plan().requeue_after_s == pytest.approx(20)


def test_a_clock_that_was_set_back_does_not_stretch_the_pause(failed):
    failed.pass_time(-86400).settle()
    assert failed.plan().requeue_after_s == pytest.approx(10)
    assert attempts(failed.pass_time(10).plan())["LanguageModel"] == 1


def test_both_roles_of_a_failed_build_are_tried_together(world):
    world.serve_takes(world.settle()).build(Role.LANGUAGE, "DEPLOY_FAILED", "boom")
    world.settle()
    due = world.pass_time(10).plan()
    assert attempts(due) == {"VisionEncoder": 0, "Gateway": 1, "LanguageModel": 1}


def test_the_first_failure_of_a_changed_spec_starts_its_own_pause(failed):
    failed.pass_time(9)
    spec = {"model": {"uri": "file:///models/also-wrong"}, "vision": {"pool": "vision"}}
    failed.serve_takes(failed.respec(spec).settle()).deployment(Role.LANGUAGE, "DEPLOY_FAILED", ERROR)
    assert failed.plan().requeue_after_s == pytest.approx(10)
    assert attempts(failed.pass_time(2).plan())["LanguageModel"] == 0
