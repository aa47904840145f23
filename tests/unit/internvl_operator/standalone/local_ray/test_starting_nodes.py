from pathlib import Path

import pytest

from internvl_operator.errors import Rejected
from internvl_operator.standalone import local_ray, ports
from internvl_operator.standalone.local_ray import LocalRay, RayNode


class FakeKeeper:
    """Remembers what was started; what runs ends when a test says so."""

    def __init__(self, folder: Path) -> None:
        self.started: list[tuple[str, list[str], dict[str, str]]] = []
        self.statuses: dict[str, int | None] = {}

    def start(self, name, command, *, log, environment):
        self.started.append((name, command, environment))
        self.statuses[name] = None
        log.write_text("one\ntwo\n")

    def exit_status(self, name):
        return self.statuses[name]


@pytest.fixture
def ray(tmp_path, monkeypatch) -> LocalRay:
    monkeypatch.setattr(ports, "_is_free", lambda port: True)
    monkeypatch.setattr(local_ray, "ProcessKeeper", FakeKeeper)
    monkeypatch.setattr(local_ray.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    (tmp_path / "ray").touch()
    return LocalRay([RayNode("head", None, 3), RayNode("l4", "l4", 2, gpus=1)], python=tmp_path / "python")


def started(ray: LocalRay) -> list[tuple[str, list[str], dict[str, str]]]:
    return ray._keeper.started


def test_ray_reads_no_variable_of_the_shell_that_is_meant_for_another_ray(ray, monkeypatch):
    for name, value in {"RAY_ADDRESS": "elsewhere:6379", "RAY_AUTH_MODE": "token", "LANG": "C"}.items():
        monkeypatch.setenv(name, value)
    ray.start("head")
    environment = started(ray)[0][2]
    assert "RAY_ADDRESS" not in environment
    assert environment["RAY_AUTH_MODE"] == "disabled"
    assert environment["LANG"] == "C"


def test_the_first_node_is_the_head_and_the_others_join_it(ray):
    ray.start("head")
    ray.start("l4")
    head, worker = (command for _, command, _ in started(ray))
    port = ray.gcs_address.partition(":")[2]
    assert {"--head", f"--port={port}", "--num-cpus=3"} <= set(head)
    assert not any(argument.startswith("--labels") for argument in head)
    assert {f"--address={ray.gcs_address}", "--labels=serving.internvl.io/pool=l4"} <= set(worker)
    assert "--num-gpus=1" in worker
    assert not any(argument.startswith("--num-gpus") for argument in head), "Ray finds them"
    listening = [a for command in (head, worker) for a in command if "port=" in a and "worker-port" not in a]
    assert len({a.partition("=")[2] for a in listening}) == len(listening), "a port was given twice"


def test_a_start_that_failed_is_tried_again_and_given_up_after_some(ray):
    ray.start("head")
    assert ray.start_again_what_failed() == []
    assert len(started(ray)) == 1
    for starts in (2, 3, 4):
        ray._keeper.statuses["head"] = 1
        assert ray.ended() == ["head"]
        assert ray.start_again_what_failed() == []
        assert len(started(ray)) == starts
        assert ray.ended() == []
    ray._keeper.statuses["head"] = 1
    assert ray.start_again_what_failed() == ["head"]
    assert len(started(ray)) == 4
    assert ray.end_of_log("head", lines=1) == "two"


def test_a_node_that_was_killed_is_not_started_again(ray):
    ray.start("head")
    ray._keeper.statuses["head"] = -9
    assert ray.kill("head")
    assert ray.ended() == []
    assert ray.start_again_what_failed() == []
    assert len(started(ray)) == 1


def test_an_environment_without_ray_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(Rejected, match=r"pip install 'internvl-operator\[operator,runtime\]'.*--ray http"):
        LocalRay([RayNode("head", None)], python=tmp_path / "python")
