"""Seconds from a step of the load to a new target in the status, on real parts: by the nodes' pages, and by Prometheus.

`internvl load` sends few requests, then eight times as many: what two replicas manage, or what four do; texts and small
pictures, many of them, and large pictures, of which four a second ask for as much. So few may be chance for longer. Each
step begins at rest, with one replica.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from e2e.bench.result import BenchResult, Goal
from e2e.cluster.prometheus_server import PrometheusServer
from e2e.scaling.world import LANGUAGE, VISION, World, world_of

STEPS = 5
BEFORE_S = 4.0
"""Of the load before the step."""
BEFORE = 1 / 8
"""Requests before the step, of those from it on."""
MOST = 4
"""Replicas."""
SCRAPE_S = 5
QUIET_S = 5
SETTINGS = {
    "INTERNVL_OPERATOR_SCALE_DOWN_AFTER_S": str(QUIET_S),
    "INTERNVL_OPERATOR_PROMETHEUS_WINDOW_S": str(2 * SCRAPE_S),  # its default
}
NODES_GOAL_S, PROMETHEUS_GOAL_S = 4.0, 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is sent from the step on."""

    per_s: float
    picture: str | None
    """Each request's; None: text alone."""
    work: float
    """Of each request: tiles, or prompt tokens of a text."""
    replicas: int
    """That manage it, by what is stated of one."""

    @property
    def title(self) -> str:
        return f"{self.per_s:g}/s of {self.picture or 'text'}, work for {self.replicas}"

    @property
    def whole(self) -> int:
        """The target that it asks for, with the reserve on top."""
        return min(self.replicas + 1, MOST)

    @property
    def role(self) -> str:
        """The side that has the work."""
        return "vision" if self.picture else "language"

    @property
    def side(self) -> dict[str, object]:
        """That side of a service for it."""
        one = self.per_s * self.work / self.replicas
        if self.picture:
            return {**VISION, "maxReplicas": MOST, "capacity": {"tilesPerSecond": one}}
        capacity = {"promptTokensPerSecond": one, "outputTokensPerSecond": NO_LIMIT}
        return {**LANGUAGE, "maxReplicas": MOST, "capacity": capacity}


WORDS = 8
TEXT_TOKENS = 34
"""Prompt tokens of a text of `WORDS` with all that the template puts around it, on the mean."""
NO_LIMIT = 100_000
TRAFFICS = (
    Traffic(per_s=30.0, picture=None, work=TEXT_TOKENS, replicas=4),
    Traffic(per_s=20.0, picture="112x112", work=1, replicas=4),
    Traffic(per_s=20.0, picture="112x112", work=1, replicas=2),
    Traffic(per_s=4.0, picture="448x448", work=10, replicas=4),
)


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds since the first request of the step was due."""

    first_s: float
    """A higher target than before the step stands in the status."""
    whole_s: float
    """The target that the load asks for does."""


def run() -> BenchResult:
    """Some steps by the nodes, then as many by a Prometheus that scrapes every 5 s."""
    found: dict[tuple[str, str], list[Step]] = {}
    with tempfile.TemporaryDirectory() as folder, world_of(Path(folder), **SETTINGS) as world:
        for traffic in TRAFFICS:
            found["the nodes' pages", traffic.title] = _steps(world, traffic, lasts_s=12.0)
        with (
            PrometheusServer(world.installation.ray.dashboard_url, scrape_s=SCRAPE_S) as server,
            world.with_prometheus(server.url),
        ):
            for traffic in TRAFFICS:
                found[f"Prometheus, {SCRAPE_S} s scrape", traffic.title] = _steps(
                    world, traffic, lasts_s=25.0
                )
    return _result(found)


def _steps(world: World, traffic: Traffic, *, lasts_s: float) -> list[Step]:
    trace = (
        world.folder
        / f"step-{traffic.picture or 'text'}-{traffic.per_s:g}-{traffic.replicas}-{lasts_s:g}.jsonl"
    )
    trace.write_text("".join(f"{json.dumps(line)}\n" for line in _plan(traffic, lasts_s)))
    world.apply("step", **{traffic.role: traffic.side})
    return [_step(world, trace, traffic, lasts_s) for _ in range(STEPS)]


def _plan(traffic: Traffic, lasts_s: float) -> list[dict[str, object]]:
    """Evenly spaced: what is measured is the operator, not chance."""
    few = traffic.per_s * BEFORE
    before = [number / few for number in range(round(BEFORE_S * few))]
    after = [BEFORE_S + number / traffic.per_s for number in range(round(lasts_s * traffic.per_s))]
    shown = {"pictures": traffic.picture} if traffic.picture else {}
    return [{"at": at, "prompt_tokens": WORDS, "output_tokens": 1, **shown} for at in (*before, *after)]


def _step(world: World, trace: Path, traffic: Traffic, lasts_s: float) -> Step:
    world.begin_anew()
    load, seen = world.replay(trace), [(time.time(), 1)]
    while load.process.poll() is None:
        target = world.target(traffic.role)
        if target != seen[-1][1]:
            seen.append((time.time(), target))
        if target >= traffic.whole:
            load.process.send_signal(signal.SIGINT)  # its figures are written too
            break
        time.sleep(_POLL_S)
    load.process.wait(timeout=300)  # by itself or by the signal
    began = load.read()["started_at"] + BEFORE_S
    print(f"targets: {[(round(at - began, 2), number) for at, number in seen[1:]]}", flush=True)
    return _seconds(seen, began=began, whole=traffic.whole, lasts_s=lasts_s)


def _seconds(seen: Sequence[tuple[float, int]], *, began: float, whole: int, lasts_s: float) -> Step:
    """From the course of the target: its times, and what it was from then on. `lasts_s` where it never came."""
    stood = [number for at, number in seen if at <= began][-1]

    def until(least: int) -> float:
        return next((at - began for at, number in seen if at > began and number >= least), lasts_s)

    return Step(until(stood + 1), until(whole))


def _result(found: dict[tuple[str, str], list[Step]]) -> BenchResult:
    rows, goals = [], []
    for (source, traffic), steps in found.items():
        for what, values in (
            ("a higher target", [step.first_s for step in steps]),
            ("the whole target", [step.whole_s for step in steps]),
        ):
            rows.append((source, traffic, what, f"{median(values):.1f}", f"{max(values):.1f}"))
        goal_s = PROMETHEUS_GOAL_S if source.startswith("Prometheus") else NODES_GOAL_S
        goals.append(Goal(f"a higher target by {source}, {traffic}, worst (s)", _worst(steps), "<=", goal_s))
    return BenchResult(
        name="load_to_target",
        title=f"Seconds from an eightfold step of the load to a target in the status; {STEPS} steps each",
        columns=("load from", "from the step on", "what", "median", "worst"),
        rows=tuple(rows),
        raw={
            ", ".join(key): [(step.first_s, step.whole_s) for step in steps] for key, steps in found.items()
        },
        goals=tuple(goals),
    )


def _worst(steps: list[Step]) -> float:
    return round(max(step.first_s for step in steps), 2)
