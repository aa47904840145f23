"""Progress lines with elapsed time, and long commands that show they are alive.

Everything goes to standard error: standard output belongs to results.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.setup.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_STARTED = time.monotonic()
_HEARTBEAT_S = 15.0
_TAIL_LINES = 20


def say(text: str) -> None:
    """One line, with the seconds since this command began."""
    sys.stderr.write(f"[{time.monotonic() - _STARTED:6.1f} s] {text}\n")
    sys.stderr.flush()


@dataclass(slots=True)
class Step:
    """A step under way; `detail` is what its heartbeat adds, set by whoever does the work."""

    title: str
    detail: str = ""


@contextlib.contextmanager
def step(title: str) -> Iterator[Step]:
    """Say that a step begins, every 15 s that it still runs, and how long it took."""
    current, began, ended = Step(title), time.monotonic(), threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT_S):
            say(f"  ... {title}: {time.monotonic() - began:.0f} s {current.detail}".rstrip())

    say(f"{title} ...")
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield current
    except BaseException as error:
        say(f"{title}: stopped after {time.monotonic() - began:.1f} s ({type(error).__name__})")
        raise
    finally:
        ended.set()
        heart.join()
    say(f"{title}: {time.monotonic() - began:.1f} s {current.detail}".rstrip())


def run_command(
    command: Sequence[str],
    *,
    title: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    describe_line: Callable[[int, str], str] = lambda _count, _line: "",
) -> None:
    """Run a long command as a step: its output goes to `log`, its end to the error when it fails.

    Args:
        command: Program and arguments.
        title: What the progress lines call it.
        log: File that keeps the whole output; its folder is made.
        environment: The child's whole environment, or None for ours.
        folder: Where it runs.
        describe_line: From the count of output lines and the latest one, what the heartbeat should add.

    Raises:
        CommandFailed: The command ended with an error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(title) as current, log.open("w") as kept:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=None if environment is None else dict(environment),
                cwd=folder,
            )
        except FileNotFoundError as error:
            raise CommandFailed(f"{title}: cannot start {command[0]}: {error.strerror}") from error
        assert process.stdout is not None
        try:
            with process.stdout as lines:
                for count, line in enumerate(lines, start=1):
                    kept.write(line)
                    current.detail = describe_line(count, line.strip())
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status != 0:
        tail = "\n".join(
            f"    {line}" for line in log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        )
        raise CommandFailed(f"{title} failed with status {status}. The end of {log}:\n{tail}")
