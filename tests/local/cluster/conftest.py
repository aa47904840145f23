"""For the tests in this folder: a shared control plane to look at, kubectl, and polling with a deadline."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cluster.control_plane import ControlPlane

Eventually = Callable[[Callable[[], bool], str], None]
Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="package")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Runs kubectl with a kubeconfig, or as the administrator of a control plane."""

    def run(where: ControlPlane | Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        kubeconfig = where.kubeconfig() if isinstance(where, ControlPlane) else where
        program = Path(sys.executable).with_name("kubectl")
        return subprocess.run(
            [program, "--kubeconfig", kubeconfig, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Polls until a condition holds; fails with the given words after 60 s."""

    def wait(is_reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not is_reached():
            assert time.monotonic() < deadline, f"not within 60 s: {what}"
            time.sleep(0.02)

    return wait
