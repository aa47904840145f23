"""The configuration files of a node's parts: pure functions of where things lie and what the node is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.nodes.plan import BRIDGE_ADDRESS, CLUSTER_DOMAIN, DNS_ADDRESS, POD_ADDRESSES, NodePlan

CGROUP = "internvl-nodes"
"""Folder of all our nodes below each cgroup controller."""
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
"""Inside a node; each has a /run of its own."""


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """Where the files of one node lie. What is in `disk` survives a power cut, as on a real one."""

    path: Path

    @property
    def configuration(self) -> Path:
        return self.path / "configuration"

    @property
    def network(self) -> Path:
        return self.path / "network"

    @property
    def disk(self) -> Path:
        return self.path / "disk"

    @property
    def volumes(self) -> Path:
        """The file that holds the file system of `NodePlan.disk_mib`."""
        return self.disk / "volumes.img"

    @property
    def image_store(self) -> Path:
        return self.disk / "containerd"

    @property
    def host_pid(self) -> Path:
        return self.path / "pid"

    def file(self, name: str) -> Path:
        return self.configuration / name


VOLUMES = "/var/lib/kubelet"
# Path in the node -> folder of its disk. Below a memory file system, so that nothing is made on the host.
DISK_MOUNTS = {
    "/var/lib/containerd": "containerd",
    VOLUMES: "kubelet",
    "/var/lib/cni": "cni",
    "/var/log/pods": "pods",
    "/var/log/containers": "containers",
}


def containerd_configuration(folder: NodeFolder, *, pause_image: str) -> str:
    """Containerd 1.6's TOML."""
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", \
"io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Without CAP_SYS_RESOURCE, as in many build machines, no process may be made less likely to be killed.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder.network}"
"""


def pod_network(node: NodePlan) -> dict[str, Any]:
    """The CNI plugins: a bridge in the node, an address of the node's range for each pod, host ports."""
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": True,  # adds the default route; a second one is refused
                "hairpinMode": True,
                "ipMasq": False,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": node.pod_addresses}]]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet_configuration(node: NodePlan, folder: NodeFolder, *, authority: Path) -> dict[str, Any]:
    """A KubeletConfiguration for cgroup v1. The host's disk is never full by its account, one of the node's own is."""
    least_free = "0%" if node.disk_mib is None else "10%"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(folder.file("kubelet.crt")),
        "tlsPrivateKeyFile": str(folder.file("kubelet.key")),
        "registerWithTaints": node.taints,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(folder.file("resolv.conf")),
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}/{node.name}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "protectKernelDefaults": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": least_free,
            "imagefs.available": "0%",
        },
        "evictionPressureTransitionPeriod": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "nodeStatusReportFrequency": "10s",
        "syncFrequency": "10s",
        "serializeImagePulls": False,
    }


def kube_proxy_configuration(node: NodePlan, folder: NodeFolder) -> dict[str, Any]:
    """A KubeProxyConfiguration that leaves the host's connection tracking limits alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "bindAddress": node.address,
        "clusterCIDR": POD_ADDRESSES,
        "clientConnection": {"kubeconfig": str(folder.file("kube-proxy.kubeconfig"))},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "oomScoreAdj": 0,
    }


def resolver_configuration() -> str:
    """What the node itself and pods of its network ask; the cluster's DNS server listens on the bridge too."""
    return f"nameserver {BRIDGE_ADDRESS}\n"


def kubelet_command(program: Path, node: NodePlan, folder: NodeFolder) -> list[str]:
    labels = ",".join(f"{key}={value}" for key, value in sorted(node.all_labels.items()))
    return [
        str(program),
        f"--config={folder.file('kubelet.yaml')}",
        f"--kubeconfig={folder.file('kubelet.kubeconfig')}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--node-labels={labels}",
        "--v=1",
    ]


def kube_proxy_command(program: Path, folder: NodeFolder) -> list[str]:
    return [str(program), f"--config={folder.file('kube-proxy.yaml')}"]


def containerd_command(program: str, folder: NodeFolder) -> list[str]:
    return [program, "--config", str(folder.file("containerd.toml"))]
