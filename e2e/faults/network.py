"""Cuts between nodes: packets are dropped, nobody is told."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes.node_cluster import NodeCluster


@contextmanager
def cut_between(cluster: NodeCluster, one: str, other: str) -> Iterator[None]:
    """No packet of a pod on one node reaches a pod on the other while the block runs."""
    pairs = [(one, other), (other, one)]
    for here, there in pairs:
        _route(cluster, here, "replace", "blackhole", cluster.node(there).pod_addresses)
    try:
        yield
    finally:
        for here, there in pairs:
            way = ("via", cluster.node(there).address)
            _route(cluster, here, "delete", "blackhole", cluster.node(there).pod_addresses)
            _route(cluster, here, "replace", cluster.node(there).pod_addresses, *way)


def _route(cluster: NodeCluster, node: str, *words: str) -> None:
    command = ["nsenter", "-t", str(cluster.host_pid(node)), "-n", "ip", "route", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterFailed(f"{' '.join(command)}: {done.stderr.strip()}")
