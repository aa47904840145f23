"""Results as one JSON a case, written after each run, so that an interrupted benchmark goes on where it was."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.bench.result import FOLDER as BENCH
from e2e.bench.result import ROOT

FOLDER = BENCH / "autoscaling"
SOURCES = ("e2e/bench/autoscaling", "operator/internvl_operator/scaling")
NOT_MEASURED = (
    "judge/goals.py",
    "judge/tables.py",
    "judge/plots.py",
    "judge/chart.py",
    "judge/record.py",
    "judge/sweep.py",
    "__main__.py",
    "plan.py",
    "running.py",
    "store.py",
)
"""Of the first of them: may change without a run being another one."""


def sources_digest() -> str:
    """Of the code that makes a run what it is."""
    digest = hashlib.sha256()
    left_out = {ROOT / SOURCES[0] / name for name in NOT_MEASURED}
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path not in left_out:
                digest.update(path.as_posix().removeprefix(ROOT.as_posix()).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def case_digest(sources: str, files: Iterable[Path]) -> str:
    """Of the code and of the published files that a case's traffic comes from."""
    digest = hashlib.sha256(sources.encode())
    for path in files:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


class CaseFile:
    """What is known of one case. Runs of another digest or other traffic are forgotten."""

    def __init__(self, folder: Path, name: str, digest: str, note: str) -> None:
        self.path = folder / f"{name}.json"
        self.body: dict[str, Any] = {"name": name, "digest": digest, "note": note, "runs": {}}
        if self.path.is_file():
            known = json.loads(self.path.read_text())
            if known.get("digest") == digest and known["note"] == note:
                self.body = known

    def has(self, key: str) -> bool:
        """Whether this run was made."""
        return key in self.body["runs"]

    def add(self, key: str, run: dict[str, Any]) -> None:
        """Keep a run."""
        self.body["runs"][key] = run
        self.body["day"] = datetime.now(UTC).date().isoformat()
        self.write()

    def write(self) -> None:
        """Write aside, then rename: an interrupted write leaves the earlier file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".part")
        aside.write_text(json.dumps(self.body) + "\n")
        aside.replace(self.path)
