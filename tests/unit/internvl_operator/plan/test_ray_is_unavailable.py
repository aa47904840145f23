import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.plan.decision import EventKind
from internvl_operator.settings import Settings


@pytest.mark.parametrize(
    "reason",
    [
        Reason.RAY_UNREACHABLE,
        Reason.RAY_TIMED_OUT,
        Reason.RAY_UNAUTHORIZED,
        Reason.NOT_RAY,
        Reason.SERVE_UNAVAILABLE,
    ],
)
def test_ready_ends_and_the_message_says_what_to_do(ready, reason):
    ready.ray_fails(reason)
    decided = ready.settle()
    assert ready.said() == ("False", reason.value)
    assert reason.action in ready.condition().message
    assert ready.said("Degraded") == ("True", reason.value)
    assert ready.said("Progressing") == ("False", reason.value)
    assert ready.said("VisionReady") == ("Unknown", reason.value)
    assert not decided.write
    assert [event.kind for event in decided.events] == [EventKind.WARNING]
    assert decided.status.last_failure.reason is reason
    assert decided.status.roles.vision.replicas == "?/1"
    assert decided.status.roles.vision.ready is None


def test_it_heals_without_a_probe_when_the_same_replicas_come_back(ready):
    ray = ready.ray
    ready.ray_fails(Reason.RAY_UNREACHABLE).settle()
    ready.change(ray=ray)
    assert ready.said() == ("True", "Ready")
    assert ready.plan().probe is None
    assert ready.plan().status.last_failure.reason is Reason.RAY_UNREACHABLE


def test_the_same_failure_is_told_once_and_anew_after_it_healed(ready):
    ray = ready.ray
    first = ready.ray_fails(Reason.RAY_UNREACHABLE).settle().status.last_failure
    assert ready.pass_time(60).settle().status.last_failure == first
    ready.change(ray=ray).settle()
    again = ready.pass_time(60).ray_fails(Reason.RAY_UNREACHABLE).settle().status.last_failure
    assert again.time > first.time


def test_an_address_that_was_not_asked_yet_is_unknown(world):
    decided = world.change(ray=None).plan()
    assert world.said() == ("Unknown", "NotObserved")
    assert world.said("Progressing") == ("True", "NotObserved")
    assert decided.requeue_after_s == world.settings.poll_interval_s
    assert not decided.events


def test_an_answer_of_another_address_does_not_count(world):
    world.change_ray(address="http://other:8265")
    assert world.said() == ("Unknown", "NotObserved")


def test_without_any_address_the_message_says_where_to_put_one(world):
    world.settings = Settings()
    world.change(ray=None)
    assert world.said() == ("False", "BackendAddressMissing")
    assert "spec.backend.ray.address" in world.condition().message


def test_the_services_own_address_comes_first(world):
    spec = {"model": {"uri": "file:///m"}, "backend": {"ray": {"address": "http://mine:8265/"}}}
    world.respec(spec).change_ray(address="http://mine:8265")
    assert world.plan().write
    assert world.plan().status.ray_address == "http://mine:8265"


def test_an_invalid_spec_names_the_field_and_touches_nothing(ready):
    decided = ready.see(spec=None, spec_error="spec.model.uri: must be file:///x", generation=2).settle()
    assert ready.said() == ("False", "SpecInvalid")
    assert "spec.model.uri" in ready.condition().message
    assert not decided.write
    assert decided.applications == ()
    assert decided.status.observed_generation == 2
    assert decided.status.model.name == "nano"
    assert decided.status.roles.vision.engine == "onnxruntime"


def test_an_invalid_spec_of_a_new_service_has_no_model(world):
    decided = world.see(spec=None, spec_error="spec.model: this field is required").plan()
    assert decided.status.model is None
    assert decided.status.roles.vision.replicas == "?/0"


@pytest.mark.parametrize("written", ["http://Ray-Head:8265/", "http://RAY-HEAD:08265"])
def test_an_address_may_be_written_in_any_of_its_forms(world, written):
    """Else the answer of the address in its normal form would be taken for another one's, for ever."""
    spec = {"model": {"uri": "file:///models/nano"}, "backend": {"ray": {"address": written}}}
    world.respec(spec)
    assert world.said()[1] == "Deploying"
