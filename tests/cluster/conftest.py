"""One cluster with nodes for all tests of this folder: with KubeRay, and with our images on every node."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.nodes import guardian
from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.cluster.nodes.programs import ensure_helm
from e2e.demo.service import MODELS
from e2e.images.build import OPERATOR, RUNTIME, ensure_image
from e2e.images.layout import DOMAIN, Image
from e2e.setup.cache import Cache
from tests.cluster.story import Story

Kubectl = Callable[..., str]
CHART = Path(__file__).parents[2] / "charts" / "internvl-operator"
SYSTEM = "internvl-system"


@pytest.fixture(scope="session")
def python_image() -> Image:
    """Any image with Python, for pods that are only there to be seen."""
    return ensure_image(OPERATOR, cache=Cache.from_environment())


@pytest.fixture(scope="session")
def runtime_image() -> Image:
    return ensure_image(RUNTIME, cache=Cache.from_environment())


@pytest.fixture(scope="session")
def cluster(python_image: Image, runtime_image: Image) -> Iterator[NodeCluster]:
    with NodeCluster(images=[python_image, runtime_image]) as cluster:
        cluster.install_kuberay()
        yield cluster
    assert guardian.leftovers(cluster.record) == []


@pytest.fixture(scope="session")
def kubectl(cluster: NodeCluster) -> Kubectl:
    """Runs kubectl as the administrator; its output, or an assertion with what it said."""

    def run(*words: str, stdin: str | None = None) -> str:
        program = Path(sys.executable).with_name("kubectl")
        done = subprocess.run(
            [program, "--kubeconfig", cluster.kubeconfig(), *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,  # a load runs through one of these
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def namespace(cluster: NodeCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone after it."""
    name = request.node.originalname.replace("_", "-").removeprefix("test-")[:50].strip("-")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.client.request("DELETE", f"/api/v1/namespaces/{name}")
    cluster.wait_for(
        f"namespace {name} is gone",
        lambda: cluster.client.request("GET", f"/api/v1/namespaces/{name}").status == 404,
    )


@pytest.fixture
def run_pod(cluster: NodeCluster, namespace: str, python_image: Image) -> Callable[..., None]:
    """Applies a pod of one container and does not wait for it."""

    def run(name: str, *command: str, pool: str, gpus: int = 0, image: Image = python_image) -> None:
        container = {
            "name": "only",
            "image": image.name,
            "imagePullPolicy": "Never",
            "command": list(command),
            "resources": {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {},
        }
        spec = {
            "nodeSelector": {"internvl.example/pool": pool},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        }
        metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    return run


@pytest.fixture
def get(cluster: NodeCluster) -> Callable[[str], dict[str, Any]]:
    """The object at a path of the API; an empty one when it is not there."""

    def read(path: str) -> dict[str, Any]:
        answer = cluster.client.request("GET", path)
        return answer.document if answer.status == 200 else {}

    return read


@pytest.fixture(scope="session")
def helm(cluster: NodeCluster) -> Callable[..., str]:
    program = ensure_helm(Cache.from_environment())

    def run(*words: str) -> str:
        command = [str(program), "--kubeconfig", str(cluster.kubeconfig()), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def operator(
    cluster: NodeCluster, helm: Callable[..., str], python_image: Image, runtime_image: Image
) -> Iterator[None]:
    """The chart, installed as its README says."""
    pools = {
        pool: {
            "nodeSelector": {"internvl.example/pool": pool},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "gpus": 1,
            "memory": "2Gi",
        }
        for pool in ("vision", "language")
    }
    values = {
        "imageRegistry": f"{DOMAIN}/",
        "operator": {
            "image": {"repository": python_image.repository, "tag": python_image.tag, "pullPolicy": "Never"},
        },
        "kuberay": {
            "runtime": {
                "image": {
                    "repository": runtime_image.repository,
                    "tag": runtime_image.tag,
                    "pullPolicy": "Never",
                }
            },
            "pools": pools,
            "head": {"cpu": "200m", "memory": "2Gi"},
            "gateway": {"cpu": "100m", "memory": "1Gi"},
        },
    }
    file = cluster.directory / "values.json"
    file.write_text(json.dumps(values))
    helm(
        *(
            "upgrade",
            "--install",
            "internvl-operator",
            str(CHART),
            "--namespace",
            SYSTEM,
            "--create-namespace",
        ),
        *("--values", str(file), "--wait", "--timeout", "120s"),
    )
    yield
    helm("uninstall", "internvl-operator", "--namespace", SYSTEM, "--wait")


@pytest.fixture
def story(
    cluster: NodeCluster, kubectl: Kubectl, namespace: str, operator: None, python_image: Image
) -> Story:
    """A namespace under the restricted standard, with the model in a claim and a pod to ask from."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    )
    models = cluster.directory / "models"
    if not models.exists():
        shutil.copytree(MODELS, models)
    volume = f"models-{namespace}"
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadOnlyMany"],
                "hostPath": {"path": str(models)},
                "storageClassName": "",
                "claimRef": {"namespace": namespace, "name": "models"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "",
                "volumeName": volume,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "client", "namespace": namespace},
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
                        "name": "client",
                        "image": python_image.name,
                        "imagePullPolicy": "Never",
                        "command": ["sleep", "infinity"],
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
            },
        },
    )
    return Story(cluster, kubectl, namespace)
