"""A real API server, a real Ray with applications that do nothing, real operator processes, and a relay."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.ray_nodes import APPLICATIONS, HEAD, RayNodes
from e2e.cluster.relay import Relay
from internvl_operator.standalone.local_ray import RayNode

ROOT = Path(__file__).parents[3]
CRDS = ROOT / "manifests" / "crds"
SERVICES = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlservices"
SCALES = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlscales"


@dataclass
class Operator:
    """One operator process."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def stop(self, *, kill: bool = False) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        return self.process.wait(timeout=60)


@dataclass
class Services:
    """InternVLServices of the namespace default, by plain requests."""

    plane: ControlPlane
    made: list[str] = field(default_factory=list)

    def create(self, name: str, **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": "serving.internvl.io/v1alpha1",
            "kind": "InternVLService",
            "metadata": {"name": name},
            "spec": {"model": {"uri": "file:///stub"}, **spec},
        }
        answer = self.plane.client.request("POST", SERVICES, body)
        assert answer.status == 201, answer.text
        self.made.append(name)
        return answer.document

    def get(self, name: str) -> dict[str, Any] | None:
        answer = self.plane.client.request("GET", f"{SERVICES}/{name}")
        return answer.document if answer.status == 200 else None

    def replace_spec(self, name: str, **spec: Any) -> None:
        for _ in range(10):
            found = self.get(name)
            assert found is not None
            found["spec"] = {"model": {"uri": "file:///stub"}, **spec}
            answer = self.plane.client.request("PUT", f"{SERVICES}/{name}", found)
            if answer.status != 409:  # the operator wrote the status in between
                break
        assert answer.status == 200, answer.text

    def delete(self, name: str) -> None:
        self.plane.client.request("DELETE", f"{SERVICES}/{name}")

    def condition(self, name: str, kind: str = "Ready") -> tuple[str, str]:
        """Status and reason."""
        for item in ((self.get(name) or {}).get("status") or {}).get("conditions", []):
            if item["type"] == kind:
                return item["status"], item["reason"]
        return "", ""

    def is_ready(self, name: str) -> bool:
        return self.condition(name) == ("True", "Ready")

    def let_go(self) -> None:
        """Delete what a test left, finalizer or not."""
        for name in self.made:
            self.delete(name)
            found = self.get(name)
            if found is not None:
                found["metadata"]["finalizers"] = []
                self.plane.client.request("PUT", f"{SERVICES}/{name}", found)


Eventually = Callable[..., float]


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Polls until a condition holds; returns the seconds that it took."""

    def wait(is_reached: Callable[[], bool], what: str, *, within_s: float = 60.0) -> float:
        began = time.monotonic()
        while not is_reached():
            assert time.monotonic() - began < within_s, f"not within {within_s:g} s: {what}"
            time.sleep(0.05)
        return time.monotonic() - began

    return wait


@pytest.fixture(scope="package")
def plane(eventually: Eventually) -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        for path in CRDS.glob("*.yaml"):
            crd = yaml.safe_load(path.read_text())
            url = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            assert plane.client.request("POST", url, crd).status == 201
        for kind in (SERVICES, SCALES):
            eventually(lambda kind=kind: plane.client.request("GET", kind).status == 200, f"{kind} is served")
        yield plane


@pytest.fixture(scope="package")
def ray() -> Iterator[RayNodes]:
    """One node that has `tiny_app` and not our runtime: the environment below `.venv`, without our folders."""
    python = ROOT / ".venv" / "heavy" / "bin" / "python"
    with RayNodes(nodes=(RayNode(HEAD, None, cpus=2),), python=python, packages=(APPLICATIONS,)) as ray:
        yield ray


@pytest.fixture
def services(plane: ControlPlane) -> Iterator[Services]:
    services = Services(plane)
    yield services
    services.let_go()


@pytest.fixture
def relay() -> Iterator[Callable[[str], Relay]]:
    relays: list[Relay] = []

    def make(target: str) -> Relay:
        relays.append(Relay(target))
        return relays[-1]

    yield make
    for item in relays:
        item.close()


@pytest.fixture
def start_operator(plane: ControlPlane, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Starts operator processes; each test has a Lease of its own, so tests do not wait for each other."""
    started: list[Operator] = []

    def start(*, kubeconfig: Path | None = None, **settings: object) -> Operator:
        log_path = tmp_path / f"operator-{len(started)}.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("INTERNVL_")}
        chosen = {
            "lease_namespace": "default",
            "lease_name": f"lease-{tmp_path.name[-40:]}".replace("_", "-").lower(),
        }
        for name, value in {**chosen, **settings}.items():
            env[f"INTERNVL_OPERATOR_{name.upper()}"] = str(value)
        env["KUBECONFIG"] = str(kubeconfig or plane.kubeconfig())
        env["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("operator", "runtimes", "engines"))
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "internvl_operator"], env=env, stderr=log, stdout=log
            )
        started.append(Operator(process, log_path))
        return started[-1]

    yield start
    for operator in started:
        operator.stop()
        print(f"--- {operator.log_path.name}\n{operator.log[-6000:]}")


@pytest.fixture
def relayed_kubeconfig(plane: ControlPlane, tmp_path: Path) -> Callable[[Relay], Path]:
    """The administrator's kubeconfig, by way of a relay."""

    def write(relay: Relay) -> Path:
        config = yaml.safe_load(plane.kubeconfig().read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{relay.port}"
        path = tmp_path / "relayed.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    return write
