"""A failure is found again in what Serve shows, and crosses processes whole."""

import pickle
import traceback

import pytest

from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed, parse_failure


def test_a_failure_is_found_in_a_traceback() -> None:
    try:
        try:
            raise FileNotFoundError("/models/x")
        except FileNotFoundError as error:
            raise ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "nothing at\n /models/x.") from error
    except ReplicaFailed:
        seen = parse_failure(traceback.format_exc())
    assert seen is not None
    assert (seen.code, seen.message) == (FailureCode.MODEL_NOT_FOUND, "nothing at /models/x.")


def test_the_last_failure_counts() -> None:
    text = "[internvl:ModelInvalid] first.\nbecause\n[internvl:EngineFailed] second.\n"
    seen = parse_failure(text)
    assert seen is not None and seen.code is FailureCode.ENGINE_FAILED


@pytest.mark.parametrize("text", ["", "RuntimeError: x", "[internvl:NoSuchCode] x"])
def test_no_known_failure_is_none(text: str) -> None:
    assert parse_failure(text) is None


def test_a_failure_crosses_processes() -> None:
    sent = ReplicaFailed(FailureCode.ARTIFACT_MISSING, "build it.")
    received = pickle.loads(pickle.dumps(sent))
    assert (received.code, received.message, str(received)) == (sent.code, sent.message, str(sent))
