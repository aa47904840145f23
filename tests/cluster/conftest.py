"""One cluster with nodes for all tests of this folder: with KubeRay, and with our images on every node.

Or a cluster that is there already (`make e2e KUBECONFIG=file VALUES=file`), where only what a user does is tested.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.kube_cluster import KubeCluster
from e2e.cluster.named_cluster import NamedCluster
from e2e.cluster.nodes import guardian
from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.cluster.nodes.programs import KUBERAYS
from e2e.images.build import OPERATOR, RUNTIME, ensure_image
from e2e.images.layout import Image
from e2e.platform.chart import image_of_the_operator
from e2e.platform.installation import Helm, chart_values, installed
from e2e.platform.kubectl import Kubectl
from e2e.platform.namespace import ClientImage, make_namespace, remove_namespace
from e2e.platform.story import Story
from e2e.setup.cache import Cache

TIMEOUT_S = 1800.0
"""For a hang: each wait within a test has a limit of its own, and says what it waited for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How to name a cluster that is there already."""
    parser.addoption(
        "--kubeconfig", type=Path, help="of a cluster with KubeRay; tests of our own nodes are skipped"
    )
    parser.addoption("--kuberay", choices=list(KUBERAYS), default="kuberay", help="of our own cluster")
    parser.addoption("--chart-values", type=Path, help="the chart's values for it: images and pools")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only one cluster fits on a host: tests that start and kill their own come before the one that all others share.

    And a limit for each, unless it says otherwise itself: for a hang, not for a slow machine.
    """
    items.sort(key=lambda item: "cluster" in getattr(item, "fixturenames", ()))
    for item in items:
        if "tests/cluster/" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def existing(request: pytest.FixtureRequest) -> Path | None:
    """The kubeconfig of the cluster that was named, if one was."""
    named: Path | None = request.config.getoption("kubeconfig")
    return named


@pytest.fixture(scope="session")
def own_nodes(existing: Path | None) -> None:
    """For tests of the nodes themselves."""
    if existing is not None:
        pytest.skip("the nodes of a cluster that is there already are its owner's")


@pytest.fixture(scope="session")
def python_image() -> Image:
    """Any image with Python, for pods that are only there to be seen."""
    return ensure_image(OPERATOR, cache=Cache.from_environment())


@pytest.fixture(scope="session")
def runtime_image() -> Image:
    return ensure_image(RUNTIME, cache=Cache.from_environment())


@pytest.fixture(scope="session")
def node_cluster(
    own_nodes: None, request: pytest.FixtureRequest, python_image: Image, runtime_image: Image
) -> Iterator[NodeCluster]:
    with NodeCluster(images=[python_image, runtime_image]) as cluster:
        cluster.install_kuberay(request.config.getoption("kuberay"))
        yield cluster
    assert guardian.leftovers(cluster.record) == []


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, existing: Path | None) -> Iterator[KubeCluster]:
    if existing is None:
        yield request.getfixturevalue("node_cluster")
        return
    with NamedCluster(existing) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def values(request: pytest.FixtureRequest, existing: Path | None) -> Mapping[str, Any]:
    """The chart's."""
    if existing is None:
        made = chart_values(request.getfixturevalue("python_image"), request.getfixturevalue("runtime_image"))
        made["operator"]["settings"] = {"SCALE_DOWN_AFTER_S": "15"}  # tests wait for it
        return made
    file: Path | None = request.config.getoption("chart_values")
    if file is None:
        pytest.exit("a cluster was named, but not the chart's values for it (VALUES=file): images and pools")
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


@pytest.fixture(scope="session")
def client_image(request: pytest.FixtureRequest, existing: Path | None) -> ClientImage:
    if existing is None:
        return ClientImage.of(request.getfixturevalue("python_image"))
    return ClientImage(image_of_the_operator(request.config.getoption("chart_values")), "IfNotPresent")


@pytest.fixture(scope="session")
def kubectl(cluster: KubeCluster) -> Kubectl:
    return Kubectl(cluster.kubeconfig())


@pytest.fixture
def namespace(cluster: KubeCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone after it."""
    name = request.node.originalname.replace("_", "-").removeprefix("test-")[:50].strip("-")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    remove_namespace(cluster, name)


@pytest.fixture
def run_pod(cluster: KubeCluster, namespace: str, python_image: Image) -> Callable[..., None]:
    """Applies a pod of one container and does not wait for it."""

    def run(
        name: str, *command: str, pool: str, gpus: int = 0, image: Image = python_image, once: bool = False
    ) -> None:
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
            "restartPolicy": "Never" if once else "Always",
            "containers": [container],
        }
        metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    return run


@pytest.fixture
def get(cluster: KubeCluster) -> Callable[[str], dict[str, Any]]:
    """The object at a path of the API; an empty one when it is not there."""
    return cluster.get


@pytest.fixture(scope="session")
def helm(cluster: KubeCluster) -> Helm:
    return Helm(cluster.kubeconfig(), Cache.from_environment())


@pytest.fixture(scope="session")
def operator(cluster: KubeCluster, helm: Helm, values: Mapping[str, Any]) -> Iterator[None]:
    """The chart, installed as its README says."""
    with installed(cluster, helm, values):
        yield


@pytest.fixture
def story(
    cluster: KubeCluster, kubectl: Kubectl, namespace: str, operator: None, client_image: ClientImage
) -> Story:
    """A team's namespace, and a pod in it to ask from."""
    make_namespace(cluster, namespace, client=client_image)
    return Story(cluster, kubectl, namespace)
