"""KubeRay with our runtime image, as the operator will use it: restricted, non-root, with a token."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.images.layout import Image

pytestmark = pytest.mark.usefixtures("own_nodes")

Get = Callable[[str], dict[str, Any]]
APPLICATIONS = "/api/serve/applications/"


def pod_template(image: Image, pool: str) -> dict[str, Any]:
    container = {
        "name": "ray",
        "image": image.name,
        "imagePullPolicy": "Never",
        "workingDir": "/home/ray",
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi"},
            "limits": {"memory": "2Gi"} | ({} if pool == "cpu" else {"nvidia.com/gpu": "1"}),
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "nodeSelector": {"internvl.example/pool": pool},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }
    }


def ray_cluster(namespace: str, image: Image) -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "tried", "namespace": namespace},
        "spec": {
            "rayVersion": "2.60.0",
            "enableInTreeAutoscaling": False,
            "authOptions": {"mode": "token"},
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
                "template": pod_template(image, "cpu"),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "vision",
                    "replicas": 1,
                    "minReplicas": 0,
                    "maxReplicas": 4,
                    "rayStartParams": {"num-cpus": "1"},
                    "labels": {"serving.internvl.io/pool": "vision"},
                    "template": pod_template(image, "vision"),
                }
            ],
        },
    }


@pytest.fixture
def restricted(cluster: NodeCluster, namespace: str) -> str:
    """The namespace, in which only pods of the restricted standard may run."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    )
    return namespace


def ask(address: str, token: str | None) -> tuple[int, dict[str, Any]]:
    headers = {"X-Ray-Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, {}


def test_a_restricted_ray_cluster_answers_with_its_token_only(
    cluster: NodeCluster, get: Get, restricted: str, runtime_image: Image
) -> None:
    cluster.apply(ray_cluster(restricted, runtime_image))
    path = f"/apis/ray.io/v1/namespaces/{restricted}/rayclusters/tried"
    cluster.wait_for(
        "head and worker are ready",
        lambda: (
            get(path).get("status", {}).get("state") == "ready"
            and get(path)["status"].get("readyWorkerReplicas") == 1
        ),
        within_s=600,
    )
    pods = get(f"/api/v1/namespaces/{restricted}/pods")["items"]
    nodes = {pod["metadata"]["labels"]["ray.io/node-type"]: pod["spec"]["nodeName"] for pod in pods}
    assert nodes == {"head": "cpu", "worker": "vision"}

    head = next(pod for pod in pods if pod["metadata"]["labels"]["ray.io/node-type"] == "head")
    address = f"http://{head['status']['podIP']}:8265{APPLICATIONS}"
    secret = get(f"/api/v1/namespaces/{restricted}/secrets/tried")
    token = base64.b64decode(secret["data"]["auth_token"]).decode()
    assert ask(address, None)[0] == 401
    status, document = ask(address, token)
    assert status == 200
    assert document["applications"] == {}
