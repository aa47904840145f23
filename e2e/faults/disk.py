"""A node's disk without room: what its pods write fails, and Kubernetes evicts them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes.configuration import VOLUMES
from e2e.cluster.nodes.node_cluster import NodeCluster

_FILE = f"{VOLUMES}/full"


@contextmanager
def full_disk(cluster: NodeCluster, node: str) -> Iterator[None]:
    """The node's disk of volumes (`NodePlan.disk_mib`) is full while the block runs."""
    if cluster.node(node).disk_mib is None:
        raise ClusterFailed(f"node {node} has no disk of its own: filling it would fill this machine's")
    _in_node(cluster, node, f"fallocate -l $(df --output=avail -B1 {VOLUMES} | tail -1) {_FILE}")
    try:
        yield
    finally:
        _in_node(cluster, node, f"rm {_FILE}")


def _in_node(cluster: NodeCluster, node: str, script: str) -> None:
    command = ["nsenter", "-t", str(cluster.host_pid(node)), "-m", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterFailed(f"{script}: {done.stderr.strip()}")
