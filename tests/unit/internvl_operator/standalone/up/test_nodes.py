from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.standalone.service_file import WrittenService
from internvl_operator.standalone.up import GATEWAY_CPUS, plan_nodes


def service(**spec) -> WrittenService:
    return WrittenService(ServiceKey("default", "a"), parse_spec({"model": {"uri": "file:///m"}, **spec}))


def test_one_node_a_pool_and_the_first_is_the_head_with_room_for_the_gateway():
    nodes = plan_nodes(
        [service(vision={"pool": "v", "minReplicas": 2}, language={"pool": "l", "cpu": "1500m"})]
    )

    assert [(node.pool, node.cpus) for node in nodes] == [("v", 2 + GATEWAY_CPUS), ("l", 2)]


def test_there_is_room_for_the_most_replicas_that_the_load_may_ask_for():
    (node,) = plan_nodes([service(vision={"pool": "p", "maxReplicas": 4}, language={"pool": "p"})])

    assert node.cpus == 4 + 1 + GATEWAY_CPUS


def test_without_pools_one_node_is_enough():
    (node,) = plan_nodes([service()])

    assert node.pool is None
    assert node.cpus == 2 + GATEWAY_CPUS


def test_both_roles_in_one_pool_share_its_node():
    (node,) = plan_nodes([service(vision={"pool": "p"}, language={"pool": "p"})])

    assert (node.pool, node.cpus) == ("p", 2 + GATEWAY_CPUS)
