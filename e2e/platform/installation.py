"""The chart on a cluster with nodes, installed by helm as its README says."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.kube_cluster import KubeCluster
from e2e.cluster.nodes.plan import POOL_LABEL
from e2e.images.layout import DOMAIN, Image
from e2e.platform.chart import CHART, RELEASE, SYSTEM, run_helm
from e2e.platform.kubectl import Kubectl
from e2e.setup.cache import Cache


@dataclass(frozen=True, slots=True)
class Helm:
    """helm, for one cluster."""

    kubeconfig: Path
    cache: Cache

    def __call__(self, *words: str) -> str:
        """Run helm and return its output.

        Raises:
            ClusterFailed: It failed; the text is what it said.
        """
        return run_helm(*words, "--kubeconfig", str(self.kubeconfig), cache=self.cache)


def chart_values(operator: Image, runtime: Image) -> dict[str, Any]:
    """Values for the pools of `nodes.plan`, with images that the nodes have already."""
    pool = {
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "gpus": 1,
        "memory": "2Gi",
    }
    pools = {name: {**pool, "nodeSelector": {POOL_LABEL: name}} for name in ("vision", "language")}
    return {
        "imageRegistry": f"{DOMAIN}/",
        "operator": {"image": _image(operator)},
        "kuberay": {
            "runtime": {"image": _image(runtime)},
            "pools": pools,
            "head": {"cpu": "200m", "memory": "2Gi"},
            "gateway": {"cpu": "100m", "memory": "1Gi"},
        },
    }


def install(cluster: KubeCluster, helm: Helm, values: Mapping[str, Any]) -> None:
    """Install the chart, or upgrade to these values; returns when the operator is ready."""
    file = cluster.directory / "values.json"
    file.write_text(json.dumps(values))
    helm(
        *("upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM, "--create-namespace"),
        *("--values", str(file), "--wait", "--timeout", "300s"),
    )


@contextmanager
def installed(cluster: KubeCluster, helm: Helm, values: Mapping[str, Any]) -> Iterator[None]:
    """The operator stands while the block runs.

    Raises:
        ClusterFailed: A release of that name is there already: it may be somebody's.
    """
    if helm("list", "--namespace", SYSTEM, "--filter", f"^{RELEASE}$", "--short").strip():
        raise ClusterFailed(
            f"the release {RELEASE} is installed in the namespace {SYSTEM} already, and is left alone; uninstall it "
            "first, or take another cluster"
        )
    install(cluster, helm, values)
    yield
    helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")


def kill_operator(kubectl: Kubectl) -> None:
    """All of the operator's pods at once, without a goodbye; its Deployment makes others.

    Raises:
        ClusterFailed: There was none.
    """
    selector = f"app.kubernetes.io/name=internvl-operator,app.kubernetes.io/instance={RELEASE}"
    words = ("-l", selector, "--grace-period=0", "--force", "--output=name")
    if not kubectl("-n", SYSTEM, "delete", "pod", *words).strip():
        raise ClusterFailed(f"no pod in {SYSTEM} has the labels {selector}")


def _image(image: Image) -> dict[str, str]:
    return {"repository": image.repository, "tag": image.tag, "pullPolicy": "Never"}
