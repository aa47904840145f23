"""`faults.json`: what each case measured, kept after each case."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from e2e.bench.result import BenchResult, Goal
from e2e.faults.case import Outcome

NAME = "faults"
_CELLS = {
    "lost": "lost",
    "streams broken": "streams_broken",
    "wrong": "wrong",
    "healed s": "healed_after_s",
    "outage s": "longest_outage_s",
    "untrue s": "untrue_s",
    "gone s": "gone_after_s",
    "case s": "case_s",
}
COLUMNS = ("case", *_CELLS)


@dataclass
class Record:
    """All outcomes that are known, by case."""

    folder: Path
    images: tuple[str, ...]
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, *, images: tuple[str, ...]) -> Self:
        """What an earlier run left; nothing when there was none."""
        path = folder / f"{NAME}.json"
        cases = json.loads(path.read_text())["raw"]["cases"] if path.exists() else {}
        return cls(folder, images, cases)

    def has_passed(self, name: str) -> bool:
        """Whether the case reached its goals with these very images."""
        known = self.cases.get(name)
        return (
            known is not None
            and known["images"] == list(self.images)
            and all(g["ok"] for g in known["goals"])
        )

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome, on disk at once."""
        self.cases[outcome.name] = {
            "images": list(self.images),
            "goals": outcome.goals,
            "figures": outcome.figures,
        }
        self.result().write(self.folder)

    def lines_of(self, outcome: Outcome) -> str:
        """What a person wants to know of one case."""
        figures = outcome.figures
        known = ", ".join(
            f"{name} {value}" for name, value in figures.items() if isinstance(value, int | float)
        )
        lines = [f"    {'ok' if outcome.ok else 'MISSED'}: {known}"]
        lines += [f"      {line}" for name in ("faults", "status", "left") for line in figures.get(name, ())]
        if figures["trouble"]:
            lines.append(f"      {figures['trouble']}")
        return "\n".join(lines)

    def result(self) -> BenchResult:
        """All cases in the form of the benchmarks."""
        rows = [
            (name, *(str(known["figures"].get(cell, "-")) for cell in _CELLS.values()))
            for name, known in self.cases.items()
        ]
        goals = [_goal(name, goal) for name, known in self.cases.items() for goal in known["goals"]]
        return BenchResult(
            NAME, "Faults under load", COLUMNS, tuple(rows), {"cases": self.cases}, tuple(goals)
        )


def _goal(case: str, goal: dict[str, Any]) -> Goal:
    bound, limit = str(goal["goal"]).split()
    return Goal(f"{case}: {goal['what']}", goal["value"], "<=" if bound == "<=" else ">=", float(limit))
