import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.plan.decision import EventKind, FinalizerChange
from internvl_operator.plan.observation import WriteSeen
from internvl_operator.settings import Settings

KEY = ServiceKey("team", "nano")


@pytest.fixture
def deleting(ready):
    return ready.see(deleting_since=ready.observation.now)


def test_our_applications_are_removed_first(deleting):
    decided = deleting.plan()
    assert decided.remove == names.all_applications(KEY)
    assert decided.applications == ()
    assert decided.write
    assert decided.finalizer is FinalizerChange.KEEP
    assert deleting.said() == ("False", "Deleting")
    assert decided.requeue_after_s == 5
    assert [event.kind for event in decided.events] == [EventKind.NORMAL]


def test_a_removal_that_failed_is_tried_again_after_a_pause(deleting):
    deleting.change(write=WriteSeen(at=deleting.observation.now, error="refused"))
    assert not deleting.plan().write
    assert deleting.plan().requeue_after_s == 5
    assert deleting.pass_time(5).plan().write


def test_what_serve_is_deleting_is_not_written_again(deleting):
    for name in ("team.nano.vision", "team.nano"):
        deleting.foreign(name, status="DELETING", config=None)
    assert not deleting.plan().write
    assert deleting.plan().finalizer is FinalizerChange.KEEP


def test_the_finalizer_goes_once_nothing_is_left(deleting):
    decided = deleting.change_ray(applications={}).plan()
    assert decided.finalizer is FinalizerChange.REMOVE
    assert not decided.write


def test_somebody_elses_application_of_our_name_is_left_alone(deleting):
    deleting.change_ray(applications={}).foreign("team.nano", declarative=False)
    assert deleting.plan().finalizer is FinalizerChange.REMOVE


def test_a_dead_ray_is_waited_for_until_the_deadline(deleting):
    decided = deleting.ray_fails(Reason.RAY_UNREACHABLE).plan()
    assert decided.finalizer is FinalizerChange.KEEP
    assert decided.requeue_after_s == 60
    assert "connection refused" in decided.status.conditions[0].message
    late = deleting.pass_time(60).plan()
    assert late.finalizer is FinalizerChange.REMOVE
    assert [event.kind for event in late.events] == [EventKind.WARNING]
    assert "team.nano.vision, team.nano may stay behind" in late.why[0]


def test_the_deadline_wins_also_when_the_applications_do_not_go(deleting):
    late = deleting.pass_time(61).change(write=WriteSeen(at=deleting.observation.now)).plan()
    assert late.finalizer is FinalizerChange.REMOVE
    assert "still there" in late.why[0]


def test_an_operator_that_was_away_past_the_deadline_still_tries_once(deleting):
    first = deleting.pass_time(3600).plan()
    assert first.write
    assert first.remove == names.all_applications(KEY)
    assert first.finalizer is FinalizerChange.KEEP
    assert first.requeue_after_s == 5
    tried = deleting.change(write=WriteSeen(at=deleting.observation.now)).plan()
    assert tried.finalizer is FinalizerChange.REMOVE


def test_a_ray_that_was_not_asked_yet_is_waited_for(deleting):
    decided = deleting.change(ray=None).plan()
    assert decided.finalizer is FinalizerChange.KEEP
    assert not decided.write


def test_without_an_address_the_finalizer_goes_at_once(deleting):
    deleting.settings = Settings()
    assert deleting.plan().finalizer is FinalizerChange.REMOVE


def test_an_invalid_spec_is_deleted_where_it_was_written(deleting):
    deleting.settings = Settings()
    decided = deleting.see(spec=None, spec_error="spec.model: this field is required").plan()
    assert decided.write
    assert decided.remove == names.all_applications(KEY)


def test_a_never_reconciled_service_is_deleted_by_the_default_address(world):
    world.see(deleting_since=world.observation.now, has_finalizer=True, spec=None, spec_error="x")
    assert world.plan().finalizer is FinalizerChange.REMOVE


def test_without_our_finalizer_nothing_is_done(deleting):
    decided = deleting.see(has_finalizer=False).plan()
    assert decided.finalizer is FinalizerChange.KEEP
    assert not decided.write
    assert decided.remove == ()
