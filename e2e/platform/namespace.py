"""A team's namespace: under the restricted standard, with the models in a claim and a pod to ask from."""

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.kube_cluster import KubeCluster
from e2e.demo.service import MODELS
from e2e.images.layout import Image
from e2e.platform.second_model import make_second_model
from internvl_engines.store.seal import write_seal

CLIENT = "client"
CLAIM = "models"
SECOND_MODEL = "second"
"""Folder of the model to roll to, beside internvl-nano."""
_SIZE = "1Gi"
# Without a filter, which Python 3.11.2 of Debian does not know: the archive is our own.
_UNPACK = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/models')"


@dataclass(frozen=True, slots=True)
class ClientImage:
    """Any image with Python, for the pod to ask from."""

    name: str
    pull_policy: str = "Never"

    @classmethod
    def of(cls, image: Image) -> "ClientImage":
        """One that the nodes have already."""
        return cls(image.name)


def make_namespace(cluster: KubeCluster, name: str, *, client: ClientImage) -> None:
    """Make it, or complete it."""
    models = cluster.directory / "models"
    if not models.exists():
        shutil.copytree(MODELS, models)
        make_second_model(MODELS / "internvl-nano", models / SECOND_MODEL)
        for model in ("internvl-nano", SECOND_MODEL):
            write_seal(models / model)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    if cluster.sees_our_files:
        cluster.apply(*_claim_of_a_folder(name, models), _client_pod(name, client))
        return
    # The cluster's own storage, which pods on several nodes must be able to mount at once.
    cluster.apply(_claim(name, {"accessModes": ["ReadWriteMany"]}), _client_pod(name, client, mounts=True))
    cluster.wait_for(f"the pod {name}/{CLIENT} runs", lambda: _is_ready(cluster, name), within_s=300)
    _fill_claim(cluster, name, models)


def remove_namespace(cluster: KubeCluster, name: str) -> None:
    """Delete it with all that is in it, and wait until it is gone."""
    path = f"/api/v1/namespaces/{name}"
    cluster.client.request("DELETE", path)
    cluster.wait_for(f"namespace {name} is gone", lambda: cluster.client.request("GET", path).status == 404)
    if cluster.sees_our_files:
        cluster.client.request("DELETE", f"/api/v1/persistentvolumes/models-{name}")


def _claim_of_a_folder(namespace: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    volume = f"models-{namespace}"
    spec = {
        "capacity": {"storage": _SIZE},
        "accessModes": ["ReadOnlyMany"],
        "hostPath": {"path": str(folder)},
        "storageClassName": "",
        "claimRef": {"namespace": namespace, "name": CLAIM},
    }
    chosen = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": volume}
    return (
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec},
        _claim(namespace, chosen),
    )


def _claim(namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": namespace},
        "spec": {"resources": {"requests": {"storage": _SIZE}}, **spec},
    }


def _fill_claim(cluster: KubeCluster, namespace: str, folder: Path) -> None:
    """Put the folder's content into the claim, through the client pod."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    kubectl = Path(sys.executable).with_name("kubectl")
    words = ("-n", namespace, "exec", "-i", CLIENT, "--", "python", "-c", _UNPACK)
    command: list[str | Path] = [kubectl, "--kubeconfig", cluster.kubeconfig(), *words]
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=False)
    if done.returncode != 0:
        raise ClusterFailed(f"the models did not get into the claim: {done.stderr.decode().strip()}")


def _is_ready(cluster: KubeCluster, namespace: str) -> bool:
    pod = cluster.get(f"/api/v1/namespaces/{namespace}/pods/{CLIENT}")
    return any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in pod.get("status", {}).get("conditions", [])
    )


def _client_pod(namespace: str, image: ClientImage, *, mounts: bool = False) -> dict[str, object]:
    container: dict[str, Any] = {
        "name": CLIENT,
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "command": ["sleep", "infinity"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if mounts:
        container["volumeMounts"] = [{"name": CLAIM, "mountPath": "/models"}]
        spec["volumes"] = [{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CLIENT, "namespace": namespace},
        "spec": spec,
    }
