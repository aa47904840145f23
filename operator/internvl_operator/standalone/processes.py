"""Start programs that cannot outlive us: `ProcessKeeper`, the parent's side of `keeper.py`.

Linux only. Called by `local_ray`, and by what starts servers for the tests and the demo.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_POLL_S = 0.02
_KEEPER = Path(__file__).with_name("keeper.py")


class ProcessesLost(Exception):
    """The keeper or one of its processes does not do as it is told."""


class ProcessKeeper:
    """Named processes and the directory they live in; all of it is gone when this closes or its process dies."""

    def __init__(self, directory: Path) -> None:
        """Start the keeper.

        Args:
            directory: An existing directory, owned by the keeper from now on: it is removed at the end.
        """
        self.directory = directory
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_KEEPER), str(directory), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C on our terminal is not meant for it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> int:
        """Start a program and return its process id.

        Args:
            name: What the other methods call it; a name may be used again after its process ended.
            command: Absolute path of the program, and its arguments.
            log: File that its output is appended to.
            environment: Its whole environment; ours when None.
            folder: Where it runs; the keeper's directory when None.
        """
        return int(
            self._order(
                do="start",
                name=name,
                command=[str(part) for part in command],
                log=str(log),
                environment=dict(os.environ if environment is None else environment),
                folder=str(folder or self.directory),
            )["pid"]
        )

    def pid(self, name: str) -> int:
        """The process id of the latest process of this name."""
        return int(self._order(do="look", name=name)["pid"])

    def exit_status(self, name: str) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        status: int | None = self._order(do="look", name=name)["status"]
        return status

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process and what it started; nothing happens when it has ended."""
        self._order(do="signal", name=name, signal=int(number))

    def stop(self, name: str, *, grace_s: float = 10.0) -> int:
        """SIGTERM, after `grace_s` SIGKILL; returns the exit status."""
        self.send_signal(name, signal.SIGTERM)
        status = self.wait(name, timeout_s=grace_s)
        return self.kill(name) if status is None else status

    def kill(self, name: str) -> int:
        """SIGKILL; returns when it is gone."""
        self.send_signal(name, signal.SIGKILL)
        status = self.wait(name, timeout_s=10.0)
        if status is None:
            raise ProcessesLost(f"{name} (process {self.pid(name)}) outlived SIGKILL for 10 s")
        return status

    def wait(self, name: str, *, timeout_s: float) -> int | None:
        """The exit status, or None when it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (status := self.exit_status(name)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return status

    def close(self) -> None:
        """Kill all of them and wait until the directory is gone. May be called twice."""
        with self._lock:
            if self._process.stdin is None or self._process.stdin.closed:
                return
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait(timeout=30)
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _order(self, **order: Any) -> dict[str, Any]:
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None and stdout is not None
            if stdin.closed:
                raise ProcessesLost(f"{order['name']}: the keeper of {self.directory} was closed")
            try:
                stdin.write(json.dumps(order).encode() + b"\n")
                stdin.flush()
                line = stdout.readline()
            except BrokenPipeError:
                line = b""
            if not line:
                raise ProcessesLost(
                    f"the keeper process of {self.directory} ended, and with it all that it kept; start anew"
                )
            answer: dict[str, Any] = json.loads(line)
            return answer
