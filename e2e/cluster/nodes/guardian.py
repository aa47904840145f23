"""Undoes what nodes leave in the kernel: processes, cgroups, the bridge, changed settings, and their folder.

Runs beside a cluster (`python -I -S guardian.py RECORD PARENT_PID`, standard library only), in a session of its
own: when its standard input ends or its parent is gone, kill -9 included, it undoes what the record says.
`node_cluster` imports it too, to undo what is left of a cluster whose guardian was killed as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
_POLL_S = 0.02
_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Record:
    """What a cluster changed outside of its own folder; written before the change."""

    owner: int
    """Process id of whoever runs the cluster."""
    directory: str
    """Folder that holds all its files; removed."""
    bridge: str
    veth_prefix: str
    cgroup: str
    """Folder below each cgroup controller."""
    settings: dict[str, str]
    """File below /proc/sys -> its content before."""

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(asdict(self)))
        aside.rename(path)

    @classmethod
    def read(cls, path: Path) -> Record:
        """The record in this file."""
        return cls(**json.loads(path.read_text()))


def undo(record: Record) -> list[str]:
    """Undo everything; returns what could not be undone, in words."""
    deadline = time.monotonic() + _WITHIN_S
    _kill_all(record.cgroup, deadline)
    for name in list(_network_devices()):
        if name == record.bridge or name.startswith(record.veth_prefix):
            subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
    _remove_cgroups(record.cgroup, deadline)
    for file, content in record.settings.items():
        Path("/proc/sys", file).write_text(content)
    directory = Path(record.directory)
    # The keeper of the processes removes it as well; whoever comes first.
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
    return leftovers(record)


def leftovers(record: Record) -> list[str]:
    """What is still there of a cluster, in words; nothing after a clean end."""
    found = [f"process {pid}" for pid in processes_in(record.cgroup)]
    found += [f"cgroup {folder}" for folder in _cgroup_folders(record.cgroup)]
    found += [
        f"network device {name}"
        for name in _network_devices()
        if name == record.bridge or name.startswith(record.veth_prefix)
    ]
    found += [f"mount {point}" for point in mounts_below(Path(record.directory))]
    if Path(record.directory).exists():
        found.append(f"folder {record.directory}")
    for file, content in record.settings.items():
        now = Path("/proc/sys", file).read_text()
        if now != content:
            found.append(f"setting {file}: {now.strip()}, was {content.strip()}")
    return found


def processes_in(cgroup: str) -> list[int]:
    """Every process in these cgroups and below, by the host's numbers."""
    found = set()
    for folder in _cgroup_folders(cgroup):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    return sorted(found)


def mounts_below(folder: Path) -> list[str]:
    """Mount points of this process's view below a folder."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [point for line in lines if (point := line.split()[1]).startswith(f"{folder}/")]


def kill_and_remove_cgroups(cgroup: str, *, within_s: float = _WITHIN_S) -> None:
    """Kill whoever is in these cgroups and remove them."""
    deadline = time.monotonic() + within_s
    _kill_all(cgroup, deadline)
    _remove_cgroups(cgroup, deadline)


def _kill_all(cgroup: str, deadline: float) -> None:
    while (pids := processes_in(cgroup)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _remove_cgroups(cgroup: str, deadline: float) -> None:
    while not _are_removed(cgroup) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _are_removed(cgroup: str) -> bool:
    for folder in list(_cgroup_folders(cgroup)):
        with contextlib.suppress(OSError):  # still busy for a moment after its last process
            folder.rmdir()
    return next(_cgroup_folders(cgroup), None) is None


def _cgroup_folders(cgroup: str) -> Iterator[Path]:
    """The innermost first, of every controller."""
    for controller in sorted(CGROUPS.iterdir()):
        for folder, _, _ in os.walk(controller / cgroup, topdown=False):
            yield Path(folder)


def _network_devices() -> list[str]:
    return os.listdir("/sys/class/net")


def main(record_path: Path, parent: int) -> None:
    """Wait for the end of the parent, then undo."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent's end is our order to end
    with contextlib.suppress(ProcessLookupError):  # gone before we came
        select.select([sys.stdin.buffer, os.pidfd_open(parent)], [], [])
    remaining = undo(Record.read(record_path))
    if remaining:
        sys.stderr.write("could not be undone: " + "; ".join(remaining) + "\n")
        sys.exit(1)
    record_path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
