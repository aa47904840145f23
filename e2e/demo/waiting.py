"""Wait for a service to be Ready, and show what it is waiting for."""

from __future__ import annotations

import json
import time
from typing import Any

from e2e.cluster.errors import StartFailed
from e2e.demo.parts import LocalInstallation
from e2e.setup.progress import say

_POLL_S = 0.3


class NotReady(StartFailed):
    """The service did not become Ready in time; the message has its conditions."""


def wait_until_ready(installation: LocalInstallation, name: str, *, timeout_s: float) -> dict[str, Any]:
    """Poll the service until its condition Ready is True for the present generation; each change is shown.

    Returns:
        The whole object.

    Raises:
        NotReady: with the last word of each condition.
    """
    deadline = time.monotonic() + timeout_s
    shown: dict[str, tuple[str, str]] = {}
    while True:
        installation.check_operator()
        service = json.loads(installation.kubectl("get", "ivl", name, "-o", "json"))
        conditions = service.get("status", {}).get("conditions", [])
        for condition in conditions:
            state = (condition["status"], condition["reason"])
            if shown.get(condition["type"]) != state:
                shown[condition["type"]] = state
                say(f"  {condition['type']}={state[0]} {state[1]}: {condition['message']}")
        if is_ready(service):
            return dict(service)
        if time.monotonic() > deadline:
            last = "\n".join(f"  {c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions)
            raise NotReady(f"{name} was not Ready after {timeout_s:.0f} s:\n{last or '  no status yet'}")
        time.sleep(_POLL_S)


def is_ready(service: dict[str, Any]) -> bool:
    """Whether Ready is True, said about the present generation of the spec."""
    status = service.get("status", {})
    return status.get("observedGeneration") == service["metadata"]["generation"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])
    )
