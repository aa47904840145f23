"""What is known of one case, and the questions that tables and goals ask it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ATTAINED = 0.99
"""Share of requests within the objectives at which GPU-hours are compared."""
COMPARABLE = 0.985
"""A result that attains less is not compared by its GPU-hours: it was cheap because it missed."""
KNOWS_TOO = {"oracle": ("minute-oracle",)}


@dataclass(frozen=True, slots=True)
class Result:
    """One run's figures."""

    policy: str
    setting: dict[str, float]
    tuning: dict[str, Any]
    judged: dict[str, Any]
    series: dict[str, list[float]]

    @property
    def attained(self) -> float:
        """In the second half."""
        return float(self.judged["attained"])

    @property
    def gpu_hours(self) -> float:
        """In the second half."""
        return float(self.judged["gpu_hours"])

    @property
    def is_comparable(self) -> bool:
        """Whether its GPU-hours may be compared with another's."""
        return self.attained >= COMPARABLE


@dataclass(frozen=True, slots=True)
class Record:
    """All runs of one case; a policy's first is the one with its defaults."""

    name: str
    site: str
    fleet: int
    trace: str
    traffic: dict[str, Any]
    results: tuple[Result, ...]
    digest: str = ""
    """Of the code and the traffic that it was run with."""
    day: str = ""
    """Of its newest run, as 2026-11-22."""

    @classmethod
    def read(cls, folder: Path, name: str) -> "Record | None":
        """Read a case's file; None when it was not run."""
        path = folder / f"{name}.json"
        if not path.is_file():
            return None
        body = json.loads(path.read_text())
        site, fleet, trace = name.split("-", 2)
        results = tuple(
            Result(run["policy"], run["setting"], run["tuning"], run["judged"], run.get("series", {}))
            for run in body["runs"].values()
        )
        digest, day = body.get("digest", ""), body.get("day", "")
        return cls(name, site, int(fleet), trace, body["traffic"], results, digest, day)

    def of(self, policy: str) -> list[Result]:
        """A policy's runs."""
        return [result for result in self.results if result.policy == policy]

    def default(self, policy: str) -> Result | None:
        """With its defaults; None when it was not run."""
        return next(iter(self.of(policy)), None)

    def tuned(self, policy: str) -> Result | None:
        """What a person chooses who knows the first half: the cheapest that attains, or else the one that attains most."""
        runs = self.of(policy)
        good = [run for run in runs if run.tuning["attained"] >= ATTAINED]
        if good:
            return min(good, key=lambda run: float(run.tuning["gpu_hours"]))
        return max(runs, key=lambda run: float(run.tuning["attained"]), default=None)

    def cheapest(self, policy: str, attained: float = ATTAINED) -> Result | None:
        """The setting that attains so much at least cost in the second half, chosen with hindsight; None: none does.

        An oracle that knows seconds knows minutes too.
        """
        runs = [run for name in (policy, *KNOWS_TOO.get(policy, ())) for run in self.of(name)]
        good = [run for run in runs if run.attained >= attained]
        return min(good, key=lambda run: run.gpu_hours, default=None)

    def at_cost(self, policy: str, gpu_hours: float) -> float | None:
        """Share attained in the second half at these GPU-hours, between a policy's settings; None: it is never as cheap."""
        best = 0.0
        points = []
        for run in sorted(self.of(policy), key=lambda run: run.gpu_hours):
            if run.attained > best:
                best = run.attained
                points.append((run.gpu_hours, best))
        if not points or points[0][0] > gpu_hours:
            return None
        return float(np.interp(gpu_hours, [cost for cost, _ in points], [share for _, share in points]))


def percent(share: float, digits: int = 1) -> str:
    """As tables and goals have it: "98.6 %", "100 %"."""
    text = f"{share * 100:.{digits}f}"
    return f"{'100' if float(text) == 100 else text} %"
