import pytest

from internvl_operator.plan.decision import EventKind
from internvl_operator.plan.observation import ProbeSeen
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.contract.probes import RoleAnswer


@pytest.fixture
def running(world):
    """Everything runs; the probe is pending."""
    world.serve_takes(world.settle()).settle()
    return world


def test_no_answer_says_why(running):
    decided = running.probed(error="http://head:8000: timed out").settle()
    assert running.said() == ("False", "ProbeFailed")
    assert running.said("ProbePassed") == ("False", "ProbeFailed")
    assert running.said("VisionReady") == ("True", "Ready")
    assert "timed out" in running.condition().message
    assert [event.kind for event in decided.events] == [EventKind.WARNING]


def test_a_failed_probe_is_asked_again_after_a_pause(running):
    running.probed(error="refused")
    assert running.plan().probe is None
    assert running.plan().requeue_after_s == pytest.approx(5)
    assert running.pass_time(5).plan().probe is not None


def test_the_side_that_failed_is_blamed(running):
    broken = RoleAnswer(ok=False, error="OSError: weights gone")
    running.probed(running.answer(ok=False, vision=broken))
    assert running.said() == ("False", "ProbeFailed")
    assert running.said("VisionReady") == ("False", "ProbeFailed")
    assert running.said("LanguageReady") == ("True", "Ready")
    assert "OSError: weights gone" in running.condition().message


def test_a_known_failure_in_the_answer_keeps_its_reason(running):
    error = str(ReplicaFailed(FailureCode.ENGINE_FAILED, "bad node"))
    running.probed(running.answer(ok=False, language=RoleAnswer(ok=False, error=error)))
    assert running.said("LanguageReady") == ("False", "EngineFailed")


def test_a_side_that_fails_silently_still_has_a_sentence(running):
    running.probed(running.answer(ok=False, language=RoleAnswer(ok=False)))
    assert "no reason given" in running.condition().message


def test_identical_features_are_not_ready(running):
    running.probed(running.answer(features_differ=False))
    assert running.said() == ("False", "FeaturesIdentical")
    assert running.said("VisionReady") == ("False", "FeaturesIdentical")


def test_an_old_generation_is_not_ready(running):
    good = running.answer().vision
    running.probed(running.answer(vision=good.model_copy(update={"generation": "old"})))
    assert running.said() == ("False", "OldGeneration")
    assert running.pass_time(5).plan().probe is not None


def test_an_answer_without_a_generation_is_not_ready(running):
    good = running.answer().language
    running.probed(running.answer(language=good.model_copy(update={"generation": ""})))
    assert "generation unknown answered" in running.condition().message


def test_sides_with_different_checkpoints_are_not_ready(running):
    good = running.answer().vision
    running.probed(running.answer(vision=good.model_copy(update={"revision": ""})))
    assert running.said() == ("False", "RevisionsDiffer")
    assert "an unknown revision" in running.condition().message


def test_another_revision_than_asked_for_is_not_ready(world):
    spec = {"model": {"uri": "file:///m", "revision": "sha256:" + "cd" * 6}}
    world.respec(spec)
    world.serve_takes(world.settle()).settle()
    world.probed(world.answer())
    assert world.said() == ("False", "RevisionMismatch")


def test_a_gateway_that_says_no_is_believed(running):
    running.probed(running.answer(ok=False))
    assert running.said() == ("False", "ProbeFailed")


def test_the_answer_about_other_replicas_does_not_count(running):
    seen = ProbeSeen(at=running.observation.now, subject="other", answer=running.answer())
    running.change(probe=seen)
    assert running.said() == ("False", "ProbePending")


def test_the_memory_of_a_pass_survives_an_answer_about_others(ready):
    before = ready.seen.status
    seen = ProbeSeen(at=ready.observation.now, subject="other", error="refused")
    assert ready.change(probe=seen).plan().status == before


def test_a_fresh_failure_outweighs_the_memory_of_a_pass(ready):
    passed = ready.observation.probe
    ready.change(probe=ProbeSeen(at=passed.at, subject=passed.subject, error="refused"))
    assert ready.said() == ("False", "ProbeFailed")
