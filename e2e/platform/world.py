"""A world of one team: a cluster with a spare node for vision, the operator, one service, and ways to hurt them."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster.control_plane import Component
from e2e.cluster.nodes.addons import KUBERAY_NAMESPACE
from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.cluster.nodes.plan import NodePlan
from e2e.images.build import OPERATOR, RUNTIME, ensure_image
from e2e.images.layout import Image
from e2e.platform.installation import Helm, chart_values, install, installed, kill_operator
from e2e.platform.kubectl import Kubectl
from e2e.platform.namespace import ClientImage, make_namespace
from e2e.platform.story import Story
from e2e.setup.cache import Cache

NAMESPACE = "team"
NAME = "internvl"
NODES = (
    NodePlan("cpu", 1, "cpu"),
    NodePlan("vision", 2, "vision", 2, disk_mib=1024),
    NodePlan("vision-2", 3, "vision", 2, disk_mib=1024),
    NodePlan("language", 4, "language", 2),
)
"""Two nodes in the vision pool: one that is drained or lost has somewhere to go."""
READY_WITHIN_S = 240.0
RAY_CONTAINERS = {"head": "ray-head"}
"""The others are called ray-worker."""
_KILL = (
    "import os,signal,sys\n"
    "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
    "    try: line = open(f'/proc/{pid}/cmdline').read().replace(chr(0), ' ')\n"
    "    except OSError: continue\n"
    "    if sys.argv[1] in line and int(pid) != os.getpid():\n"
    "        os.kill(int(pid), signal.SIGKILL); print(pid, line)\n"
)

Object = dict[str, Any]


@dataclass
class World:
    """One service on the cluster, and everything around it."""

    cluster: NodeCluster
    kubectl: Kubectl
    helm: Helm
    story: Story
    operator: Image
    runtime: Image
    rng: random.Random = field(default_factory=lambda: random.Random(time.time_ns()))

    def apply(self, spec: Mapping[str, Any] = {}) -> None:
        """Apply the service: seven lines, with blocks of `spec` merged in."""
        blocks: dict[str, dict[str, Any]] = {
            "model": {"uri": "pvc://models/internvl-nano"},
            "vision": {"pool": "vision"},
            "language": {"pool": "language"},
        }
        for name, block in spec.items():
            blocks[name] = {**blocks.get(name, {}), **block}
        manifest = {
            "apiVersion": "serving.internvl.io/v1alpha1",
            "kind": "InternVLService",
            "metadata": {"name": NAME},
            "spec": blocks,
        }
        words = ("-n", NAMESPACE, "apply", "--server-side", "--force-conflicts", "-f", "-")
        self.kubectl(*words, stdin=json.dumps(manifest))

    def delete(self) -> None:
        """Delete the service and wait until its Ray cluster is gone; nothing happens when there is none."""
        self.kubectl("-n", NAMESPACE, "delete", "ivl", NAME, "--ignore-not-found", "--timeout=300s")
        listed = (
            "-n",
            NAMESPACE,
            "get",
            "rayclusters,pods",
            "-l",
            f"serving.internvl.io/service={NAME}",
            "-o",
            "name",
        )
        self.wait("its Ray cluster is gone", lambda: not self.kubectl(*listed).strip())

    def install(self, **kuberay: object) -> None:
        """Install the chart again, with these of its `kuberay` values besides."""
        values = chart_values(self.operator, self.runtime)
        values["kuberay"] |= kuberay
        install(self.cluster, self.helm, values)

    def wait(self, what: str, reached: Callable[[], bool], *, within_s: float = READY_WITHIN_S) -> None:
        """Poll; StartFailed when it takes longer."""
        self.cluster.wait_for(what, reached, within_s=within_s)

    def is_whole(self) -> bool:
        """Ready, with all pods there and no pod too many."""
        pods = self.story.pods(**{"serving.internvl.io/service": NAME})
        is_calm = all(_is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods)
        service = self.story.service(NAME)
        wanted = sum(self.replicas(service, role) for role in ("vision", "language", "gateway"))
        return self.story.is_ready(NAME) and is_calm and len(pods) == wanted

    @staticmethod
    def replicas(service: Object, role: str) -> int:
        """Replicas that the spec wants of a role."""
        return int(service["spec"].get(role, {}).get("replicas" if role == "gateway" else "minReplicas", 1))

    def has_client(self) -> bool:
        """Whether the pod to ask from runs."""
        answer = self.cluster.client.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/client")
        return answer.status == 200 and _is_ready(answer.document)

    @property
    def url(self) -> str:
        """Where clients ask."""
        return str(self.story.service(NAME)["status"]["url"])

    def pods(self, role: str) -> list[Object]:
        """Living pods of a role, the oldest first."""
        found = [p for p in self.story.role_pods(role) if "deletionTimestamp" not in p["metadata"]]
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def kill_process(self, role: str, pattern: str) -> None:
        """SIGKILL to the processes of the role's first pod whose command line has this text."""
        pod = self.pods(role)[0]["metadata"]["name"]
        container = RAY_CONTAINERS.get(role, "ray-worker")
        words = ("-n", NAMESPACE, "exec", pod, "-c", container, "--", "python", "-c", _KILL, pattern)
        killed = self.kubectl(*words)
        assert killed, f"no process of {pod} has {pattern!r} in its command line"

    def delete_pod(self, role: str, *, grace_s: int | None = None) -> None:
        """Delete the role's first pod, as a person or a node's drain would."""
        grace = () if grace_s is None else (f"--grace-period={grace_s}", "--force")
        name = self.pods(role)[0]["metadata"]["name"]
        self.kubectl("-n", NAMESPACE, "delete", "pod", name, "--wait=false", *grace)

    def kill_and_start(self, component: Component, *, away_s: float = 0.0) -> None:
        """SIGKILL to a part of the control plane; returns when it serves again.

        Not a kind end: then the only API server takes itself off its own Service, and pods find it again only when the
        nodes' proxies have, up to a minute later. Where there are three of them, the others stay.
        """
        self.cluster.plane.kill_component(component)
        time.sleep(away_s)
        self.cluster.plane.start_component(component)
        self.wait("the API server answers", lambda: bool(self.story.service()), within_s=60)

    def restart_operator(self) -> None:
        """Both of our operator's pods at once, without a goodbye."""
        kill_operator(self.kubectl)

    def restart_kuberay(self) -> None:
        """KubeRay's pod, without a goodbye."""
        self.kubectl("-n", KUBERAY_NAMESPACE, "delete", "pod", "--all", "--grace-period=0", "--force")


@contextmanager
def standing_world() -> Iterator[World]:
    """Bring everything up: about two minutes with images in the cache."""
    cache = Cache.from_environment()
    operator, runtime = ensure_image(OPERATOR, cache=cache), ensure_image(RUNTIME, cache=cache)
    with NodeCluster(NODES, images=[operator, runtime], cache=cache) as cluster:
        cluster.install_kuberay()
        kubectl, helm = Kubectl(cluster.kubeconfig()), Helm(cluster.kubeconfig(), cache)
        with installed(cluster, helm, chart_values(operator, runtime)):
            make_namespace(cluster, NAMESPACE, client=ClientImage.of(operator))
            story = Story(cluster, kubectl, NAMESPACE)
            world = World(cluster, kubectl, helm, story, operator, runtime)
            world.wait("the client runs", world.has_client)
            yield world


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
