"""Which nodes there are and which addresses they have: pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BRIDGE = "internvl-nodes"
BRIDGE_ADDRESS = "10.210.0.1"
NODE_ADDRESSES = "10.210.0.0/24"
POD_ADDRESSES = "10.212.0.0/16"
DNS_ADDRESS = "10.211.0.10"
CLUSTER_DOMAIN = "cluster.local"

GPU = "nvidia.com/gpu"
POOL_LABEL = "internvl.example/pool"
"""The label of a node by which tests and samples choose it; a real cluster has its provider's."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node. GPUs are only advertised: Kubernetes counts them, CUDA is not there."""

    name: str
    number: int
    """From 1 on; makes its addresses."""
    pool: str
    gpus: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    disk_mib: int | None = None
    """Size of a disk of its own for pods' volumes, which can be full; None: a part of the host's, which never is."""

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"10.210.0.{10 + self.number}"

    @property
    def pod_addresses(self) -> str:
        """What its pods get addresses from."""
        return f"10.212.{self.number}.0/24"

    @property
    def veth(self) -> str:
        """The host's end of its cable."""
        return f"internvl-n{self.number}"

    @property
    def all_labels(self) -> dict[str, str]:
        """Labels that the node registers with."""
        return {POOL_LABEL: self.pool, **self.labels}

    @property
    def taints(self) -> list[dict[str, str]]:
        """GPUs are kept for those that ask for them, as GPU clouds do it."""
        return [{"key": GPU, "value": "present", "effect": "NoSchedule"}] if self.gpus else []


def plan_nodes(pools: Mapping[str, int]) -> list[NodePlan]:
    """One node a pool, named like it: pool -> number of GPUs."""
    return [NodePlan(pool, number, pool, gpus) for number, (pool, gpus) in enumerate(pools.items(), start=1)]


DEFAULT_NODES = tuple(plan_nodes({"cpu": 0, "vision": 2, "language": 2}))
