"""A service that scales, on real parts: API server, Ray with room for several replicas, the operator, and a real load.

For tests and benchmarks. Numbers come down after `QUIET_S`, which both of them wait for; else all is as in production.
"""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.ray_nodes import HEAD
from e2e.demo.parts import PYTHON, LocalInstallation
from e2e.demo.service import MODELS
from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster.exposition import parse_page
from internvl_operator.standalone.local_ray import RayNode
from internvl_runtimes.contract import metrics

SERVICES = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlservices"
QUIET_S = 8
"""Longer than the window that a node's rates are over, so that a pause of random arrivals changes nothing."""
# Numbers come down sooner: the tests wait for it. The rest is as in production.
SETTINGS = {
    "INTERNVL_OPERATOR_SCALE_DOWN_AFTER_S": str(QUIET_S),
    "INTERNVL_OPERATOR_PROMETHEUS_WINDOW_S": "8",
    "INTERNVL_OPERATOR_LEASE_DURATION_S": "5",
}
PROMETHEUS_URL = "INTERNVL_OPERATOR_PROMETHEUS_URL"
NODES = (
    RayNode(HEAD, None, 2),
    RayNode("vision", "vision", 4, gpus=8),  # only counted: nothing computes on them
    RayNode("language", "language", 4, gpus=8),
)
# What a replica manages is stated, and low: a load that two cores carry then asks for several of them.
VISION = {"pool": "vision", "cpu": "500m", "gpus": 1, "maxReplicas": 4, "capacity": {"tilesPerSecond": 8}}
LANGUAGE = {
    "pool": "language",
    "cpu": "500m",
    "maxReplicas": 4,
    "capacity": {"promptTokensPerSecond": 100000, "outputTokensPerSecond": 6},
}


