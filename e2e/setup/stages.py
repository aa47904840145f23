"""Runs the stages of `make check` and `make test`: all of them, whatever fails, with a table of times at the end.

`python3 -m e2e.setup.stages TITLE COMMAND [TITLE COMMAND ...]`; each command is a line for the shell.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one stage ended."""

    title: str
    seconds: float
    status: int


def run_stages(stages: Sequence[tuple[str, str]], out: TextIO) -> int:
    """Run (title, shell command) in order; return 0 when all succeeded, 1 else, 130 after Ctrl-C."""
    outcomes: list[Outcome] = []
    interrupted = False
    for title, command in stages:
        out.write(f"\n=== {title}: {command}\n")
        out.flush()
        began = time.monotonic()
        try:
            status = subprocess.run(["/bin/sh", "-c", command], check=False).returncode
        except KeyboardInterrupt:
            status, interrupted = 130, True
        outcomes.append(Outcome(title, time.monotonic() - began, status))
        if interrupted:
            break
    out.write(render_table(outcomes))
    out.flush()
    if interrupted:
        return 130
    return 1 if any(outcome.status for outcome in outcomes) else 0


def render_table(outcomes: Sequence[Outcome]) -> str:
    """One line a stage, and the sum."""
    width = max((len(outcome.title) for outcome in outcomes), default=5)
    lines = [
        f"{outcome.title:<{width}}  {outcome.seconds:7.1f} s  "
        + ("ok" if outcome.status == 0 else f"FAILED (status {outcome.status})")
        for outcome in outcomes
    ]
    total = sum(outcome.seconds for outcome in outcomes)
    return "\n".join(["", *lines, f"{'total':<{width}}  {total:7.1f} s", ""])


if __name__ == "__main__":
    _WORDS = sys.argv[1:]
    if not _WORDS or len(_WORDS) % 2:
        sys.exit(f"usage: {(__doc__ or '').splitlines()[2]}")
    sys.exit(run_stages(list(zip(_WORDS[::2], _WORDS[1::2], strict=True)), sys.stdout))
