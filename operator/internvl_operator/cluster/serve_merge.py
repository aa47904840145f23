"""What one write to a Ray address would change, as a plain value. Pure; called by `ray_writer`.

The PUT replaces the whole set of declarative applications, so every write carries the entries of all other
owners, taken from an answer read a moment before. Nothing in such an entry is understood or touched here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internvl_operator.api.conditions import Reason
from internvl_operator.cluster.ray import ServeState

REDACTED = "<redacted>"
"""What Ray shows in place of an environment value that it hides. Written back, it would destroy the value."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What one service wants of Serve: these applications stand, those names do not."""

    applications: tuple[Mapping[str, Any], ...] = ()
    remove: tuple[str, ...] = ()

    def names(self) -> frozenset[str]:
        """All application names that this service speaks for."""
        return frozenset(str(app["name"]) for app in self.applications) | frozenset(self.remove)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is written: a reason, and a sentence."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Merge:
    """One possible write."""

    applications: tuple[Mapping[str, Any], ...]
    """The whole set to PUT, other owners' entries as they were."""
    changed: frozenset[str]
    """Names that would be added, replaced or removed. Empty: there is nothing to write."""
    building: tuple[str, ...]
    """Other applications that a PUT now would make Serve build from the start again."""
    refusal: Refusal | None
    """Why this set must not be written at all."""


def merge(state: ServeState, submissions: Sequence[Submission]) -> Merge:
    """Lay the submissions over what Serve reported."""
    wanted = {str(app["name"]): app for submission in submissions for app in submission.applications}
    unwanted = {name for submission in submissions for name in submission.remove} - set(wanted)
    kept: list[Mapping[str, Any]] = []
    changed: set[str] = set()
    unreadable: list[str] = []
    refusal: Refusal | None = None
    for name, details in state.applications.items():
        if name in wanted:
            continue
        config = details.get("deployed_app_config")
        if name in unwanted:
            if config is not None:
                changed.add(name)
        elif details.get("source") != "declarative":
            continue
        elif config is not None:
            refusal = refusal or _refusal(name, config)
            kept.append(config)
        elif details.get("status") != "DELETING":
            unreadable.append(name)
    for name, app in wanted.items():
        details = state.applications.get(name, {})
        if details and details.get("source") == "imperative":
            refusal = refusal or Refusal(
                Reason.APPLICATION_NOT_OURS,
                f"an application named {name!r} was deployed by serve.run; delete it there, it is not ours",
            )
        if not same_json(details.get("deployed_app_config"), app):
            changed.add(name)
    building = [name for name, details in state.applications.items() if is_building(details)]
    return Merge(
        applications=(*kept, *(wanted[name] for name in sorted(wanted))),
        changed=frozenset(changed),
        building=tuple(sorted({*unreadable, *building} - changed)),
        refusal=refusal,
    )


def is_building(details: Mapping[str, Any]) -> bool:
    """Whether Serve imports and builds the application right now.

    Serve lists no deployments until its build task is done, and a PUT in this phase cancels and restarts
    the task, also for an unchanged entry. While replicas start, a PUT does no harm. (Ray 2.60,
    `application_state.py`: `apply_app_config` with `code_version` None.)
    """
    return details.get("status") in ("NOT_STARTED", "DEPLOYING") and not details.get("deployments")


def same_json(left: object, right: object) -> bool:
    """Equality of JSON values: order of keys aside, 1 equals 1.0, but true is not 1."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(same_json(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def _refusal(name: str, config: Mapping[str, Any]) -> Refusal | None:
    if not _holds_redacted(config):
        return None
    return Refusal(
        Reason.FOREIGN_CONFIG_UNREADABLE,
        f"Ray hides environment values of the application {name!r}, so writing it back would destroy them; "
        "set RAY_DASHBOARD_REDACT_RUNTIME_ENV=0 on the Ray head",
    )


def _holds_redacted(value: object) -> bool:
    if isinstance(value, str):
        return value == REDACTED
    if isinstance(value, Mapping):
        return any(_holds_redacted(item) for item in value.values())
    if isinstance(value, list):
        return any(_holds_redacted(item) for item in value)
    return False
