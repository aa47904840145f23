import pytest

from internvl_operator import VERSION
from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.plan.decision import EventKind
from internvl_operator.plan.failures import REASONS
from internvl_operator.plan.observation import ReplicaSeen
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed

TRACEBACK = """The deployment failed to start 3 times in a row. This may be due to a problem with its constructor \
or initial health check failing. See controller logs for details. Error:
ray::ServeReplica:team.nano:LanguageModel.initialize_and_get_metadata() (pid=4711, ip=10.0.0.7)
  File "language_model.py", line 12, in __init__
{error}
"""
UNSCHEDULED = (
    "Deployment 'VisionEncoder' in application 'team.nano.vision' has 1 replicas that have taken more than 30s "
    "to be scheduled. This may be due to waiting for the cluster to auto-scale or for a runtime environment to "
    "be installed. Resources required for each replica: {'CPU': 8.0}, total resources available: {'CPU': 1.7}. "
    "Use `ray status` for more details."
)


@pytest.fixture
def written(world):
    """Everything runs, nothing was probed."""
    world.serve_takes(world.settle()).settle()
    return world


@pytest.mark.parametrize("role", [Role.VISION, Role.LANGUAGE])
@pytest.mark.parametrize("code", list(FailureCode))
def test_each_known_failure_has_its_reason_and_names_the_role(written, role, code):
    error = f"internvl.ReplicaFailed: {ReplicaFailed(code, 'look at /models/nano')}"
    written.deployment(role, "DEPLOY_FAILED", TRACEBACK.format(error=error))
    assert written.said() == ("False", REASONS[code].value)
    assert written.condition().message.startswith(f"{role}: ")
    assert "look at /models/nano" in written.condition().message
    assert written.said(f"{role.value.capitalize()}Ready") == ("False", REASONS[code].value)
    other = "LanguageReady" if role is Role.VISION else "VisionReady"
    assert written.said(other) == ("True", "Ready")
    assert [event.kind for event in written.plan().events] == [EventKind.WARNING]


def changed_language(**language):
    return {
        "model": {"uri": "file:///models/nano"},
        "vision": {"pool": "vision"},
        "language": {"pool": "language", **language},
    }


def test_replicas_of_the_configuration_before_do_not_speak_for_the_new_one(ready):
    ready.respec(changed_language(cpu="2"))
    ready.serve_holds(ready.settle())
    assert ready.said() == ("False", "Deploying")
    assert ready.said("LanguageReady") == ("False", "Deploying")
    assert "taking up the new configuration" in ready.condition("LanguageReady").message
    assert ready.said("VisionReady") == ("True", "Ready")
    assert ready.settle().status.roles.language.updated == 0
    assert ready.plan().probe is None
    ready.serve_takes(ready.plan(), replica="r2")
    assert ready.said("LanguageReady") == ("True", "Ready")


def test_a_failure_of_the_configuration_before_is_not_told_about_the_new_one(written):
    message = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing lies at /models/nano"))
    written.deployment(Role.LANGUAGE, "DEPLOY_FAILED", message).settle()
    written.respec({**changed_language(), "model": {"uri": "file:///models/right"}})
    written.serve_holds(written.settle())
    assert written.said() == ("False", "Deploying")
    assert written.said("Degraded") == ("False", "AsDesired")
    assert written.plan().status.roles.language.failed_at is None


def test_a_retry_that_serve_has_not_taken_up_yet_does_not_hide_the_failure(written):
    message = str(ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing lies at /models/nano"))
    written.deployment(Role.LANGUAGE, "DEPLOY_FAILED", message).settle()
    retry = written.pass_time(11).settle()
    written.serve_holds(retry)
    assert written.plan().status.roles.language.attempt == 1
    assert written.said() == ("False", "ModelNotFound")
    assert not written.plan().write


def test_a_failure_is_told_while_serve_still_retries(written):
    error = ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing lies at /models/nano")
    message = f"A replica failed to start with exception. Retrying 2 more time(s). Error:\n{error}"
    written.deployment(Role.LANGUAGE, "UPDATING", message)
    assert written.said() == ("False", "ModelNotFound")
    assert "spec.model.uri" in written.condition().message


def test_a_field_that_the_message_names_itself_is_not_repeated(written):
    error = ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "spec.model.uri is empty")
    written.deployment(Role.LANGUAGE, "UPDATING", str(error))
    assert written.condition().message == "language: spec.model.uri is empty"


def test_a_missing_runtime_gives_the_line_to_install_it(written):
    message = "Deploying app 'team.nano' failed with exception:\nModuleNotFoundError: No module named 'internvl_runtimes'"
    written.build(Role.VISION, "DEPLOY_FAILED", message).build(Role.LANGUAGE, "DEPLOY_FAILED", message)
    assert written.said() == ("False", "RuntimeMissing")
    assert f'pip install "internvl-operator[runtime]=={VERSION}"' in written.condition().message
    assert written.said("LanguageReady") == ("False", "RuntimeMissing")


def test_another_version_of_the_runtime_gives_the_line_too(written):
    error = ReplicaFailed(FailureCode.RUNTIME_VERSION_MISMATCH, "contract 2 is asked for, here is 1")
    written.build(Role.VISION, "DEPLOY_FAILED", str(error))
    assert written.said() == ("False", "RuntimeVersionMismatch")
    assert "pip install" in written.condition().message


