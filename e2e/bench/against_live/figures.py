"""What a run came to, live or simulated, and how far the two are from each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from e2e.bench.against_live.calibrating import Calibration
from e2e.bench.autoscaling.judge.outcome import inter_token
from e2e.bench.autoscaling.simulator.run import Run
from e2e.bench.result import Goal
from e2e.scaling.replica_watch import LANGUAGE, VISION, ReplicaWatch

WITHIN = 0.15
"""How far the simulator may be from the live run."""
BETWEEN_S = 0.2
"""Objective for the tokens after the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds are seconds, shares are of all requests that were due."""

    answered: float
    attained: float
    vision_replica_s: float
    language_replica_s: float
    first_p50_s: float
    """First token of requests with pictures."""
    first_p95_s: float
    whole_p50_s: float
    """Whole answers."""
    whole_p95_s: float

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


TITLES = {
    "answered": "requests answered (share)",
    "attained": "within the objectives (share)",
    "vision_replica_s": "replica-seconds of vision",
    "language_replica_s": "replica-seconds of language",
    "first_p50_s": "first token with pictures, p50 (s)",
    "first_p95_s": "first token with pictures, p95 (s)",
    "whole_p50_s": "whole answer, p50 (s)",
    "whole_p95_s": "whole answer, p95 (s)",
}


def live_figures(loaded: dict[str, Any], watch: ReplicaWatch, *, lasts_s: float) -> Figures:
    """Of what `internvl load` says and Serve listed meanwhile."""
    began, requests = loaded["started_at"], loaded["requests"]
    first, whole = (loaded["seconds_by"][name] for name in ("first token, pictures", "whole answer"))
    return Figures(
        answered=requests["answered"] / requests["due"],
        attained=loaded["within_objectives"],
        vision_replica_s=watch.replica_seconds(VISION, began, began + lasts_s),
        language_replica_s=watch.replica_seconds(LANGUAGE, began, began + lasts_s),
        first_p50_s=first["p50"],
        first_p95_s=first["p95"],
        whole_p50_s=whole["p50"],
        whole_p95_s=whole["p95"],
    )


def simulated_figures(run: Run, known: Calibration, *, first_token_s: float, lasts_s: float) -> Figures:
    """The same of a simulated run; what is no replica's work is added to each answer."""
    requests = run.requests
    has_pictures = requests.tiles > 0
    beside = np.where(has_pictures, known.pictures_beside_s, known.text_beside_s)
    first = run.first_token - requests.at + beside
    whole = run.ended - requests.at + beside
    answered = np.isfinite(whole)
    attained = (first <= first_token_s) & (inter_token(run) <= BETWEEN_S)
    return Figures(
        answered=float(np.mean(answered)),
        attained=float(np.mean(attained)),
        vision_replica_s=run.vision.replica_seconds(0, lasts_s),
        language_replica_s=run.language.replica_seconds(0, lasts_s),
        first_p50_s=float(np.percentile(first[has_pictures & answered], 50)),
        first_p95_s=float(np.percentile(first[has_pictures & answered], 95)),
        whole_p50_s=float(np.percentile(whole[answered], 50)),
        whole_p95_s=float(np.percentile(whole[answered], 95)),
    )


def compared(live: Figures, simulated: Figures) -> Iterator[tuple[tuple[str, ...], Goal]]:
    """A row of the table, and a goal, for each figure."""
    for item in fields(Figures):
        of_live, of_simulator = getattr(live, item.name), getattr(simulated, item.name)
        off = (of_simulator - of_live) / of_live if of_live else float(of_simulator != of_live)
        title = TITLES[item.name]
        row = (title, f"{of_live:.3g}", f"{of_simulator:.3g}", f"{off:+.0%}")
        yield row, Goal(f"{title}, off by (%)", round(100 * abs(off), 1), "<=", 100 * WITHIN)
