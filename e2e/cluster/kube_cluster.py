"""What tests do with any cluster that has nodes: apply, wait, read, and keep what one looks at after a failure."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from e2e.cluster import objects
from e2e.cluster.api_client import ApiClient
from e2e.cluster.errors import StartFailed

_READY_WITHIN_S = 300.0
# A question is a connection of its own, with its handshake: more of them would be felt on two cores.
_POLL_S = 0.2


class KubeCluster(ABC):
    """A cluster, whoever runs it."""

    directory: Path
    """For files about the cluster, which go with it."""
    sees_our_files: bool
    """Whether a path of this machine is the same path on its nodes."""
    failures: Path
    """Where `dump` writes when something did not happen in time."""

    @property
    @abstractmethod
    def client(self) -> ApiClient:
        """Plain requests to the API server as its administrator."""

    @abstractmethod
    def kubeconfig(self) -> Path:
        """The administrator's."""

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply objects server-side, in this order."""
        for manifest in manifests:
            objects.apply(self.client, manifest)

    def get(self, path: str) -> dict[str, Any]:
        """The object at a path; an empty one when it is not there."""
        answer = self.client.request("GET", path)
        return answer.document if answer.status == 200 else {}

    def wait_for(
        self, what: str, is_reached: Callable[[], bool], *, within_s: float = _READY_WITHIN_S
    ) -> None:
        """Poll until a condition holds.

        Raises:
            StartFailed: It did not hold within that time; the text says where the logs are kept.
        """
        deadline = time.monotonic() + within_s
        while not _holds(is_reached):
            if time.monotonic() > deadline:
                with contextlib.suppress(OSError):  # the server that is to be asked may be what failed
                    self.dump(self.failures)
                raise StartFailed(
                    f"not within {within_s:.0f} s: {what}. Objects, events and logs: {self.failures}"
                )
            time.sleep(_POLL_S)

    def dump(self, folder: Path) -> None:
        """Write what one looks at after a failure: objects, events, the logs of pods."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for resource in ("nodes", "pods", "services", "events"):
            found = self.get(f"/api/v1/{resource}").get("items", [])
            (folder / f"{resource}.json").write_text(json.dumps(found, indent=1))
        for pod in self.get("/api/v1/pods").get("items", []):
            self._dump_pod_logs(pod, folder / "pods")

    def _dump_pod_logs(self, pod: Mapping[str, Any], folder: Path) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        folder.mkdir(exist_ok=True)
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            path = (
                f"/api/v1/namespaces/{namespace}/pods/{name}/log?tailLines=2000&container={container['name']}"
            )
            try:
                text = self.client.request("GET", path).text
            except OSError as error:
                text = repr(error)
            (folder / f"{namespace}-{name}-{container['name']}.log").write_text(text)


def _holds(is_reached: Callable[[], bool]) -> bool:
    try:
        return is_reached()
    except OSError:  # the API server or a kubelet is not there at this moment
        return False
