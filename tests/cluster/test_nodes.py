from collections.abc import Callable
from typing import Any

import pytest

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes.node_cluster import NodeCluster

pytestmark = pytest.mark.usefixtures("own_nodes")

Get = Callable[[str], dict[str, Any]]
SERVE = ("python", "-m", "http.server", "8000")
SLEEP = ("sleep", "600")


def wait_for_pods(cluster: NodeCluster, get: Get, namespace: str, *names: str) -> None:
    def are_ready() -> bool:
        return all(is_ready(get(f"/api/v1/namespaces/{namespace}/pods/{name}")) for name in names)

    cluster.wait_for(f"pods {', '.join(names)} are ready", are_ready)


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def restarts(pod: dict[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod.get("status", {}).get("containerStatuses", []))


def wait_for_answer(
    cluster: NodeCluster, kubectl: Callable[..., str], namespace: str, source: str, url: str
) -> None:
    """Wait until a pod is answered at this address: a pod is ready before its server listens."""
    code = f"import urllib.request as u; print(u.urlopen('{url}', timeout=15).status)"

    def answers() -> bool:
        try:
            said = kubectl("exec", "-n", namespace, source, "--", "python", "-c", code)
        except ClusterFailed:
            return False
        return said.strip() == "200"

    cluster.wait_for(f"{url} answers {source}", answers)


def test_three_nodes_are_ready_and_say_their_pool_and_gpus(cluster: NodeCluster, get: Get) -> None:
    seen = {}
    for node in get("/api/v1/nodes")["items"]:
        name = node["metadata"]["name"]
        assert cluster.is_ready(name)
        pool = node["metadata"]["labels"]["internvl.example/pool"]
        taints = [taint["key"] for taint in node["spec"].get("taints", [])]
        seen[name] = (pool, node["status"]["allocatable"].get("nvidia.com/gpu"), taints)
    assert seen == {
        "cpu": ("cpu", None, []),
        "vision": ("vision", "2", ["nvidia.com/gpu"]),
        "language": ("language", "2", ["nvidia.com/gpu"]),
    }


def test_pods_of_all_nodes_reach_each_other_by_name(
    cluster: NodeCluster, get: Get, namespace: str, run_pod: Callable[..., None], kubectl: Callable[..., str]
) -> None:
    pools = [node.pool for node in cluster.nodes]
    for pool in pools:
        run_pod(f"on-{pool}", *SERVE, pool=pool)
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"of-{pool}", "namespace": namespace},
                "spec": {"selector": {"app": f"on-{pool}"}, "ports": [{"port": 80, "targetPort": 8000}]},
            }
        )
    wait_for_pods(cluster, get, namespace, *(f"on-{pool}" for pool in pools))
    for pool in pools:
        assert get(f"/api/v1/namespaces/{namespace}/pods/on-{pool}")["spec"]["nodeName"] == pool
    for source in pools:
        for target in pools:
            url = f"http://of-{target}.{namespace}.svc.cluster.local/"
            wait_for_answer(cluster, kubectl, namespace, f"on-{source}", url)
    assert '"GET / HTTP/1.1" 200' in kubectl("logs", "-n", namespace, "on-vision")


def test_more_gpus_than_a_node_has_wait(
    cluster: NodeCluster, get: Get, namespace: str, run_pod: Callable[..., None]
) -> None:
    for number in (1, 2, 3):
        run_pod(f"gpu-{number}", *SLEEP, pool="vision", gpus=1)

    def phases() -> list[str]:
        return sorted(pod["status"]["phase"] for pod in get(f"/api/v1/namespaces/{namespace}/pods")["items"])

    cluster.wait_for("two of three run", lambda: phases() == ["Pending", "Running", "Running"])
    pending = next(
        pod
        for pod in get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        if pod["status"]["phase"] == "Pending"
    )
    assert "Insufficient nvidia.com/gpu" in pending["status"]["conditions"][0]["message"]


def test_a_node_comes_back_from_a_power_cut_with_its_pods_and_gpus(
    cluster: NodeCluster, get: Get, namespace: str, run_pod: Callable[..., None], kubectl: Callable[..., str]
) -> None:
    run_pod("on-vision", *SERVE, pool="vision", gpus=1)
    run_pod("on-cpu", *SLEEP, pool="cpu")
    wait_for_pods(cluster, get, namespace, "on-vision", "on-cpu")
    cluster.power_cut("vision")
    cluster.wait_for("the node is seen as lost", lambda: not cluster.is_ready("vision"))
    cluster.restart("vision")
    path = f"/api/v1/namespaces/{namespace}/pods/on-vision"
    cluster.wait_for("its pod runs again", lambda: restarts(get(path)) == 1 and is_ready(get(path)))
    address = get(path)["status"]["podIP"]
    wait_for_answer(cluster, kubectl, namespace, "on-cpu", f"http://{address}:8000/")
    assert get("/api/v1/nodes/vision")["status"]["allocatable"]["nvidia.com/gpu"] == "2"
