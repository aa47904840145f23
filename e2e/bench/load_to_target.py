"""Seconds from a step of the load to a new target in the status, on real parts: by the nodes' pages, and by Prometheus.

`internvl load` sends few pictures, then eight times as many. Each step begins at rest, with one replica.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from e2e.bench.result import BenchResult, Goal
from e2e.cluster.prometheus_server import PrometheusServer
from e2e.scaling.world import VISION, World, world_of

STEPS = 5
BEFORE_S, BEFORE_PER_S = 4.0, 0.5
"""Of the load before the step."""
PER_S = 4.0
"""From the step on: 40 tiles/s, of which a replica is stated to manage 20; two, and the reserve."""
PICTURE = "448x448"
MOST = 3
SCRAPE_S = 5
QUIET_S = 5
SETTINGS = {
    "INTERNVL_OPERATOR_SCALE_DOWN_AFTER_S": str(QUIET_S),
    # Four scrapes, as docs/settings.md asks for.
    "INTERNVL_OPERATOR_PROMETHEUS_WINDOW_S": str(4 * SCRAPE_S),
}
NODES_GOAL_S, PROMETHEUS_GOAL_S = 4.0, 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds since the first request of the step was due."""

    first_s: float
    """A higher target stands in the status."""
    whole_s: float
    """The target that the load asks for does."""


def run() -> BenchResult:
    """Some steps by the nodes, then as many by a Prometheus that scrapes every 5 s."""
    with tempfile.TemporaryDirectory() as folder, world_of(Path(folder), **SETTINGS) as world:
        world.apply("step", vision={**VISION, "maxReplicas": MOST, "capacity": {"tilesPerSecond": 20}})
        world.wait_ready()
        found = {"the nodes' pages": _steps(world, lasts_s=12.0)}
        with (
            PrometheusServer(world.installation.ray.dashboard_url, scrape_s=SCRAPE_S) as server,
            world.with_prometheus(server.url),
        ):
            found[f"Prometheus, {SCRAPE_S} s scrape"] = _steps(world, lasts_s=25.0)
    return _result(found)


def _steps(world: World, *, lasts_s: float) -> list[Step]:
    trace = world.folder / f"step-{lasts_s:g}.jsonl"
    trace.write_text("".join(f"{json.dumps(line)}\n" for line in _plan(lasts_s)))
    return [_step(world, trace, lasts_s) for _ in range(STEPS)]


def _plan(lasts_s: float) -> list[dict[str, object]]:
    """Evenly spaced: what is measured is the operator, not chance."""
    before = [number / BEFORE_PER_S for number in range(int(BEFORE_S * BEFORE_PER_S))]
    after = [BEFORE_S + number / PER_S for number in range(int(lasts_s * PER_S))]
    return [
        {"at": at, "prompt_tokens": 8, "output_tokens": 1, "pictures": PICTURE} for at in (*before, *after)
    ]


def _step(world: World, trace: Path, lasts_s: float) -> Step:
    world.begin_anew()
    load, seen = world.replay(trace), [(time.time(), 1)]
    while load.process.poll() is None:
        target = world.target("vision")
        if target != seen[-1][1]:
            seen.append((time.time(), target))
        if target == MOST:
            load.process.send_signal(signal.SIGINT)  # its figures are written too
            break
        time.sleep(_POLL_S)
    figures = load.ended()
    began = figures["started_at"] + BEFORE_S
    print(f"targets: {[(round(at - began, 2), number) for at, number in seen[1:]]}", flush=True)
    first, whole = (
        next((at for at, number in seen if number >= least), began + lasts_s) for least in (2, MOST)
    )
    return Step(first - began, whole - began)


def _result(found: dict[str, list[Step]]) -> BenchResult:
    rows = []
    for title, steps in found.items():
        for what, values in (
            ("a higher target", [step.first_s for step in steps]),
            ("the whole target", [step.whole_s for step in steps]),
        ):
            rows.append((title, what, f"{median(values):.1f}", f"{max(values):.1f}"))
    (by_nodes, by_prometheus) = found.values()
    return BenchResult(
        name="load_to_target",
        title=f"Seconds from a step of the load, 0.5 to 4 pictures/s, to a target in the status; {STEPS} steps each",
        columns=("load from", "what", "median", "worst"),
        rows=tuple(rows),
        raw={title: [(step.first_s, step.whole_s) for step in steps] for title, steps in found.items()},
        goals=(
            Goal("a higher target by the nodes' pages, worst (s)", _worst(by_nodes), "<=", NODES_GOAL_S),
            Goal("a higher target by Prometheus, worst (s)", _worst(by_prometheus), "<=", PROMETHEUS_GOAL_S),
        ),
    )


def _worst(steps: list[Step]) -> float:
    return round(max(step.first_s for step in steps), 2)
