"""One cluster with nodes for all tests of this folder: with KubeRay, and with our images on every node."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.cluster.nodes import guardian
from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.images.build import OPERATOR, RUNTIME, ensure_image
from e2e.images.layout import Image
from e2e.platform.installation import Helm, chart_values, installed
from e2e.platform.kubectl import Kubectl
from e2e.platform.namespace import make_namespace, remove_namespace
from e2e.platform.story import Story
from e2e.setup.cache import Cache


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only one cluster fits on a host: tests that start and kill their own come before the one that all others share."""
    items.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))


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
    return Kubectl(cluster.kubeconfig())


@pytest.fixture
def namespace(cluster: NodeCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone after it."""
    name = request.node.originalname.replace("_", "-").removeprefix("test-")[:50].strip("-")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    remove_namespace(cluster, name)


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
            "restartPolicy": "Never",
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
def helm(cluster: NodeCluster) -> Helm:
    return Helm(cluster.kubeconfig(), Cache.from_environment())


@pytest.fixture(scope="session")
def operator(cluster: NodeCluster, helm: Helm, python_image: Image, runtime_image: Image) -> Iterator[None]:
    """The chart, installed as its README says."""
    with installed(cluster, helm, chart_values(python_image, runtime_image)):
        yield


@pytest.fixture
def story(
    cluster: NodeCluster, kubectl: Kubectl, namespace: str, operator: None, python_image: Image
) -> Story:
    """A team's namespace, and a pod in it to ask from."""
    make_namespace(cluster, namespace, client=python_image)
    return Story(cluster, kubectl, namespace)
