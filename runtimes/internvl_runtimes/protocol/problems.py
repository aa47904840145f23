"""Problems in OpenAI's shape, and the one table from exception to HTTP status.

The gateway raises these and turns every exception of a request into one by `problem_of`. Exceptions that
travel between replicas lie in `handover`.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from internvl_runtimes.protocol.handover import FeaturesInvalid, Overloaded, PictureUnreadable, PromptTooLong


class RequestInvalid(ValueError):
    """The request is wrong; `param` names the field, as `messages[1].content[0].image_url.url`."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        self.message = message
        self.param = param
        self.code = code
        super().__init__(message)


class BodyTooLarge(RequestInvalid):
    """The body has more bytes than the gateway reads."""


class ModelUnknown(LookupError):
    """The request asks for a model that this service does not serve."""


class RouteUnknown(LookupError):
    """No such path, or not with this method."""


class RoleUnavailable(Exception):
    """A side has no replica that answers, after the retries. It may come back: 503 with Retry-After."""


class DeadlinePassed(Exception):
    """The answer was not there in time."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the client sees it."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None

    def body(self) -> dict[str, Any]:
        """`{"error": {...}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """`retry-after` in whole seconds, where it makes sense to try again."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(max(1, math.ceil(self.retry_after_s)))}


@dataclass(frozen=True, slots=True)
class _Row:
    exception: type[BaseException]
    status: int
    type: str
    code: str
    param: str | None = None
    retry_after_s: float | None = None


# The first row that fits counts, so a subclass stands above its base.
_TABLE = (
    _Row(BodyTooLarge, 413, "invalid_request_error", "body_too_large"),
    _Row(RequestInvalid, 400, "invalid_request_error", "invalid_value"),
    _Row(PromptTooLong, 400, "invalid_request_error", "context_length_exceeded", param="messages"),
    _Row(PictureUnreadable, 400, "invalid_request_error", "invalid_image", param="messages"),
    _Row(ModelUnknown, 404, "invalid_request_error", "model_not_found", param="model"),
    _Row(RouteUnknown, 404, "invalid_request_error", "unknown_url"),
    _Row(Overloaded, 429, "rate_limit_error", "overloaded"),
    _Row(asyncio.CancelledError, 499, "cancelled", "client_closed_request"),
    _Row(RoleUnavailable, 503, "service_unavailable", "role_unavailable", retry_after_s=2.0),
    _Row(DeadlinePassed, 504, "timeout", "deadline_exceeded"),
    _Row(FeaturesInvalid, 500, "server_error", "features_invalid"),
)


def problem_of(error: BaseException) -> Problem:
    """The problem that an exception is to the client. Unknown ones are 500 and keep their text to themselves."""
    for row in _TABLE:
        if isinstance(error, row.exception):
            return Problem(
                status=row.status,
                type=row.type,
                code=getattr(error, "code", None) or row.code,
                message=getattr(error, "message", None) or str(error) or row.code,
                param=getattr(error, "param", None) or row.param,
                retry_after_s=getattr(error, "retry_after_s", row.retry_after_s),
            )
    return Problem(500, "server_error", "internal_error", "The server failed; its log says why.")
