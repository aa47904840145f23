"""Placement, image, environment and patch of a role, as its pods have them."""

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.render.groups import pod_shapes, render_group

KEY = ServiceKey("team", "nano")
OFFER = parse_pod_settings(
    """
image: 'r:1'
pools:
  a:
    nodeSelector: {gpu: l4}
    tolerations: [{key: gpu, operator: Exists}]
    affinity: {nodeAffinity: {of: pool}, podAntiAffinity: {of: pool}}
    gpus: 1
  b: {}
gateway: {nodeSelector: {kind: cpu}}
"""
)
SPEC = {"model": {"uri": "pvc://models/x"}, "vision": {"pool": "a"}, "language": {"pool": "b"}}


def shapes(**blocks):
    return pod_shapes(parse_spec({**SPEC, **blocks}), OFFER)


def pod(role, **block):
    base = SPEC.get(role.value, {})
    shape = shapes(**{role.value: {**base, **block}})[role]
    return render_group(KEY, shape, 1)["template"]["spec"]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "block",
    [
        {"image": "r:2"},
        {"env": [{"name": "A", "value": "1"}]},
        {"placement": {"nodeSelector": {"zone": "x"}}},
        {"podPatch": {"metadata": {"labels": {"a": "b"}}}},
    ],
    ids=lambda block: next(iter(block)),
)
def test_each_of_them_makes_new_pods_of_that_role_only(role, block):
    before, after = shapes(), shapes(**{role.value: {**SPEC.get(role.value, {}), **block}})
    assert {other for other in Role if before[other].group != after[other].group} == {role}


@pytest.mark.parametrize("empty", [{"env": []}, {"placement": {}}, {"podPatch": {}}])
def test_what_says_nothing_makes_no_new_pods(empty):
    assert shapes(vision={"pool": "a", **empty})[Role.VISION].group == shapes()[Role.VISION].group


def test_the_image_is_that_of_the_role_and_not_of_the_others():
    assert pod(Role.VISION, image="mine:1")["containers"][0]["image"] == "mine:1"
    others = shapes(vision={"pool": "a", "image": "mine:1"})
    assert {others[role].image for role in (Role.LANGUAGE, Role.GATEWAY)} == {"r:1"}


def test_variables_come_after_the_operators_own():
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    env = pod(Role.LANGUAGE, env=[{"name": "A", "value": ""}, secret])["containers"][0]["env"]
    assert env[-2:] == [{"name": "A", "value": ""}, secret]
    assert env[0]["name"] == "HOME"


def test_a_placement_is_added_to_the_pools():
    found = pod(
        Role.VISION,
        placement={
            "nodeSelector": {"zone": "x"},
            "tolerations": [{"key": "slow", "operator": "Exists", "tolerationSeconds": 9}],
            "affinity": {"nodeAffinity": {"of": "user"}},
        },
    )
    assert found["nodeSelector"] == {"gpu": "l4", "zone": "x"}
    assert found["tolerations"][:2] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": "slow", "operator": "Exists", "tolerationSeconds": 9},
    ]
    assert found["affinity"] == {"nodeAffinity": {"of": "user"}, "podAntiAffinity": {"of": "pool"}}


def test_a_placement_may_stand_instead_of_a_pool():
    shape = shapes(vision={"placement": {"nodeSelector": {"zone": "x"}}, "gpus": 2})[Role.VISION]
    assert shape.placement.node_selector == {"zone": "x"}
    assert (shape.gpus, shape.gpu_resource, shape.memory) == (2, "nvidia.com/gpu", "4Gi")


def test_a_placement_of_the_gateway_is_added_to_the_administrators():
    found = pod(Role.GATEWAY, placement={"nodeSelector": {"zone": "x"}})
    assert found["nodeSelector"] == {"kind": "cpu", "zone": "x"}
