"""What a changed configuration does to running replicas."""

from pathlib import Path
from typing import Any

from internvl_runtimes.contract import serve_args
from internvl_runtimes.contract.failures import FailureCode, parse_failure
from internvl_runtimes.contract.serve_args import ModelSource
from tests.local.dataplane.service import (
    MODEL,
    SERVICE_APPLICATION,
    VISION_APPLICATION,
    Service,
    eventually,
    picture,
    question,
)


def _pids(service: Service) -> tuple[int, ...]:
    return (
        service.replica_pid(VISION_APPLICATION, serve_args.VISION_DEPLOYMENT),
        service.replica_pid(SERVICE_APPLICATION, serve_args.LANGUAGE_DEPLOYMENT),
        service.replica_pid(SERVICE_APPLICATION, serve_args.GATEWAY_DEPLOYMENT),
    )


def test_changed_limits_restart_no_replica(service: Service) -> None:
    before = _pids(service)
    service.apply(
        vision={"max_batch_tiles": 2, "generation": "v5"},
        language={"max_sequences": 2, "generation": "l5"},
        gateway={"max_images": 1, "generation": "g5"},
    )
    assert _pids(service) == before
    assert service.ask(question(picture(1), picture(2))).json()["error"]["code"] == "too_many_images"


def test_a_side_that_cannot_load_says_why_and_heals(service: Service) -> None:
    broken = {"model": ModelSource(uri=Path("/nonexistent").as_uri(), name=MODEL), "generation": "v6"}
    service.nodes.put_serve_config(service.config(vision=broken))

    def vision() -> Any:
        return service.nodes.applications().get(VISION_APPLICATION, {})

    # Three replicas are tried one after the other, a new process each.
    eventually("Serve to give up", lambda: vision().get("status") == "DEPLOY_FAILED")
    deployment = eventually("its state", vision)["deployments"][serve_args.VISION_DEPLOYMENT]
    failure = parse_failure(deployment["message"])
    assert failure is not None and failure.code is FailureCode.MODEL_NOT_FOUND
    reply = service.ask(question(picture(1)))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "role_unavailable")
    assert reply.headers["retry-after"]
    assert service.ask(question(text="What is two plus three?")).status_code == 200
    service.apply()
    assert service.ask(question(picture(1))).status_code == 200


def test_another_version_of_the_contract_is_refused_when_the_application_is_built(service: Service) -> None:
    config = service.config()
    future = config["applications"][0] | {"name": "future", "args": {"contract": "99", "service": "a/b"}}
    service.nodes.put_serve_config({"applications": [*config["applications"], future]})
    eventually("the build to fail", lambda: _status(service, "future") == "DEPLOY_FAILED")
    applications = eventually("the applications", service.nodes.applications)
    failure = parse_failure(applications["future"]["message"])
    assert failure is not None and failure.code is FailureCode.RUNTIME_VERSION_MISMATCH


def _status(service: Service, application: str) -> str:
    return str(service.nodes.applications().get(application, {}).get("status"))
