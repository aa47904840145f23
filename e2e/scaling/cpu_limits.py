"""A share of the machine for each replica, by the kernel's quota: what a CPU limit in Kubernetes is.

Replicas of a laptop or a test share all cores, so that a second one makes both slower. Bounded, each has its own speed.
Needs root and cgroup v1.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 10_000
"""A tenth of Kubernetes' period: a replica that has used its share stands still for some milliseconds, not a hundred."""
FIRST_SHARES = 262_144
"""The most that the kernel takes: what is bounded gets all of its share before what is not, as a pod gets what it requests."""
_REMOVED_WITHIN_S = 5.0


@dataclass(slots=True)
class CpuLimits:
    """Cgroups, one a process; a context manager that removes them."""

    root: Path = ROOT
    _folder: Path = field(init=False)

    def __enter__(self) -> Self:
        self._folder = self.root / f"internvl-{uuid.uuid4().hex[:8]}"
        self._folder.mkdir()
        (self._folder / "cpu.shares").write_text(str(FIRST_SHARES))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for group in (*self._folder.glob("*/"), self._folder):
            self._remove(group)

    def bound(self, pid: int, cores: float) -> None:
        """Let a process, all of its threads, have so much of a core (0.1 at least) from now on. One that is gone is left out."""
        group = self._folder / str(pid)
        group.mkdir(exist_ok=True)
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD_US)))
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))

    def _remove(self, group: Path) -> None:
        """A process that is just ending holds its group for a moment."""
        deadline = time.monotonic() + _REMOVED_WITHIN_S
        while True:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (self.root / "cgroup.procs").write_text(pid)
            try:
                return group.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def may_limit(root: Path = ROOT) -> bool:
    """Whether this machine and this user can."""
    return (root / "cpu.cfs_quota_us").is_file() and os.access(root, os.W_OK)
