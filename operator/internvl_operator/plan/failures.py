"""What Serve's texts mean: the marks that our runtime leaves in them, and the few sentences of Serve we know.

Texts carry process ids, counters and times; what is returned here does not, so that a condition stays equal
while nothing changes.
"""

import re

from internvl_operator import VERSION
from internvl_operator.api.conditions import Reason
from internvl_runtimes.contract.failures import FailureCode, parse_failure

INSTALL_LINE = f'pip install "internvl-operator[runtime]=={VERSION}"'
"""What is missing on a Ray node without the runtime."""

REASONS = {
    FailureCode.MODEL_NOT_FOUND: Reason.MODEL_NOT_FOUND,
    FailureCode.MODEL_INVALID: Reason.MODEL_INVALID,
    FailureCode.REVISION_MISMATCH: Reason.REVISION_MISMATCH,
    FailureCode.ARTIFACT_MISSING: Reason.ARTIFACT_MISSING,
    FailureCode.ARTIFACT_CORRUPT: Reason.ARTIFACT_CORRUPT,
    FailureCode.ENGINE_FAILED: Reason.ENGINE_FAILED,
    FailureCode.RUNTIME_VERSION_MISMATCH: Reason.RUNTIME_VERSION_MISMATCH,
    FailureCode.CONFIG_INVALID: Reason.CONFIG_INVALID,
}
FIELDS = {
    Reason.MODEL_NOT_FOUND: "spec.model.uri",
    Reason.MODEL_INVALID: "spec.model.uri",
    Reason.REVISION_MISMATCH: "spec.model.revision",
}
"""The field to look at, where there is one."""

MESSAGE_LIMIT = 900
"""Characters of a message; an Event takes 1024."""

_MISSING_MODULE = re.compile(r"No module named '(?P<module>[\w.]+)'")
_UNSCHEDULED = re.compile(
    r"to be scheduled\..*?Resources required for each replica: (?P<wanted>\{[^}]*\})", re.S
)
_START_FAILED = "failed to start"


def known_failure(text: str) -> tuple[Reason, str] | None:
    """Reason and sentence for a text in which our runtime, or Python's import, says what is wrong."""
    failure = parse_failure(text)
    if failure is not None:
        reason = REASONS[failure.code]
        return reason, shorten(_with_advice(reason, failure.message))
    missing = _MISSING_MODULE.search(text)
    if missing is not None:
        message = f"the Ray node lacks the Python module {missing['module']}; {_install_advice()}"
        return Reason.RUNTIME_MISSING, message
    return None


def unscheduled(text: str) -> str | None:
    """What one replica wants, if Serve says that it has found no node for it for a while."""
    match = _UNSCHEDULED.search(text)
    return None if match is None else match["wanted"]


def start_failure(text: str) -> str | None:
    """Last line of the error, if Serve says that a replica did not start."""
    if _START_FAILED not in text:
        return None
    return last_line(text)


def last_line(text: str) -> str:
    """The last line that holds something: in a traceback, the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shorten(lines[-1]) if lines else "Serve gives no reason"


def shorten(text: str) -> str:
    """At most MESSAGE_LIMIT characters on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= MESSAGE_LIMIT else f"{flat[: MESSAGE_LIMIT - 3]}..."


def _with_advice(reason: Reason, message: str) -> str:
    if reason in (Reason.RUNTIME_VERSION_MISMATCH, Reason.CONFIG_INVALID):
        return f"{message} ({_install_advice()})"
    field = FIELDS.get(reason)
    return message if field is None or field in message else f"{field}: {message}"


def _install_advice() -> str:
    return f"run on each Ray node, and restart Ray there: {INSTALL_LINE}"
