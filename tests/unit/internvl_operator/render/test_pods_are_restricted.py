"""The objects of a service in pods, against the Pod Security Standard `restricted` and a table of flows."""

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import GcsSettings, RedisSettings, parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.errors import Rejected
from internvl_operator.render.cluster_objects import (
    Owner,
    render_gateway_policy,
    render_network_policy,
    render_ray_cluster,
)
from internvl_operator.render.groups import pod_shapes, render_group
from internvl_operator.render.restricted import check_restricted

KEY = ServiceKey("team", "nano")
OWNER = Owner(KEY, "uid-1")
OFFER = parse_pod_settings(
    "{image: 'r:1', imagePullSecrets: [reg], pools: {a: {gpus: 1, runtimeClassName: nvidia}, b: {}}}"
)
SPEC = {"model": {"uri": "pvc://models/x"}, "vision": {"pool": "a"}, "language": {"pool": "b"}}


def ray_cluster():
    shapes = pod_shapes(parse_spec(SPEC), OFFER)
    return render_ray_cluster(OWNER, OFFER, [render_group(KEY, shape, 1) for shape in shapes.values()])


def pods():
    spec = ray_cluster()["spec"]
    yield "head", spec["headGroupSpec"]["template"]
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


def test_every_pod_fulfils_the_restricted_standard():
    for name, template in pods():
        pod = template["spec"]
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0, name
        assert context["seccompProfile"]["type"] == "RuntimeDefault", name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        for volume in pod["volumes"]:
            assert {"emptyDir", "persistentVolumeClaim"} & set(volume), volume
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "hostPort" not in str(container.get("ports")), name


def test_the_guard_of_patches_finds_nothing_wrong_with_what_we_render():
    for _, template in pods():
        check_restricted(template["spec"])


