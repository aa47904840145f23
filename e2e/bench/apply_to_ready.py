"""Seconds from `kubectl apply` to Ready, by step, on real parts: where a user's waiting goes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from e2e.bench.result import BenchResult, Goal
from e2e.demo.parts import LocalInstallation
from e2e.demo.service import SERVICE, sample
from e2e.demo.waiting import is_ready

ROUNDS = 3
_POLL_S = 0.05
_DEADLINE_S = 180.0


@dataclass(slots=True)
class Timeline:
    """When each step was first seen, in seconds since the apply."""

    seen: dict[str, float]

    def note(self, step: str, at: float) -> None:
        """Keep the first time only."""
        self.seen.setdefault(step, at)


STEPS = (
    ("accepted", "kubectl apply returned"),
    ("observed", "the operator wrote a first status"),
    ("applications", "both applications stand in Serve"),
    ("vision", "vision replica running"),
    ("language", "language replica running"),
    ("ready", "probe passed, Ready"),
)


def run() -> BenchResult:
    """Apply, wait, delete, three times: the first round also starts Ray Serve itself."""
    with LocalInstallation() as installation:
        rounds = [_one_round(installation) for _ in range(ROUNDS)]
    rows = [
        (text, *(f"{timeline.seen.get(step, float('nan')):.1f}" for timeline in rounds))
        for step, text in STEPS
    ]
    first = rounds[0].seen["ready"]
    return BenchResult(
        name="apply_to_ready",
        title="Seconds since kubectl apply (round 1 also starts Ray Serve)",
        columns=("step", *(f"round {number}" for number in range(1, ROUNDS + 1))),
        rows=tuple(rows),
        raw={"rounds": [timeline.seen for timeline in rounds]},
        goals=(Goal("first round, apply to Ready (s)", round(first, 1), "<=", 60.0),),
    )


def _one_round(installation: LocalInstallation) -> Timeline:
    timeline, began = Timeline({}), time.monotonic()
    installation.kubectl("apply", "-f", "-", stdin=sample())
    timeline.note("accepted", time.monotonic() - began)
    while "ready" not in timeline.seen:
        service = json.loads(installation.kubectl("get", "ivl", SERVICE, "-o", "json"))
        applications = installation.ray.applications()
        _note_steps(timeline, service, applications, time.monotonic() - began)
        if time.monotonic() - began > _DEADLINE_S:
            raise TimeoutError(f"not Ready after {_DEADLINE_S:.0f} s: {service.get('status')}")
        time.sleep(_POLL_S)
    installation.kubectl("delete", "ivl", SERVICE, "--timeout=60s")
    while installation.ray.applications():
        if time.monotonic() - began > _DEADLINE_S:
            raise TimeoutError(f"Serve still has applications {_DEADLINE_S:.0f} s after the apply")
        time.sleep(_POLL_S)
    return timeline


def _note_steps(
    timeline: Timeline, service: dict[str, Any], applications: dict[str, Any], elapsed: float
) -> None:
    if service.get("status"):
        timeline.note("observed", elapsed)
    if len(applications) == 2:
        timeline.note("applications", elapsed)
    for deployment in (d for app in applications.values() for d in app.get("deployments", {}).values()):
        if any(replica.get("state") == "RUNNING" for replica in deployment.get("replicas", [])):
            step = {"VisionEncoder": "vision", "LanguageModel": "language"}.get(deployment["name"])
            if step:
                timeline.note(step, elapsed)
    if is_ready(service):
        timeline.note("ready", elapsed)
