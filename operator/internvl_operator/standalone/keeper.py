"""The process that keeps other processes, and takes them down with it. Started by `processes.ProcessKeeper` only.

It runs alone (`python -I -S keeper.py DIRECTORY PARENT_PID`, standard library only) and obeys JSON lines on its
standard input. When that pipe ends or its parent is gone, kill -9 included, it kills everything that descends
from it and removes the directory. Daemons that left their parents are found too: they become its children.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_DEADLINE_S = 10.0
_NOT_EXECUTED = 127

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Keeper:
    """The table of processes, by the names that the parent gave them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pids: dict[str, int] = {}
        self._statuses: dict[int, int] = {}

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order of the parent and answer it."""
        name = order["name"]
        if order["do"] == "start":
            self._pids[name] = self._spawn(order)
            return {"pid": self._pids[name]}
        self.reap()
        pid = self._pids[name]
        if order["do"] == "signal" and pid not in self._statuses:
            # Its own group, so that what it started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, order["signal"])
        return {"pid": pid, "status": self._statuses.get(pid)}

    def reap(self) -> None:
        """Collect what has ended: our own processes, and orphans below them."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._statuses[pid] = os.waitstatus_to_exitcode(status)

    def take_all_down(self) -> None:
        """Kill every descendant and remove the directory. Nothing here is worth a graceful end."""
        deadline = time.monotonic() + _KILL_DEADLINE_S
        # A killed process hands its children to us, so the next round meets them.
        while (children := _children_of(os.getpid())) and time.monotonic() < deadline:
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.005)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _spawn(self, order: dict[str, Any]) -> int:
        keeper = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # for the day that the keeper itself is killed
            if os.getppid() != keeper:
                os._exit(_NOT_EXECUTED)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(order["folder"])
            os.execve(order["command"][0], order["command"], order["environment"])  # noqa: S606 - no shell is meant
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(_NOT_EXECUTED)


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            # The program's name, in parentheses, may hold anything; the fields after it do not.
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def main(directory: Path, parent: int) -> None:
    """Obey until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; its end is our order to end
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = Keeper(directory)
    try:
        # The pipe also stays open in whatever the parent forked; the process itself says it more surely.
        parent_handle = os.pidfd_open(parent)
        orders = sys.stdin.buffer
        while True:
            readable, _, _ = select.select([orders, parent_handle], [], [], 1.0)
            keeper.reap()
            if parent_handle in readable:
                break
            if orders in readable:
                line = orders.readline()
                if not line:
                    break
                sys.stdout.write(json.dumps(keeper.obey(json.loads(line))) + "\n")
                sys.stdout.flush()
    finally:
        keeper.take_all_down()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
