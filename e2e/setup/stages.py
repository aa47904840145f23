"""Runs the stages of `make check` and `make test`: all of them, whatever fails, with a table of times at the end.

`python3 -m e2e.setup.stages TITLE COMMAND [TITLE COMMAND ...]`; each command is a line for the shell. A stage whose
title begins with `& ` runs beside all that follow it: for tests that mostly wait. Its output is shown when it has ended.
The table also has the CPU time of each stage, all its processes together: where it is far less than the time, the
stage waits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TextIO

BESIDE = "& "
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one stage ended."""

    title: str
    seconds: float
    status: int
    cpu_s: float = 0.0
    """Of all processes that it has waited for."""


def run_stages(stages: Sequence[tuple[str, str]], out: TextIO) -> int:
    """Run (title, shell command) in order; return 0 when all succeeded, 1 else, 130 after Ctrl-C."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(max_workers=max(1, len(stages))) as threads:
        beside: list[tuple[Future[Outcome], IO[str]]] = []
        with _interrupts() as interrupts:
            for title, command in stages:
                if title.startswith(BESIDE):
                    output = _scratch_file()
                    beside.append((threads.submit(_run, title.removeprefix(BESIDE), command, output), output))
                else:
                    _say(out, f"\n=== {title}: {command}\n")
                    outcomes.append(_run(title, command, None))
                if interrupts:
                    break
            # After a Ctrl-C too: the terminal has sent it to those beside as well, and they clean up.
            for running, output in beside:
                outcomes.append(running.result())
                _show(out, outcomes[-1].title, output)
    _say(out, render_table(outcomes, total_s=time.monotonic() - began))
    if interrupts:
        return _INTERRUPTED
    return 1 if any(outcome.status for outcome in outcomes) else 0


def render_table(outcomes: Sequence[Outcome], *, total_s: float) -> str:
    """One line a stage, and the time of the whole, which is less than the sum where stages ran beside others."""
    width = max((len(outcome.title) for outcome in outcomes), default=5)
    lines = [
        f"{outcome.title:<{width}}  {outcome.seconds:7.1f} s  {outcome.cpu_s:7.1f} s CPU  "
        + ("ok" if outcome.status == 0 else f"FAILED (status {outcome.status})")
        for outcome in outcomes
    ]
    return "\n".join(["", *lines, f"{'total':<{width}}  {total_s:7.1f} s", ""])


def _run(title: str, command: str, output: IO[str] | None) -> Outcome:
    began = time.monotonic()
    errors = subprocess.STDOUT if output else None
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=output, stderr=errors) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Outcome(title, time.monotonic() - began, process.returncode, used.ru_utime + used.ru_stime)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C's so far: the terminal sends them to the stages as well, which clean up and are waited for."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as it is in the background job of a shell
        signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _scratch_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", errors="replace")  # closed when it was shown


def _show(out: TextIO, title: str, output: IO[str]) -> None:
    with output:
        output.seek(0)
        _say(out, f"\n=== {title} (ran beside the others):\n{output.read()}")


def _say(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()


if __name__ == "__main__":
    _WORDS = sys.argv[1:]
    if not _WORDS or len(_WORDS) % 2:
        sys.exit(f"usage: {(__doc__ or '').splitlines()[2]}")
    sys.exit(run_stages(list(zip(_WORDS[::2], _WORDS[1::2], strict=True)), sys.stdout))
