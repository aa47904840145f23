"""Each exception is one problem to the client."""

import asyncio

import pytest

from internvl_runtimes.protocol import problems
from internvl_runtimes.protocol.handover import FeaturesInvalid, Overloaded, PictureUnreadable, PromptTooLong
from internvl_runtimes.protocol.problems import problem_of


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (problems.RequestInvalid("x", param="stop"), 400, "invalid_value"),
        (problems.RequestInvalid("x", code="invalid_image"), 400, "invalid_image"),
        (problems.BodyTooLarge("x"), 413, "body_too_large"),
        (PromptTooLong("x"), 400, "context_length_exceeded"),
        (PictureUnreadable(0, "x"), 400, "invalid_image"),
        (problems.ModelUnknown("x"), 404, "model_not_found"),
        (problems.RouteUnknown("x"), 404, "unknown_url"),
        (Overloaded("x", 2.5), 429, "overloaded"),
        (asyncio.CancelledError(), 499, "client_closed_request"),
        (problems.RoleUnavailable("x"), 503, "role_unavailable"),
        (problems.DeadlinePassed("x"), 504, "deadline_exceeded"),
        (FeaturesInvalid("x"), 500, "features_invalid"),
        (KeyError("secret"), 500, "internal_error"),
    ],
)
def test_an_exception_has_its_status_and_code(error: BaseException, status: int, code: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert set(problem.body()["error"]) == {"message", "type", "param", "code"}


def test_a_full_queue_says_when_to_come_back_in_whole_seconds() -> None:
    assert problem_of(Overloaded("x", 2.5)).headers() == {"retry-after": "3"}
    assert problem_of(Overloaded("x", 0.1)).headers() == {"retry-after": "1"}
    assert problem_of(problems.RequestInvalid("x")).headers() == {}


def test_an_unknown_exception_keeps_its_text_to_itself() -> None:
    assert "secret" not in str(problem_of(KeyError("secret")).body())
