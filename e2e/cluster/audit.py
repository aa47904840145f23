"""What somebody asked of the API server, from its audit log, in the terms of RBAC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_CREATED = 201


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one kind of object."""

    group: str
    """API group; empty for the core."""
    resource: str
    """`pods`, or `pods/log`."""
    verb: str

    @classmethod
    def of_rules(cls, rules: Iterable[Mapping[str, Sequence[str]]]) -> set[Self]:
        """Every right that the rules of a Role grant; names of single objects do not count."""
        return {
            cls(group, resource, verb)
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """One request for objects, answered."""

    namespace: str
    """Empty when it was for all namespaces."""
    right: Right
    allowed: bool


def read_requests(log: Path, *, user: str, since: int = 0) -> set[Request]:
    """The requests of one user, each once; `since` is the size of the log, in bytes, when they began.

    A server-side apply that made its object needed the right to create as well, and counts as both.
    """
    found: set[Request] = set()
    for line in log.read_bytes()[since:].splitlines():
        event = json.loads(line)
        reference = event.get("objectRef")
        if event["user"]["username"] == user and reference:
            found |= {
                Request(str(reference.get("namespace", "")), right, event["responseStatus"]["code"] != 403)
                for right in _rights(event, reference)
            }
    return found


def _rights(event: Mapping[str, Any], reference: Mapping[str, Any]) -> set[Right]:
    resource = "/".join(
        part for part in (reference["resource"], reference.get("subresource")) if part is not None
    )
    group, verb = str(reference.get("apiGroup", "")), str(event["verb"])
    verbs = {verb, "create"} if verb == "patch" and event["responseStatus"]["code"] == _CREATED else {verb}
    return {Right(group, resource, each) for each in verbs}


def policy_for(namespaces: Sequence[str]) -> dict[str, Any]:
    """A policy that records who asked for what, for the service accounts of these namespaces, and nobody else."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "Metadata",
                "userGroups": [f"system:serviceaccounts:{namespace}" for namespace in namespaces],
            },
            {"level": "None"},
        ],
    }
