"""Which changes mean another head, and the objects of the two Ray clusters of a service."""

import pytest

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House, Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.render import cluster_objects
from internvl_operator.render.cluster_objects import ObjectId, Owner, as_it_stands, objects_of_house
from internvl_operator.render.heads import head_shape

KEY = ServiceKey("team", "nano")
OWNER = Owner(KEY, "uid-1")
PLAIN = "image: a/runtime:1"


def digest(text):
    return head_shape(parse_pod_settings(text)).digest


@pytest.mark.parametrize(
    "text",
    [
        "image: a/runtime:2",
        f"{PLAIN}\nimagePullSecrets: [registry]",
        f"{PLAIN}\nhead: {{cpu: '2'}}",
        f"{PLAIN}\nhead: {{nodeSelector: {{kind: cpu}}}}",
        f"{PLAIN}\ngcs: {{redis: {{address: 'redis://r:6379'}}}}",
    ],
)
def test_what_people_decide_about_the_head_makes_another_one(text):
    assert digest(text) != digest(PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        f"{PLAIN}\nimagePullPolicy: Always",
        f"{PLAIN}\nmetrics: {{by: none}}",
        f"{PLAIN}\npools: {{a: {{gpus: 1}}}}",
        f"{PLAIN}\ngateway: {{memory: 7Gi}}",
        f"{PLAIN}\nroutes: [Ingress]",
        f"{PLAIN}\nhead: {{memory: 3Gi}}",
    ],
)
def test_everything_else_leaves_the_head_alone(text):
    assert digest(text) == digest(PLAIN)


def test_another_ray_is_another_head(monkeypatch):
    before = digest(PLAIN)
    monkeypatch.setattr("internvl_runtimes.contract.pods.RAY_VERSION", "2.61.0")
    assert digest(PLAIN) != before


@pytest.mark.parametrize("house", House)
def test_the_objects_of_a_cluster_are_those_that_are_rendered_for_it(house):
    settings = parse_pod_settings(PLAIN)
    rendered = [
        cluster_objects.render_ray_cluster(OWNER, settings, [], house),
        cluster_objects.render_next_front(OWNER, house),
        cluster_objects.render_network_policy(OWNER, operator_namespace="system", house=house),
        cluster_objects.render_gateway_policy(OWNER, house),
        *cluster_objects.render_budgets(OWNER, dict.fromkeys(Role, 1), house),
    ]
    assert {ObjectId.of(item) for item in rendered} == set(objects_of_house(KEY, house))
    selectors = str([item["spec"].get("selector", item["spec"].get("podSelector")) for item in rendered[1:]])
    assert f"nano-{house}" in selectors and f"nano-{house.other}" not in selectors


def test_no_two_objects_of_services_that_are_called_alike_share_a_name():
    services = [
        "nano",
        "nano-alt",
        "nano-ray",
        "nano-gateway",
        "nano-vision",
        "nano-ray-alt",
        "nano-gateway-alt",
    ]
    all_names = [
        identity
        for name in services
        for house in House
        for identity in objects_of_house(ServiceKey("team", name), house)
    ]
    assert len(set(all_names)) == len(all_names)


def test_the_longest_name_of_a_service_is_the_same_for_both():
    assert len({len(name) for name in names.ray_clusters(KEY)}) == 1


def test_a_cluster_that_is_left_as_it_is_only_changes_in_size():
    old, new = parse_pod_settings(PLAIN), parse_pod_settings("image: a/runtime:2\nhead: {memory: 9Gi}")
    group = {
        "groupName": "vision-1",
        "replicas": 1,
        "template": "old",
        "scaleStrategy": {"workersToDelete": ["a"]},
    }
    live = cluster_objects.render_ray_cluster(OWNER, old, [group])
    wanted = {"groupName": "vision-1", "replicas": 2, "template": "new"}
    kept = as_it_stands(cluster_objects.render_ray_cluster(OWNER, new, [wanted]), live)
    assert kept["metadata"] == live["metadata"]
    assert kept["spec"]["headGroupSpec"] == live["spec"]["headGroupSpec"]
    assert kept["spec"]["workerGroupSpecs"] == [{"groupName": "vision-1", "replicas": 2, "template": "old"}]
