"""Is the simulator right? The same three minutes of requests live, with the operator scaling, and simulated.

First one replica of each side is measured alone: that is the simulator's site. Needs root, for the share of a core that
each replica has. See `e2e.bench.against_live`.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.bench.against_live.calibrating import CORES, Calibration, calibrate, mean_output_s
from e2e.bench.against_live.figures import (
    BETWEEN_S,
    Figures,
    compared,
    live_figures,
    simulated_figures,
)
from e2e.bench.against_live.traffic import Arrival, Phase, drawn, requests_of, write_trace
from e2e.bench.autoscaling.policies.ours import Ours
from e2e.bench.autoscaling.simulator.run import simulate
from e2e.bench.autoscaling.simulator.sample import Targets
from e2e.bench.result import BenchResult
from e2e.scaling.cpu_limits import CpuLimits, may_limit
from e2e.scaling.replica_watch import ReplicaWatch
from e2e.scaling.world import LANGUAGE, VISION, World, world_of
from internvl_operator.api.names import Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.scaling_input import scaling_settings
from internvl_operator.scaling.model import Settings

QUIET_S = 20.0
MOST = 3
"""maxReplicas of each side; more would want more than two cores."""
BUSY = {"vision": 1.6, "language": 1.2}
"""Replicas that the load keeps busy at its height."""
LOW = 0.25
"""The load before and after, as a share of that."""
LOW_S, HIGH_S, AFTER_S = 30.0, 70.0, 80.0
LASTS_S = LOW_S + HIGH_S + AFTER_S
FIRST_TOKEN_S = 1.0
"""Objective, beyond what a first token with pictures takes on an empty service."""
STEP_S = 0.1
"""Of the simulator: answers of so small a model are short."""


def run() -> BenchResult:
    """Calibrate, run live, simulate, compare.

    Raises:
        PermissionError: this user cannot give processes a share of a core.
    """
    if not may_limit():
        raise PermissionError("shares of a core need root and cgroup v1 at /sys/fs/cgroup/cpu")
    settings = {"INTERNVL_OPERATOR_SCALE_DOWN_AFTER_S": str(QUIET_S)}
    with (
        tempfile.TemporaryDirectory() as folder,
        world_of(Path(folder), **settings) as world,
        CpuLimits() as limits,
        ReplicaWatch(world.installation.ray, limits, CORES) as watch,
    ):
        world.apply("nano", vision={**VISION, "maxReplicas": 1}, language={**LANGUAGE, "maxReplicas": 1})
        world.wait_ready()
        watch.wait_for_look()
        known = calibrate(world, watch)
        print(known, flush=True)
        spec = _scaled(known)
        world.apply("nano", **spec)
        world.settle()
        arrivals = drawn(_phases(known))
        live = _live(world, watch, known, arrivals)
        manifest = world.manifest
    simulated = _simulated(known, arrivals, manifest["spec"])
    return _result(known, live, simulated, arrivals)


def _scaled(known: Calibration) -> dict[str, Any]:
    """Both sides follow their load; what a replica manages is stated as it was measured."""
    site = known.site
    vision = {"tilesPerSecond": round(site.vision.tiles_per_s, 2)}
    language = {
        "promptTokensPerSecond": round(site.language.prompt_tokens_per_s, 2),
        "outputTokensPerSecond": round(site.language.output_tokens_per_s, 2),
    }
    return {
        "vision": {**VISION, "maxReplicas": MOST, "capacity": vision},
        "language": {**LANGUAGE, "maxReplicas": MOST, "capacity": language},
    }


def _phases(known: Calibration) -> tuple[Phase, ...]:
    """Low, high, low, in what this machine's replicas manage."""
    site = known.site
    pictures_per_s = BUSY["vision"] * site.vision.tiles_per_s / known.pictures.tiles
    answer_s, prompt_s = mean_output_s(site), 1 / site.language.prompt_tokens_per_s
    of_pictures = pictures_per_s * (known.pictures.prompt_tokens * prompt_s + answer_s)
    of_text = known.text.prompt_tokens * prompt_s + answer_s
    text_per_s = max((BUSY["language"] - of_pictures) / of_text, 0.2)
    high = Phase(HIGH_S, pictures_per_s, text_per_s)
    return (
        Phase(LOW_S, LOW * high.pictures_per_s, LOW * high.text_per_s),
        high,
        Phase(AFTER_S, LOW * high.pictures_per_s, LOW * high.text_per_s),
    )


def _first_token_s(known: Calibration) -> float:
    alone_s = (
        known.pictures.tiles / known.site.vision.tiles_per_s
        + known.pictures.prompt_tokens / known.site.language.prompt_tokens_per_s
    )
    return known.pictures_beside_s + alone_s + FIRST_TOKEN_S


def _live(world: World, watch: ReplicaWatch, known: Calibration, arrivals: list[Arrival]) -> Figures:
    trace = write_trace(arrivals, world.folder / "trace.jsonl")
    objectives = ("--first-token", f"{_first_token_s(known):.4f}", "--between-tokens", str(BETWEEN_S))
    loaded = world.replay(trace, "--ignore-eos", *objectives).ended()
    print(f"{loaded['requests']}, sent late {loaded['sent_late_s']}", flush=True)
    return live_figures(loaded, watch, lasts_s=LASTS_S)


def _simulated(known: Calibration, arrivals: list[Arrival], spec: dict[str, Any]) -> Figures:
    """With the settings of the very manifest."""
    policy = Ours(_rule(spec))
    requests = requests_of(arrivals, known.pictures, known.text)
    run = simulate(
        requests, known.site, policy, begin_with=Targets(1, 1), end_s=LASTS_S, seed=1, step_s=STEP_S
    )
    return simulated_figures(run, known, first_token_s=_first_token_s(known), lasts_s=LASTS_S)


def _rule(spec: dict[str, Any]) -> Settings:
    nothing = dict.fromkeys(Role, 0)
    return scaling_settings(parse_spec(spec), nothing, datetime.now(UTC), quiet_s=QUIET_S)


def _result(known: Calibration, live: Figures, simulated: Figures, arrivals: list[Arrival]) -> BenchResult:
    found = list(compared(live, simulated))
    return BenchResult(
        name="simulator_against_live",
        title=f"{len(arrivals)} requests in {LASTS_S:.0f} s, live and simulated; {known.site.title}",
        columns=("what", "live", "simulated", "off by"),
        rows=tuple(row for row, _ in found),
        raw={
            "calibration": known.as_json(),
            "live": live.as_json(),
            "simulated": simulated.as_json(),
        },
        goals=tuple(goal for _, goal in found),
    )