@dataclass
class Running:
    """One `internvl load` process."""

    process: subprocess.Popen[bytes]
    figures: Path

    def ended(self) -> dict[str, Any]:
        """Its figures, once it has ended by itself."""
        assert self.process.wait(timeout=300) == 0
        return self.read()

    def read(self) -> dict[str, Any]:
        """The figures that it wrote."""
        found: dict[str, Any] = json.loads(self.figures.read_text())
        return found

    def stopped(self) -> dict[str, Any]:
        """Its figures, when nothing more is sent and all that was sent has its answer."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


@dataclass
class World:
    """One service that scales, on real parts."""

    installation: LocalInstallation
    folder: Path
    name: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)
    """What was applied last."""
    loads: list[Running] = field(default_factory=list)

    def apply(self, name: str, **spec: Any) -> None:
        """Create a service, or change what is named of it."""
        self.name = name
        self.manifest = {
            "apiVersion": "serving.internvl.io/v1alpha1",
            "kind": "InternVLService",
            "metadata": {"name": name},
            "spec": {
                "model": {"uri": f"file://{MODELS}/internvl-nano"},
                "vision": VISION,
                "language": LANGUAGE,
                **spec,
            },
        }
        self.installation.kubectl("apply", "-f", "-", stdin=json.dumps(self.manifest))

    def resize(self, role: str, replicas: int) -> None:
        """Give a side that does not scale another number of replicas."""
        spec = self.manifest["spec"]
        fixed = {"minReplicas": replicas, "maxReplicas": replicas}
        self.apply(self.name, **{**spec, role: {**spec[role], **fixed}})

    def delete(self) -> None:
        self.installation.kubectl("delete", "ivl", self.name, "--ignore-not-found", "--timeout=180s")

    @property
    def status(self) -> dict[str, Any]:
        """As the API server has it."""
        cluster = self.installation.cluster
        assert isinstance(cluster, ControlPlane)
        answer = cluster.client.request("GET", f"{SERVICES}/{self.name}")
        assert answer.status == 200, answer.text
        return dict(answer.document.get("status") or {})

    def target(self, role: str) -> int:
        return int(self.status.get("roles", {}).get(role, {}).get("target", 0))

    def ready(self, role: str) -> int:
        return int(self.status.get("roles", {}).get(role, {}).get("ready") or 0)

    def serve_replicas(self) -> dict[str, int]:
        """Replicas that Serve has of each side, in whatever state."""
        key, found = ServiceKey("default", self.name), dict[str, int]()

        def is_told() -> bool:
            # The dashboard may take longer than one try on a busy machine; it then shows nothing. And an application
            # that Serve builds has no deployments yet.
            shown = self.installation.ray.applications()
            for role in (Role.VISION, Role.LANGUAGE):
                application = shown.get(names.application(key, role), {})
                deployment = application.get("deployments", {}).get(DEPLOYMENTS[role])
                if deployment is None:
                    return False
                found[role.value] = len(deployment["replicas"])
            return True

        self.wait(is_told, "Serve tells of both sides")
        return found

    def said(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        for item in self.status.get("conditions", []):
            if item["type"] == kind:
                return item["status"], item["reason"]
        return "", ""

    def wait(self, holds: Callable[[], bool], what: str, *, within_s: float = 300.0) -> float:
        """Poll until it holds; the seconds that it took."""
        began = time.monotonic()
        while not holds():
            self.installation.check_operator()
            if time.monotonic() - began > within_s:
                log = self.installation.operator_log.read_text(errors="replace").splitlines()[-15:]
                raise AssertionError(f"not within {within_s:g} s: {what}\n{self.status}\n" + "\n".join(log))
            time.sleep(0.2)
        return time.monotonic() - began

    def stays(self, holds: Callable[[], bool], what: str, *, for_s: float = 15.0) -> None:
        """Poll: it holds each time."""
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            assert holds(), f"{what}\n{self.status}"
            time.sleep(0.5)

    def wait_ready(self) -> None:
        self.wait(lambda: self.said("Ready")[0] == "True", f"{self.name} is Ready")

    def settle(self, *, within_s: float = QUIET_S + 300.0) -> None:
        """Wait until both sides are at their least, and run."""
        self.wait(
            lambda: all(self.target(role) == self.ready(role) == 1 for role in ("vision", "language")),
            "both sides are at one replica",
            within_s=within_s,
        )

    def begin_anew(self, **spec: Any) -> None:
        """Put another service in its place, which remembers no load: what comes again is kept in reserve for hours.

        Args:
            spec: what of it is to be another one.
        """
        spec = {**self.manifest["spec"], **spec}
        self.delete()
        self.apply(self.name, **spec)
        self.wait_ready()
        self.settle()

    @property
    def answered(self) -> float:
        """Requests that gateways have answered, on whichever node they run."""
        ray, name = self.installation.ray, metrics.REQUESTS.exported
        pages = (urllib.request.urlopen(ray.metrics_url(node.name), timeout=30).read() for node in ray.nodes)
        samples = (sample for page in pages for sample in parse_page(page, (name,)))
        return sum(sample.value for sample in samples if sample.labels.get("outcome") == "ok")

    def wait_answers(self, count: int) -> None:
        """Wait until so many more requests are answered."""
        before = self.answered
        self.wait(lambda: self.answered >= before + count, f"{count} more answers")

    def load(self, mix: str, *, rate: float, seconds: float = 1800.0, tokens: int) -> Running:
        """Send a load beside everything else, until it is stopped or for these seconds."""
        plan = ("--mix", mix, "--rate", str(rate), "--duration", str(seconds))
        return self._start_load(*plan, "--max-tokens", str(tokens))

    def replay(self, trace: Path, *options: str) -> Running:
        """Send what a trace says beside everything else; `options` as those of `internvl load`."""
        return self._start_load("--trace", str(trace), *options)

    def _start_load(self, *options: str) -> Running:
        figures = self.folder / f"load-{len(self.loads)}.json"
        command = [str(PYTHON.with_name("internvl")), "load", str(self.status["url"]), *options]
        with figures.with_suffix(".log").open("wb") as log:
            running = Running(
                subprocess.Popen([*command, "--json", str(figures)], stdout=log, stderr=log), figures
            )
        self.loads.append(running)
        return running

    @contextmanager
    def with_prometheus(self, url: str) -> Iterator[None]:
        """Let the operator ask a Prometheus; it is started anew with it, and without it at the end."""
        self._restart_operator(**{PROMETHEUS_URL: url})
        try:
            yield
        finally:
            self._restart_operator(**{PROMETHEUS_URL: ""})

    def _restart_operator(self, **settings: str) -> None:
        self.installation.stop_operator()
        self.installation.settings.update(settings)
        self.installation.start_operator()


@contextmanager
def world_of(folder: Path, **settings: str) -> Iterator[World]:
    with LocalInstallation(nodes=NODES, settings={**SETTINGS, **settings}) as installation:
        world = World(installation, folder)
        try:
            yield world
        finally:
            for load in world.loads:
                load.process.kill()
                load.process.wait()
            print(installation.operator_log.read_text(errors="replace")[-6000:])