def test_an_unknown_failure_shows_the_last_line(written):
    written.deployment(Role.VISION, "DEPLOY_FAILED", TRACEBACK.format(error="ValueError: seven"))
    assert written.said() == ("False", "ReplicaFailed")
    assert written.condition().message == "vision: replicas do not start: ValueError: seven"


def test_a_failed_build_without_a_known_word_shows_its_last_line(written):
    written.build(Role.VISION, "DEPLOY_FAILED", "Unexpected error:\n  KeyError: 'x'\n")
    assert written.condition().message == "vision: replicas do not start: KeyError: 'x'"


def test_a_silent_failure_still_has_a_sentence(written):
    written.build(Role.VISION, "DEPLOY_FAILED", "")
    assert written.condition().message == "vision: replicas do not start: Serve gives no reason"


def test_long_texts_are_cut(written):
    written.deployment(Role.VISION, "DEPLOY_FAILED", f"failed to start\n{'x' * 5000}")
    assert len(written.condition().message) < 1000
    assert written.condition().message.endswith("...")


def test_a_pool_without_nodes_is_named(written):
    waiting = ReplicaSeen(id="r", state="STARTING")
    written.change_ray(node_pools=frozenset({"language"}))
    written.deployment(Role.VISION, "UPDATING", UNSCHEDULED, waiting)
    assert written.said() == ("False", "PoolNotFound")
    assert "serving.internvl.io/pool=vision" in written.condition().message
    assert "pools there: language" in written.condition().message


def test_a_build_that_waits_for_the_pool_is_explained(written):
    written.change_ray(node_pools=frozenset()).build(Role.VISION, "DEPLOYING")
    assert written.said() == ("False", "PoolNotFound")
    assert "pools there: none" in written.condition().message


def test_unknown_pools_are_not_missing_pools(written):
    written.change_ray(node_pools=None).build(Role.VISION, "DEPLOYING")
    assert written.said() == ("False", "Deploying")


def test_too_little_room_says_what_a_replica_wants(written):
    written.deployment(Role.VISION, "UPDATING", UNSCHEDULED, ReplicaSeen(id="r", state="STARTING"))
    assert written.said() == ("False", "InsufficientResources")
    assert "{'CPU': 8.0}" in written.condition().message
    assert "1.7" not in written.condition().message  # it moves, and the status would with it


@pytest.mark.parametrize(
    ("vision", "fields"),
    [
        ({}, "spec.vision.cpu, memory or minReplicas"),
        ({"gpus": 1, "maxReplicas": 4}, "spec.vision.cpu, gpus, memory or maxReplicas"),
    ],
)
def test_too_little_room_names_the_fields_that_ask_for_it(world, vision, fields):
    world.respec({"model": {"uri": "file:///m"}, "vision": vision})
    world.serve_takes(world.settle()).settle()
    world.deployment(Role.VISION, "UPDATING", UNSCHEDULED, ReplicaSeen(id="r", state="STARTING"))
    assert fields in world.condition("VisionReady").message


def test_a_replica_that_found_its_node_has_room(written):
    starting = ReplicaSeen(id="r", state="STARTING", node_id="n")
    written.deployment(Role.VISION, "UPDATING", UNSCHEDULED, starting)
    assert written.said() == ("False", "Deploying")


def test_a_dead_side_is_unhealthy_while_the_other_is_fine(ready):
    ready.deployment(Role.LANGUAGE, "UNHEALTHY", "A replica's health check failed.")
    assert ready.said() == ("False", "ReplicaUnhealthy")
    assert ready.said("LanguageReady") == ("False", "ReplicaUnhealthy")
    assert ready.said("VisionReady") == ("True", "Ready")


def test_one_dead_replica_of_two_degrades_but_serves(world):
    spec = {"model": {"uri": "file:///m"}, "vision": {"minReplicas": 2}}
    world.respec(spec).made_ready()
    survivor = ReplicaSeen(id="r1-VisionEncoder-0", state="RUNNING", node_id="n")
    world.deployment(Role.VISION, "UNHEALTHY", "A replica's health check failed.", survivor)
    decided = world.settle()
    assert world.said() == ("True", "Ready")
    assert world.said("Degraded") == ("True", "ReplicaUnhealthy")
    assert "1 of 2 replicas" in world.condition("VisionReady").message
    assert [event.reason for event in decided.events] == [Reason.REPLICA_UNHEALTHY]
    assert world.plan().events == ()


def test_a_gateway_that_does_not_start_blocks_ready_only(written):
    written.deployment(Role.GATEWAY, "DEPLOY_FAILED", TRACEBACK.format(error="OSError: port"))
    assert written.said() == ("False", "ReplicaFailed")
    assert written.condition().message.startswith("gateway: ")
    assert written.said("LanguageReady") == ("True", "Ready")


def test_a_failure_speaks_before_progress_of_the_other_side(written):
    written.build(Role.VISION, "DEPLOYING")
    error = ReplicaFailed(FailureCode.ARTIFACT_CORRUPT, "decoder.onnx")
    written.deployment(Role.LANGUAGE, "DEPLOY_FAILED", str(error))
    assert written.said() == ("False", "ArtifactCorrupt")
    assert written.said("Progressing") == ("True", "Deploying")
