"""The form in which every benchmark reports: a table for the terminal, JSON for the record."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "bench"
PACKAGES = ("ray", "onnxruntime", "numpy", "kopf", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be. `ok` is computed, never given."""

    what: str
    value: float
    bound: Literal[">=", "<="]
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the measured value keeps the bound."""
        return self.value >= self.limit if self.bound == ">=" else self.value <= self.limit

    def as_json(self) -> dict[str, object]:
        """The form in the file: what, value, goal, ok."""
        return {"what": self.what, "value": self.value, "goal": f"{self.bound} {self.limit:g}", "ok": self.ok}


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One benchmark's outcome. `rows` are what a person reads, `raw` is everything that was measured."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    raw: dict[str, object]
    goals: tuple[Goal, ...] = ()

    def table(self) -> str:
        """The rows under their columns, then the goals with what was measured."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = [self.title, ""]
        for number, line in enumerate(lines):
            text.append(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )
            if number == 0:
                text.append("  ".join("-" * width for width in widths))
        for goal in self.goals:
            mark = "ok  " if goal.ok else "MISS"
            text.append(f"{mark} {goal.what}: {goal.value:g} (goal {goal.bound} {goal.limit:g})")
        return "\n".join(text)

    def write(self, folder: Path = FOLDER) -> Path:
        """Write `<folder>/<name>.json` and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        body = {
            "name": self.name,
            "machine": asdict(machine()),
            "versions": versions(),
            "raw": self.raw,
            "goals": [goal.as_json() for goal in self.goals],
        }
        path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")
        return path


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures were measured."""

    processor: str
    cores: int
    memory_gib: float
    system: str


def machine() -> Machine:
    """Describe this machine."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        names[0] if names else platform.processor(),
        os.cpu_count() or 1,
        round(memory, 1),
        platform.platform(),
    )


def versions() -> dict[str, str]:
    """Versions of Python, the packages that matter, and the commit."""
    found = {"python": platform.python_version(), "commit": _commit()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
