"""Failures that a replica or an application builder reports, in a form that survives Ray Serve.

Serve shows the operator nothing but text: the traceback of the exception that stopped a replica. So each
known failure puts `[internvl:<code>] sentence` into its message; the operator finds it again with
`parse_failure`. The codes are part of the contract: they become condition reasons and are never renamed.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class FailureCode(StrEnum):
    """Why a replica cannot serve."""

    MODEL_NOT_FOUND = "ModelNotFound"
    """Nothing lies at `model.uri` on that node, or it cannot be read."""
    MODEL_INVALID = "ModelInvalid"
    """Something lies there, but it is not a checkpoint that this runtime can serve."""
    REVISION_MISMATCH = "RevisionMismatch"
    """The checkpoint there is not the one that `model.revision` asks for."""
    ARTIFACT_MISSING = "ArtifactMissing"
    """No artifact for this checkpoint, role and engine in any store."""
    ARTIFACT_CORRUPT = "ArtifactCorrupt"
    """An artifact was found, but its bytes differ from its manifest."""
    ENGINE_FAILED = "EngineFailed"
    """The engine refused the artifact or failed its own warm-up."""
    RUNTIME_VERSION_MISMATCH = "RuntimeVersionMismatch"
    """The runtime installed on the Ray cluster speaks another version of this contract."""
    CONFIG_INVALID = "ConfigInvalid"
    """The user_config did not parse: operator and runtime disagree."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as found in a message."""

    code: FailureCode
    message: str


class ReplicaFailed(Exception):
    """Raised by builders and replicas for a failure that the user can act on."""

    def __init__(self, code: FailureCode, message: str) -> None:
        self.code = code
        self.message = " ".join(message.split())
        super().__init__(f"[internvl:{code.value}] {self.message}")

    def __reduce__(self) -> tuple[type["ReplicaFailed"], tuple[FailureCode, str]]:
        """Pickle by the two arguments: Ray carries the exception between processes."""
        return type(self), (self.code, self.message)


_CODES = {code.value: code for code in FailureCode}
_MARK = re.compile(r"\[internvl:(?P<code>[A-Za-z]+)\] (?P<message>[^\n]*)")


def parse_failure(text: str) -> Failure | None:
    """Find the last known failure in `text`, or None.

    The last, because Python prints the cause of an exception before the exception itself.
    """
    found: Failure | None = None
    for match in _MARK.finditer(text):
        code = _CODES.get(match["code"])
        if code is not None:
            found = Failure(code, match["message"].strip())
    return found
