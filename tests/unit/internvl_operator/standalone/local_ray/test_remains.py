import json
import os
import subprocess
import sys

import pytest

from internvl_operator.standalone import local_ray, ports
from internvl_operator.standalone.local_ray import LocalNode, LocalRay

pytestmark = pytest.mark.timeout(10)  # some start a process on a machine that may be busy


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(local_ray.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(local_ray.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by(folder, name: str, **owner) -> None:
    run = folder / f"{local_ray.FOLDER_PREFIX}{name}"
    run.mkdir()
    (run / "owner.json").write_text(json.dumps(owner))


def a_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def start_marked(mark: str) -> subprocess.Popen:
    """A process that carries the mark and would not end by itself; returned when it runs."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={local_ray.MARK: mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    return process


def test_the_start_time_tells_a_process_from_a_later_one_of_the_same_number():
    assert local_ray.process_start(os.getpid()) == local_ray.process_start(os.getpid())
    assert local_ray.process_start(a_dead_pid()) is None


def test_only_runs_whose_process_is_gone_left_remains(folder):
    me = os.getpid()
    left_by(folder, "alive", pid=me, started=local_ray.process_start(me), mark="a")
    left_by(folder, "dead", pid=a_dead_pid(), started="1", mark="b")
    left_by(folder, "reused", pid=me, started="1", mark="c")
    left_by(folder, "markless", pid=me, started="1", mark="")
    left_by(folder, "foreign")
    (folder / f"{local_ray.FOLDER_PREFIX}empty").mkdir()

    assert sorted(mark for _, mark in local_ray._remains()) == ["b", "c"]


async def test_processes_with_the_mark_of_a_dead_run_are_ended_and_its_folder_goes(folder, monkeypatch):
    left_by(folder, "dead", pid=a_dead_pid(), started="1", mark="of-a-dead-run")
    remnant, bystander = start_marked("of-a-dead-run"), start_marked("of-somebody-else")
    monkeypatch.setattr(local_ray.asyncio, "sleep", reaping(remnant))
    try:
        assert await local_ray.end_remains() == 1
        assert remnant.wait(timeout=5) < 0
        assert bystander.poll() is None
        assert list(folder.iterdir()) == []
    finally:
        for process in (remnant, bystander):
            process.kill()
            process.communicate()


def reaping(process: subprocess.Popen):
    """In place of the pause between two looks: a killed child of ours is only gone once it is waited for."""

    async def sleep(seconds: float) -> None:
        process.wait()

    return sleep


def test_ray_reads_no_variable_of_the_shell_that_is_meant_for_another_ray():
    ray = LocalRay.__new__(LocalRay)
    ray.folder, ray._mark = local_ray.Path("/tmp/ivup-x"), "m"

    env = ray._environment(
        {"RAY_ADDRESS": "elsewhere:6379", "RAY_AUTH_MODE": "token", "LANG": "C", "PATH": "/bin"}
    )

    assert "RAY_ADDRESS" not in env
    assert env["RAY_AUTH_MODE"] == "disabled"
    assert env["LANG"] == "C"
    assert env[local_ray.MARK] == "m"
    assert env["PATH"].endswith(":/bin")


def test_a_pool_is_the_label_of_its_node(monkeypatch):
    monkeypatch.setattr(ports, "_is_free", lambda port: True)
    free = ports.FreePorts()

    assert "--labels=serving.internvl.io/pool=l4" in local_ray._node_arguments(LocalNode("l4", 3), free)
    arguments = local_ray._node_arguments(LocalNode(None, 3), free)
    assert not any(argument.startswith("--labels") for argument in arguments)
    assert "--num-cpus=3" in arguments
