"""A cluster that somebody else runs, for the tests that need nodes: `make e2e KUBECONFIG=file VALUES=file`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster.api_client import ApiClient
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.kube_cluster import KubeCluster
from e2e.setup.cache import Cache

_KUBECTL = Path(sys.executable).with_name("kubectl")
_KUBERAY = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rayclusters.ray.io"


class NamedCluster(KubeCluster):
    """Nothing of it is started or stopped. It is asked through `kubectl proxy`, which knows all ways to log in."""

    sees_our_files = False

    def __init__(self, kubeconfig: Path, *, cache: Cache | None = None) -> None:
        """Nothing is asked yet."""
        self._kubeconfig = kubeconfig.expanduser().absolute()
        self.failures = (cache or Cache.from_environment()).path("logs", "cluster-failure")
        self._proxy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Whoever may open the socket is the administrator: it lies in a folder that only we may enter.
        self.directory = Path(tempfile.mkdtemp(prefix="internvl-e2e-"))
        command: list[str | Path] = [
            _KUBECTL,
            "--kubeconfig",
            self._kubeconfig,
            "proxy",
            f"--unix-socket={self._socket}",
        ]
        self._proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            self.wait_for("kubectl proxy answers", self._answers, within_s=30)
            if self.client.request("GET", _KUBERAY).status != 200:
                raise ClusterFailed(
                    f"{self._kubeconfig}: this cluster has no KubeRay (no definition of RayCluster); install KubeRay 1.5 "
                    "to 1.7, see docs/kuberay.md"
                )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what was started here."""
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait()
            self._proxy = None
            shutil.rmtree(self.directory)

    @property
    def client(self) -> ApiClient:
        """As the user of the kubeconfig."""
        return ApiClient.through_socket(self._socket)

    def kubeconfig(self) -> Path:
        """The file that was named."""
        return self._kubeconfig

    @property
    def _socket(self) -> Path:
        return self.directory / "api"

    def _answers(self) -> bool:
        assert self._proxy is not None
        if self._proxy.poll() is not None:
            raise ClusterFailed(
                f"kubectl proxy ended; is {self._kubeconfig} right? Try kubectl version with it"
            )
        return self.client.request("GET", "/version").status == 200
