import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.binaries import Binaries, ensure_binaries
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import StartFailed
from e2e.setup.cache import Cache
from internvl_operator.standalone.processes import ProcessKeeper

ROOT = Path(__file__).resolve().parents[3]


def processes_of(directory: Path) -> list[int]:
    """Whoever names the directory on its command line: the parts, and their keeper."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(directory) in command:
                found.append(int(entry.name))
    return found


def test_kill_9_of_the_parent_leaves_no_process_and_no_directory(eventually) -> None:
    command = [sys.executable, "-m", "e2e.cluster"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        shown = [parent.stdout.readline() for _ in range(3)]
        directory = Path(shown[2].strip().partition("=")[2]).parents[1]
        assert directory.name.startswith("internvl-cluster-")
        assert len(processes_of(directory)) == 4, "etcd, kube-apiserver, controller-manager, keeper"
        parent.kill()
    eventually(lambda: not directory.exists(), "the directory is gone")
    eventually(lambda: not processes_of(directory), "the processes are gone")


# A shell's background job ignores SIGINT, nohup SIGHUP, and children inherit that: the test sets it back.
KEEPING = """
import pathlib, sys, time
from internvl_operator.standalone.processes import ProcessKeeper
directory = pathlib.Path(sys.argv[1])
with ProcessKeeper(directory) as keeper:
    print(keeper.start("sleeper", ["/bin/sleep", "600"], log=directory / "log"), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_ends_the_parent_what_it_started_ends(
    number: signal.Signals, tmp_path: Path, eventually
) -> None:
    directory = tmp_path / "kept"
    directory.mkdir()
    command = [sys.executable, "-c", KEEPING, str(directory)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None,
    ) as parent:
        assert parent.stdout is not None
        sleeper = int(parent.stdout.readline())
        assert is_running(sleeper)
        parent.send_signal(number)
    eventually(lambda: not is_running(sleeper), "the sleeper is gone")
    eventually(lambda: not directory.exists(), "the directory is gone")


def test_when_the_keeper_itself_is_killed_its_processes_go_with_it(tmp_path: Path, eventually) -> None:
    directory = tmp_path / "kept"
    directory.mkdir()
    with ProcessKeeper(directory) as keeper:
        pid = keeper.start("sleeper", ["/bin/sleep", "600"], log=directory / "log")
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        eventually(lambda: not is_running(pid), "the sleeper is gone")


def test_a_daemon_that_left_its_parent_is_found(tmp_path: Path, eventually) -> None:
    directory = tmp_path / "kept"
    directory.mkdir()
    number = tmp_path / "pid"
    with ProcessKeeper(directory) as keeper:
        keeper.start(
            "launcher", ["/bin/sh", "-c", f"setsid sleep 600 & echo $! > {number}"], log=directory / "log"
        )
        assert keeper.wait("launcher", timeout_s=60) == 0
        daemon = int(number.read_text())
        assert is_running(daemon)
    assert not is_running(daemon)
    assert not directory.exists()


def test_a_part_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho 'no such flag: --secure-port' >&2; exit 7\n")
    broken.chmod(0o755)
    ours = ensure_binaries(Cache.from_environment(), {})
    plane = ControlPlane(binaries=Binaries(ours.etcd, broken, ours.kube_controller_manager))
    with pytest.raises(
        StartFailed, match=r"(?s)kube-apiserver ended with status 7.*no such flag: --secure-port"
    ):
        plane.start()
    assert not plane.directory.exists()
    assert processes_of(plane.directory) == []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
