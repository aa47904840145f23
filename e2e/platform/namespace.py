"""A team's namespace: under the restricted standard, with the model in a claim and a pod to ask from."""

import shutil

from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.demo.service import MODELS
from e2e.images.layout import Image
from e2e.platform.second_model import make_second_model

CLIENT = "client"


SECOND_MODEL = "second"
"""Folder of the model to roll to, beside internvl-nano."""


def make_namespace(cluster: NodeCluster, name: str, *, client: Image) -> None:
    """Make it, or complete it; `client` is any image with Python."""
    models = cluster.directory / "models"
    if not models.exists():
        shutil.copytree(MODELS, models)
        make_second_model(MODELS / "internvl-nano", models / SECOND_MODEL)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    volume = f"models-{name}"
    size = "1Gi"
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadOnlyMany"],
                "hostPath": {"path": str(models)},
                "storageClassName": "",
                "claimRef": {"namespace": name, "name": "models"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": name},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "resources": {"requests": {"storage": size}},
                "storageClassName": "",
                "volumeName": volume,
            },
        },
        _client_pod(name, client),
    )


def remove_namespace(cluster: NodeCluster, name: str) -> None:
    """Delete it with all that is in it, and wait until it is gone."""
    path = f"/api/v1/namespaces/{name}"
    cluster.client.request("DELETE", path)
    cluster.wait_for(f"namespace {name} is gone", lambda: cluster.client.request("GET", path).status == 404)
    cluster.client.request("DELETE", f"/api/v1/persistentvolumes/models-{name}")


def _client_pod(namespace: str, image: Image) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CLIENT, "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CLIENT,
                    "image": image.name,
                    "imagePullPolicy": "Never",
                    "command": ["sleep", "infinity"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
