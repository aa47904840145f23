import ipaddress
from pathlib import Path

import pytest

from e2e.cluster.commands import SERVICE_ADDRESSES
from e2e.cluster.nodes import configuration, plan
from e2e.cluster.nodes.plan import DEFAULT_NODES, plan_nodes

MANY = plan_nodes({f"pool-{number}": number % 3 for number in range(20)})


def test_no_two_nodes_share_an_address_a_range_or_a_cable() -> None:
    for value in (
        [node.address for node in MANY],
        [node.pod_addresses for node in MANY],
        [node.veth for node in MANY],
    ):
        assert len(set(value)) == len(MANY)


def test_every_address_lies_in_the_range_that_others_are_told() -> None:
    nodes, pods = ipaddress.ip_network(plan.NODE_ADDRESSES), ipaddress.ip_network(plan.POD_ADDRESSES)
    assert ipaddress.ip_address(plan.BRIDGE_ADDRESS) in nodes
    assert ipaddress.ip_address(plan.DNS_ADDRESS) in ipaddress.ip_network(SERVICE_ADDRESSES)
    for node in MANY:
        assert ipaddress.ip_address(node.address) in nodes
        assert ipaddress.ip_network(node.pod_addresses).subnet_of(pods)


def test_a_device_name_fits_the_kernel() -> None:
    assert all(len(name) <= 15 for name in [plan.BRIDGE, *(node.veth for node in MANY)])
    assert not any(node.veth == plan.BRIDGE for node in MANY)


def test_only_nodes_with_gpus_keep_others_away_and_the_first_takes_every_pod() -> None:
    assert [bool(node.taints) for node in DEFAULT_NODES] == [False, True, True]
    assert [node.gpus for node in DEFAULT_NODES] == [0, 2, 2]


@pytest.mark.parametrize("node", DEFAULT_NODES, ids=lambda node: node.name)
def test_a_kubelet_is_told_its_own_place(node: plan.NodePlan, tmp_path: Path) -> None:
    folder = configuration.NodeFolder(tmp_path)
    found = configuration.kubelet_configuration(node, folder, authority=tmp_path / "authority.crt")
    assert found["cgroupRoot"] == f"/{configuration.CGROUP}/{node.name}"
    assert found["address"] == node.address
    assert found["clusterDNS"] == [plan.DNS_ADDRESS]
    words = configuration.kubelet_command(tmp_path / "kubelet", node, folder)
    assert f"--node-labels={plan.POOL_LABEL}={node.pool}" in words


def test_the_pod_network_has_no_second_default_route() -> None:
    bridge = configuration.pod_network(DEFAULT_NODES[0])["plugins"][0]
    assert bridge["isDefaultGateway"]
    assert "routes" not in bridge["ipam"]
