"""Errors whose type says what happens next.

    OperatorError
    ├── Rejected      the user must change something; repeating it changes nothing
    └── NotYet        it may work later by itself; try again after `delay_s`

Anything else that is raised is a bug and is loud. Errors of foreign libraries are translated into these two
in `cluster/` only; `plan/` raises neither: each state of the world has a plan.
"""


class OperatorError(Exception):
    """Base of all errors that this operator raises on purpose."""


class Rejected(OperatorError):
    """Something the user wrote cannot be used. `field` names it (`spec.model.uri`), when there is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        self.message = message
        self.field = field
        super().__init__(message if field is None else f"{field}: {message}")


class NotYet(OperatorError):
    """Not possible now, likely later. The caller comes back after `delay_s` seconds."""

    def __init__(self, message: str, *, delay_s: float = 5.0) -> None:
        self.message = message
        self.delay_s = delay_s
        super().__init__(message)
