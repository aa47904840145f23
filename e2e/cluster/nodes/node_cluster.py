"""`NodeCluster`: a control plane with nodes, DNS and advertised GPUs on this machine, as a context manager.

Everything goes at the end of the block, and also when this process is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from e2e.cluster.api_client import ApiClient
from e2e.cluster.binaries import ensure_binaries
from e2e.cluster.control_plane import ADMIN, ADMIN_GROUPS, ControlPlane
from e2e.cluster.errors import ClusterFailed, StartFailed
from e2e.cluster.kube_cluster import KubeCluster
from e2e.cluster.nodes import addons, configuration, guardian, init
from e2e.cluster.nodes.configuration import CGROUP, DISK_MOUNTS, VOLUMES, NodeFolder
from e2e.cluster.nodes.kernel import Host, require_capable_host
from e2e.cluster.nodes.plan import BRIDGE_ADDRESS, DEFAULT_NODES, GPU, NodePlan
from e2e.cluster.nodes.programs import NodePrograms, ensure_kuberay, ensure_node_programs
from e2e.images.layout import Image
from e2e.images.programs import ensure_program_image, image_layout
from e2e.images.store import ImageStore, import_image
from e2e.setup import progress
from e2e.setup.cache import Cache

_TAIL_LINES = 15
_UNSHARE = (
    "--mount",
    "--propagation",
    "private",
    "--uts",
    "--ipc",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
)


class NodeCluster(KubeCluster):
    """One cluster with nodes; a host has room for one."""

    sees_our_files = True

    def __init__(
        self,
        nodes: Sequence[NodePlan] = DEFAULT_NODES,
        *,
        images: Sequence[Image] = (),
        cache: Cache | None = None,
    ) -> None:
        """Nothing starts here.

        Args:
            nodes: Which nodes; the first should take pods without a toleration.
            images: Images that every node has from its beginning.
            cache: Where programs and images lie; the user's when None.
        """
        self.nodes = tuple(nodes)
        self._images = tuple(images)
        self._cache = cache or Cache.from_environment()
        self._layout = image_layout(self._cache)
        self._host = Host()
        self._plane: ControlPlane | None = None
        self._programs: NodePrograms | None = None
        self._known_blobs: dict[str, set[str]] = {}
        self.directory = self._cache.path("clusters", str(os.getpid()))
        """Everything about this cluster lies here, and goes with it."""
        self.failures = self._cache.path("logs", "cluster-failure")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start everything; returns when all nodes are Ready and count their GPUs.

        Raises:
            ClusterFailed: Something did not come up; nothing is left running.
        """
        require_capable_host()
        binaries = ensure_binaries(self._cache, {})
        self._programs = ensure_node_programs(self._cache)
        self._pause = ensure_program_image(self._programs.pause, cache=self._cache)
        try:
            self._host.claim(self.directory)
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
            with progress.step("filling the nodes' image stores"):
                self._clone_image_stores()
            with progress.step("starting the control plane"):
                self._host.make_bridge(self.nodes)
                self._plane = ControlPlane(binaries=binaries, address=BRIDGE_ADDRESS, parent=self.directory)
                self._plane.start()
                self._start_scheduler()
                self._start_dns()
            with progress.step(f"starting nodes {', '.join(node.name for node in self.nodes)}"):
                self._start_all_nodes()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take everything down. May be called twice.

        Raises:
            ClusterFailed: Something in the kernel could not be undone.
        """
        if self._plane is not None:
            self._plane.close()
        self._host.release()

    @property
    def record(self) -> guardian.Record:
        """What this cluster changes outside of its folder; `guardian.leftovers` of it is empty after the end."""
        if self._host.record is None:
            raise ClusterFailed("the cluster is not started; use it as a context manager")
        return self._host.record

    @property
    def plane(self) -> ControlPlane:
        """The control plane, whose parts can be stopped and started."""
        if self._plane is None:
            raise ClusterFailed("the cluster is not started; use it as a context manager")
        return self._plane

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self.plane.server

    @property
    def client(self) -> ApiClient:
        """Plain requests to the API server as its administrator."""
        return self.plane.client

    @property
    def logs(self) -> Path:
        """Folder of all logs: the control plane's, and `<node>-<daemon>.log`."""
        return self.plane.layout.logs

    def kubeconfig(self, *, user: str = ADMIN, groups: Sequence[str] = ADMIN_GROUPS) -> Path:
        """A kubeconfig of this user; without arguments the administrator's."""
        return self.plane.kubeconfig(user=user, groups=groups)

    def log_path(self, node: str, daemon: str) -> Path:
        """Where a daemon of a node writes: `containerd`, `kubelet`, `kube-proxy`, or `init`."""
        return self.logs / f"{node}-{daemon}.log"

    def install_kuberay(self, name: str = "kuberay") -> None:
        """Run KubeRay's operator as a pod, one of `programs.KUBERAYS`; returns when it is ready."""
        folder = ensure_kuberay(self._cache, name)
        image = ensure_program_image(folder / "ray-operator", cache=self._cache)
        with progress.step("loading KubeRay's image"):
            self.load_image(image)
        with progress.step("installing KubeRay"):
            self.apply(*addons.custom_resource_definitions(folder / "crds"))
            self.apply(*addons.kuberay_objects(image=image.name, role_file=folder / "role.yaml"))
            deployment = (
                f"/apis/apps/v1/namespaces/{addons.KUBERAY_NAMESPACE}/deployments/{addons.KUBERAY_NAME}"
            )
            self.wait_for(
                "KubeRay's operator is ready",
                lambda: self.get(deployment).get("status", {}).get("readyReplicas", 0) == 1,
            )

    def load_image(self, image: Image) -> None:
        """Bring an image to all nodes; of its layers only those that a node does not have."""
        with ThreadPoolExecutor(len(self.nodes)) as executor:
            list(executor.map(lambda node: self._load_image_to(node, image), self.nodes))

    def power_cut(self, name: str) -> None:
        """End every process of a node at once; its disk stays."""
        node = self.node(name)
        self.plane.keeper.kill(_process_name(node))
        guardian.kill_and_remove_cgroups(f"{CGROUP}/{node.name}")
        # The kernel takes it away a moment after the last process, and a restart may come before that.
        self._host.unplug(node)

    def restart(self, name: str) -> None:
        """Start a node again after its power cut; returns when it is Ready."""
        node = self.node(name)
        since = self._heartbeat(node)
        self._launch(node)
        self.wait_for(
            f"node {name} is Ready again",
            lambda: self._heartbeat(node) != since and self.is_ready(name),
        )

    def set_cable(self, name: str, *, is_up: bool) -> None:
        """Cut a node off the network, or join it again; its processes go on."""
        self._host.set_cable(self.node(name), is_up=is_up)

    def host_pid(self, name: str) -> int:
        """The host's id of a node's first process, by which its namespaces are entered."""
        return int(self._folder(self.node(name)).host_pid.read_text())

    def is_ready(self, name: str) -> bool:
        """What the API server says of a node."""
        return _condition(self.get(f"/api/v1/nodes/{name}"), "Ready").get("status") == "True"

    def dump(self, folder: Path) -> None:
        """The logs of all parts too."""
        super().dump(folder)
        shutil.copytree(self.logs, folder / "logs")

    def node(self, name: str) -> NodePlan:
        """The plan of a node."""
        return next(node for node in self.nodes if node.name == name)

    def _folder(self, node: NodePlan) -> NodeFolder:
        return NodeFolder(self.directory / "nodes" / node.name)

    @property
    def _started_programs(self) -> NodePrograms:
        assert self._programs is not None
        return self._programs

    def _clone_image_stores(self) -> None:
        store = ImageStore(self._cache, self._layout)
        with self._cache.lock("image-store"):
            store.add([self._pause, *self._images])
            for node in self.nodes:
                store.clone(self._folder(node).image_store)
                self._known_blobs[node.name] = store.known_blobs()

    def _start_scheduler(self) -> None:
        kubeconfig = self.kubeconfig(user="system:kube-scheduler", groups=())
        program = self._started_programs.kube_scheduler
        self._start_part(
            "kube-scheduler",
            [str(program), f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1"],
        )

    def _start_dns(self) -> None:
        self.apply(*addons.dns_objects())
        file = self.plane.directory / "Corefile"
        file.write_text(addons.dns_server_configuration(self.kubeconfig(user=addons.DNS_USER, groups=())))
        self._start_part("coredns", [str(self._started_programs.coredns), "-conf", str(file)])

    def _start_part(self, name: str, command: Sequence[str]) -> None:
        environment = {"PATH": os.defpath, "HOME": str(self.plane.directory)}
        self.plane.keeper.start(name, command, log=self.logs / f"{name}.log", environment=environment)

    def _start_all_nodes(self) -> None:
        for node in self.nodes:
            self._write_files(node)
            self._launch(node)
        for node in self.nodes:
            self.wait_for(f"node {node.name} is Ready", partial(self._is_ready_or_failed, node))
            self._advertise_gpus(node)

    def _is_ready_or_failed(self, node: NodePlan) -> bool:
        if self.plane.keeper.exit_status(_process_name(node)) is not None:
            lines = self.log_path(node.name, "init").read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            raise StartFailed(f"node {node.name} ended. The end of its log:\n" + "\n".join(lines))
        return self.is_ready(node.name)

    def _write_files(self, node: NodePlan) -> None:
        folder = self._folder(node)
        for path in (
            folder.configuration,
            folder.network,
            *(folder.disk / name for name in DISK_MOUNTS.values()),
        ):
            path.mkdir(parents=True, exist_ok=True)
        if node.disk_mib is not None:
            with folder.volumes.open("wb") as file:
                file.truncate(node.disk_mib * 2**20)  # sparse
            subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", folder.volumes], check=True)
        serving = self.plane.authority.issue_server(node.name, hosts=[node.name], addresses=[node.address])
        kubelet = self.kubeconfig(user=f"system:node:{node.name}", groups=("system:nodes",))
        proxy = self.kubeconfig(user="system:kube-proxy", groups=())
        authority = self.plane.layout.certificate("authority")
        contents: dict[str, str | bytes] = {
            "kubelet.crt": serving.certificate,
            "kubelet.key": serving.key,
            "kubelet.kubeconfig": kubelet.read_bytes(),
            "kube-proxy.kubeconfig": proxy.read_bytes(),
            "resolv.conf": configuration.resolver_configuration(),
            "kubelet.yaml": json.dumps(
                configuration.kubelet_configuration(node, folder, authority=authority)
            ),
            "kube-proxy.yaml": json.dumps(configuration.kube_proxy_configuration(node, folder)),
            "containerd.toml": configuration.containerd_configuration(folder, pause_image=self._pause.name),
        }
        for name, content in contents.items():
            folder.file(name).write_bytes(content.encode() if isinstance(content, str) else content)
        (folder.network / "10-pods.conflist").write_text(json.dumps(configuration.pod_network(node)))

    def _launch(self, node: NodePlan) -> None:
        """Start the namespaces and their first process, and plug in its cable."""
        folder = self._folder(node)
        cgroups = self._host.make_cgroups(node)
        file = folder.file("init.json")
        file.write_text(json.dumps(self._init_configuration(node, cgroups)))
        pid = self.plane.keeper.start(
            _process_name(node),
            ["/usr/bin/unshare", *_UNSHARE, sys.executable, "-I", "-S", init.__file__, file],
            log=self.log_path(node.name, "init"),
            environment=_ENVIRONMENT,
        )
        ours = os.readlink("/proc/self/ns/net")
        self.wait_for(
            f"node {node.name} has a network namespace", lambda: os.readlink(f"/proc/{pid}/ns/net") != ours
        )
        self._host.plug_in(node, pid)

    def _init_configuration(self, node: NodePlan, cgroups: Sequence[Path]) -> dict[str, Any]:
        folder, programs = self._folder(node), self._started_programs
        containerd = shutil.which("containerd") or "/usr/bin/containerd"
        daemons = [
            ("containerd", configuration.containerd_command(containerd, folder), []),
            (
                "kubelet",
                configuration.kubelet_command(programs.kubelet, node, folder),
                [configuration.CONTAINERD_SOCKET],
            ),
            ("kube-proxy", configuration.kube_proxy_command(programs.kube_proxy, folder), []),
        ]
        return {
            "name": node.name,
            "address": node.address,
            "gateway": BRIDGE_ADDRESS,
            "routes": {other.pod_addresses: other.address for other in self.nodes if other != node},
            "cgroups": [str(path) for path in cgroups],
            "host_pid": str(folder.host_pid),
            "mounts": {point: str(folder.disk / name) for point, name in DISK_MOUNTS.items()}
            | ({} if node.disk_mib is None else {VOLUMES: str(folder.volumes)}),
            "files": {"/etc/resolv.conf": str(folder.file("resolv.conf"))},
            "daemons": [
                {
                    "name": name,
                    "command": command,
                    "after": after,
                    "log": str(self.log_path(node.name, name)),
                    "environment": _ENVIRONMENT,
                }
                for name, command, after in daemons
            ],
        }

    def _advertise_gpus(self, node: NodePlan) -> None:
        if not node.gpus:
            return
        key = GPU.replace("/", "~1")
        patch = [
            {"op": "add", "path": f"/status/{field}/{key}", "value": str(node.gpus)}
            for field in ("capacity", "allocatable")
        ]
        path = f"/api/v1/nodes/{node.name}/status"
        answer = self.client.request("PATCH", path, patch, content_type="application/json-patch+json")
        if answer.status != 200:
            raise StartFailed(f"node {node.name} cannot advertise GPUs: {answer.text.strip()}")

    def _heartbeat(self, node: NodePlan) -> Any:
        return _condition(self.get(f"/api/v1/nodes/{node.name}"), "Ready").get("lastHeartbeatTime")

    def _load_image_to(self, node: NodePlan, image: Image) -> None:
        known = self._known_blobs[node.name]
        # The node's own view of its file system, in which containerd listens.
        socket = Path(f"/proc/{self.host_pid(node.name)}/root{configuration.CONTAINERD_SOCKET}")
        import_image(self._layout, image, socket=socket, known=known)
        known.update(self._layout.blobs(image))


# A clean one: a proxy or a KUBECONFIG of the caller's shell is not meant for these.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "GOGC": "50",
}


def _process_name(node: NodePlan) -> str:
    return f"node-{node.name}"


def _condition(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    conditions = document.get("status", {}).get("conditions", [])
    return next((dict(condition) for condition in conditions if condition["type"] == kind), {})