def test_no_pod_has_rights_or_a_writable_root():
    for name, template in pods():
        assert template["spec"]["automountServiceAccountToken"] is False, name
        assert template["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_every_ray_asks_for_a_token_even_where_kuberay_sets_none():
    for name, template in pods():
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in template["spec"]["containers"][0]["env"], name


def test_every_pod_is_probed_without_a_program_in_it():
    for name, template in pods():
        container = template["spec"]["containers"][0]
        for probe in ("livenessProbe", "readinessProbe"):
            assert "httpGet" in container[probe], (name, probe)


def test_no_secret_stands_in_the_cluster():
    text = str(ray_cluster()["spec"])
    for mode in (
        "'mode': 'token'",
        "{'name': 'RAY_AUTH_MODE', 'value': 'token'}",
        "automountServiceAccountToken",
    ):
        text = text.replace(mode, "")
    assert "token" not in text


def test_the_model_is_mounted_read_only_on_every_worker():
    for name, template in list(pods())[1:]:
        mounts = {mount["name"]: mount for mount in template["spec"]["containers"][0]["volumeMounts"]}
        assert mounts["model"] == {"name": "model", "mountPath": "/models/models", "readOnly": True}, name


def test_every_role_pod_is_asked_for_its_own_replica_and_only_a_gateway_serves_http():
    for name, template in pods():
        container = template["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        if name == "head":
            assert container["readinessProbe"]["httpGet"]["port"] not in ports.values(), "Ray's own"
            continue
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ready"}, name
        variables = {one["name"]: one["value"] for one in container["env"]}
        assert variables["INTERNVL_READY_PORT"] == str(ports["ready"]), name
        assert ("http" in ports) == name.startswith("gateway-")


@pytest.mark.parametrize(
    ("change", "renamed"),
    [
        ({"vision": {"pool": "b"}}, {Role.VISION}),
        ({"vision": {"pool": "a", "memory": "8Gi"}}, {Role.VISION}),
        ({"language": {"pool": "b", "cpu": "2"}}, {Role.LANGUAGE}),
        ({"language": {"pool": "b", "gpus": 2}}, {Role.LANGUAGE}),
        ({"vision": {"pool": "a", "minReplicas": 3}}, set()),
        ({"vision": {"pool": "a", "maxTilesPerImage": 3}}, set()),
        ({"gateway": {"replicas": 3}}, set()),
        ({"model": {"uri": "pvc://models/y"}}, set()),
        ({"model": {"uri": "pvc://other/x"}}, set(Role)),
    ],
)
def test_only_what_is_of_the_pod_makes_a_new_group(change, renamed):
    before = pod_shapes(parse_spec(SPEC), OFFER)
    after = pod_shapes(parse_spec({**SPEC, **change}), OFFER)
    assert {role for role in Role if before[role].group != after[role].group} == renamed


def test_a_new_image_rolls_every_pool():
    other = parse_pod_settings("{image: 'r:2', pools: {a: {}, b: {}}}")
    before, after = pod_shapes(parse_spec(SPEC), OFFER), pod_shapes(parse_spec(SPEC), other)
    assert all(before[role].group != after[role].group for role in Role)


def test_a_spec_of_before_has_the_groups_of_before_so_that_an_upgrade_rolls_nothing():
    offer = parse_pod_settings(
        "{image: 'r:1', imagePullSecrets: [reg], pools: {a: {gpus: 1, runtimeClassName: nvidia}, "
        "b: {nodeSelector: {pool: b}, tolerations: [{key: gpu, operator: Exists}]}}}"
    )
    groups = {shape.group for shape in pod_shapes(parse_spec(SPEC), offer).values()}
    assert groups == {"vision-436a2637", "language-1bafbf0c", "gateway-29e910ad"}


# --- who may call whom: an evaluator of NetworkPolicies as far as ours go

POLICIES = [render_network_policy(OWNER, operator_namespace="internvl-system"), render_gateway_policy(OWNER)]
OURS = {"ray.io/cluster": "nano-ray"}
GATEWAY = {**OURS, "serving.internvl.io/service": "nano", "serving.internvl.io/role": "gateway"}
VISION = {**OURS, "serving.internvl.io/service": "nano", "serving.internvl.io/role": "vision"}
LANGUAGE = {**OURS, "serving.internvl.io/service": "nano", "serving.internvl.io/role": "language"}
HEAD = {**OURS, "serving.internvl.io/role": "head"}
STRANGER = {"app": "curl"}
OTHER = {"ray.io/cluster": "other-ray", "serving.internvl.io/role": "gateway"}


def allows(caller: tuple[str, dict], called: dict, port: int) -> bool:
    """Whether a pod (namespace, labels) may open a connection to a pod of the namespace `team`."""
    selected = [p for p in POLICIES if selects(p["spec"]["podSelector"], called)]
    return not selected or any(
        rule_allows(rule, caller, port) for policy in selected for rule in policy["spec"]["ingress"]
    )


def rule_allows(rule, caller, port):
    namespace, labels = caller
    assert set(rule) <= {"from", "ports"} and all(len(peer) == 1 for peer in rule.get("from", ())), (
        "not evaluated"
    )
    if "ports" in rule and port not in [item["port"] for item in rule["ports"]]:
        return False
    return "from" not in rule or any(
        selects(peer["podSelector"], labels) and namespace == "team"
        if "podSelector" in peer
        else selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
        for peer in rule["from"]
    )


def selects(selector, labels):
    assert set(selector) <= {"matchLabels"}, "not evaluated"
    return selector.get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize(
    ("caller", "called", "port", "allowed"),
    [
        (("team", STRANGER), GATEWAY, 8000, True),
        (("elsewhere", STRANGER), GATEWAY, 8000, True),
        (("team", STRANGER), VISION, 8000, False),
        (("team", STRANGER), HEAD, 8265, False),
        (("team", STRANGER), HEAD, 6379, False),
        (("team", STRANGER), GATEWAY, 6379, False),
        (("internvl-system", {}), HEAD, 8265, True),
        (("internvl-system", {}), HEAD, 6379, False),
        (("team", VISION), HEAD, 6379, True),
        (("team", HEAD), VISION, 10002, True),
        (("team", OTHER), VISION, 10002, False),
        (("elsewhere", VISION), HEAD, 6379, False),
        (("monitoring", {}), VISION, 8080, True),
        (("monitoring", {}), HEAD, 8080, True),
        (("monitoring", {}), HEAD, 8265, False),
        (("team", GATEWAY), LANGUAGE, 10002, True),
        (("team", GATEWAY), VISION, 33333, True),
        (("team", LANGUAGE), GATEWAY, 8001, True),
        (("team", STRANGER), GATEWAY, 8001, False),
        (("team", STRANGER), LANGUAGE, 8000, False),
        (("team", OTHER), HEAD, 8265, False),
        (("team", OTHER), GATEWAY, 8000, True),
        (("internvl-system", {}), VISION, 8265, True),  # where nothing listens
        (("internvl-system", {}), VISION, 10002, False),
        (("elsewhere", HEAD), LANGUAGE, 10002, False),
        (("team", OURS), HEAD, 6379, True),  # who may label pods in the namespace is trusted there
    ],
)
def test_who_may_call_whom(caller, called, port, allowed):
    assert allows(caller, called, port) is allowed


def test_the_heads_state_goes_to_redis_under_the_services_uid_and_nowhere_without_one():
    assert "gcsFaultToleranceOptions" not in ray_cluster()["spec"]
    offer = parse_pod_settings(
        "{image: 'r:1', gcs: {redis: {address: 'redis://r.ray.svc:6379', passwordSecret: {name: redis}}}}"
    )
    assert render_ray_cluster(OWNER, offer, [])["spec"]["gcsFaultToleranceOptions"] == {
        "redisAddress": "redis://r.ray.svc:6379",
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}},
        "externalStorageNamespace": "uid-1",
    }


def test_workers_outlive_a_head_with_redis_only():
    def waits(offer):
        shapes = pod_shapes(parse_spec(SPEC), offer)
        containers = [
            render_group(KEY, shape, 1)["template"]["spec"]["containers"][0] for shape in shapes.values()
        ]
        name = "RAY_gcs_rpc_server_reconnect_timeout_s"
        return [one["value"] for found in containers for one in found["env"] if one["name"] == name]

    assert waits(OFFER) == ["20"] * 3
    redis = OFFER.model_copy(update={"gcs": GcsSettings(redis=RedisSettings(address="redis://r:6379"))})
    assert waits(redis) == [], "KubeRay's own"
    plain, kept = (pod_shapes(parse_spec(SPEC), offer) for offer in (OFFER, redis))
    assert [shape.group for shape in plain.values()] == [shape.group for shape in kept.values()]


def test_a_wrong_address_of_redis_is_refused_by_its_field():
    with pytest.raises(Rejected, match=r"gcs\.redis\.address"):
        parse_pod_settings("{image: 'r:1', gcs: {redis: {address: 'r.ray.svc'}}}")


def test_a_pod_that_no_policy_selects_is_open_to_everybody():
    assert allows(("elsewhere", STRANGER), STRANGER, 6379), "the evaluator says no only where a policy does"
