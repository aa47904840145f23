"""The parts of a local installation: Kubernetes API, Ray nodes, the operator. Used by the demo and the benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster.clusters import Cluster, open_cluster
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import StartFailed
from e2e.cluster.ray_nodes import HEAD, RayNodes
from e2e.setup.progress import step
from internvl_operator.standalone.local_ray import RayNode
from internvl_operator.standalone.processes import ProcessKeeper

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
"""What users get: the tests that call this have torch on their path, the parts must not."""
SYSTEM_NAMESPACE = "internvl-system"
OPERATOR = "internvl-operator"
_KIND_WITHIN_S = 90.0
NODES = (RayNode(HEAD, None, 2), RayNode("vision", "vision", 2), RayNode("language", "language", 2))


class KubectlFailed(StartFailed):
    """kubectl ended with an error; the message is its own."""


@dataclass(slots=True)
class LocalInstallation:
    """Everything that a platform team would have installed, on loopback; a context manager.

    Args:
        kubeconfig: an existing cluster to use; None starts an own control plane.
        nodes: the Ray nodes.
        settings: more settings for the operator, as its environment variables.
    """

    kubeconfig: Path | None = None
    nodes: tuple[RayNode, ...] = NODES
    settings: dict[str, str] = field(default_factory=dict)

    cluster: Cluster = field(init=False)
    ray: RayNodes = field(init=False)
    folder: Path = field(init=False)
    """Logs of the operator; gone at the end."""
    _stack: contextlib.ExitStack = field(init=False)
    _keeper: ProcessKeeper = field(init=False)

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        try:
            with step("Kubernetes API server and Ray (a head, a vision node, a language node)"):
                self._start_servers()
            with step("operator"):
                self._install_operator()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def kubectl_command(self) -> list[str]:
        """The command kubectl with the administrator's kubeconfig."""
        return [str(PYTHON.with_name("kubectl")), "--kubeconfig", str(self.cluster.kubeconfig())]

    @property
    def operator_log(self) -> Path:
        """Where the operator writes."""
        return self.folder / "operator.log"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it prints.

        Raises:
            KubectlFailed: with kubectl's own words.
        """
        done = subprocess.run(
            [*self.kubectl_command, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def operator_pid(self) -> int:
        """Process id of the operator."""
        return self._keeper.pid(OPERATOR)

    def stop_operator(self) -> None:
        """End the operator as a rollout of it would: SIGTERM, and wait."""
        self._keeper.stop(OPERATOR, grace_s=20)

    def kill_operator(self) -> None:
        """End the operator as a power cut would."""
        self._keeper.kill(OPERATOR)

    def check_operator(self) -> None:
        """Raise `StartFailed` with the end of its log when the operator has ended."""
        if (status := self._keeper.exit_status(OPERATOR)) is not None:
            tail = "\n".join(self.operator_log.read_text(errors="replace").splitlines()[-15:])
            raise StartFailed(f"the operator ended with status {status}:\n{tail}")

    def _start_servers(self) -> None:
        self.cluster, self.ray = open_cluster(self.kubeconfig), RayNodes(self.nodes, python=PYTHON)
        parts: tuple[contextlib.AbstractContextManager[object], ...] = (self.cluster, self.ray)
        with ThreadPoolExecutor(len(parts)) as pool:
            started = [pool.submit(part.__enter__) for part in parts]
        for part, future in zip(parts, started, strict=True):
            if future.exception() is None:
                self._stack.push(part.__exit__)
        for future in started:
            future.result()

    def _install_operator(self) -> None:
        self.install_kind()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
        self.kubectl("apply", "-f", str(ROOT / "manifests" / "rbac"))
        self.folder = Path(tempfile.mkdtemp(prefix="internvl-operator-"))
        self._keeper = self._stack.enter_context(ProcessKeeper(self.folder))
        self.start_operator()

    def install_kind(self, code: Path = ROOT) -> None:
        """Apply the CRD of these sources; returns when it is served."""
        crds = str(code / "manifests" / "crds")
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        self._wait_for_kind()

    def start_operator(self, code: Path = ROOT) -> None:
        """Start the operator of these sources, as at first or again."""
        self._keeper.start(
            OPERATOR,
            [PYTHON, "-m", "internvl_operator"],
            log=self.operator_log,
            environment={**self._operator_environment(), "PYTHONPATH": _python_path(code)},
        )

    def _wait_for_kind(self) -> None:
        # `kubectl wait` would do, but ends with an error while the new CRD has no conditions at all.
        deadline = time.monotonic() + _KIND_WITHIN_S
        while True:
            try:
                self.kubectl("get", "internvlservices", "--all-namespaces")
                return
            except KubectlFailed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _operator_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("INTERNVL_OPERATOR_", "RAY_"))}
        return inherited | {
            "KUBECONFIG": str(self._operator_kubeconfig()),
            "INTERNVL_OPERATOR_RAY_ADDRESS": self.ray.dashboard_url,
            "INTERNVL_OPERATOR_SERVE_HTTP_HOST": "127.0.0.1",
            "INTERNVL_OPERATOR_SERVE_HTTP_PORT": str(self.ray.serve_port),
            "INTERNVL_OPERATOR_LEASE_NAMESPACE": SYSTEM_NAMESPACE,
            **self.settings,
        }

    def _operator_kubeconfig(self) -> Path:
        # With its own service account, so that its few rights are seen to be enough; in somebody else's cluster
        # the rights of whoever gave the kubeconfig.
        if isinstance(self.cluster, ControlPlane):
            return self.cluster.service_account_kubeconfig(namespace=SYSTEM_NAMESPACE, name=OPERATOR)
        return self.cluster.kubeconfig()


def _python_path(code: Path) -> str:
    return os.pathsep.join(str(code / name) for name in ("operator", "runtimes", "engines"))
