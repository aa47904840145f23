"""The way out: what a patch may add to a role's pods, and that it cannot get around the guards."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.errors import Rejected
from internvl_operator.render.groups import pod_shapes, render_group
from internvl_operator.render.pod_patch import patch_template

KEY = ServiceKey("team", "nano")
OFFER = parse_pod_settings("{image: 'r:1', imagePullSecrets: [reg], pools: {a: {gpus: 1}, b: {}}}")
SPEC = {"model": {"uri": "pvc://models/x"}, "vision": {"pool": "a"}, "language": {"pool": "b"}}

SHAPES = pod_shapes(parse_spec(SPEC), OFFER)


def template(role=Role.GATEWAY):
    return render_group(KEY, SHAPES[role], 1)["template"]


def patched(spec, role=Role.GATEWAY):
    return patch_template(template(role), {"spec": spec})["spec"]


def ray(**fields):
    return {"containers": [{"name": "ray-worker", **fields}]}


SIDECAR = {
    "name": "proxy",
    "image": "proxy:1",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}


def sidecar(**fields):
    return {"containers": [{**SIDECAR, **fields}]}


def test_what_is_added_stands_beside_what_was_there():
    before = template()
    after = patch_template(
        before,
        {
            "metadata": {"labels": {"cost": "a"}, "annotations": {"example.com/x": "y"}},
            "spec": {
                "priorityClassName": "batch",
                "volumes": [{"name": "shared", "emptyDir": {}}],
                **ray(
                    volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
                    resources={"limits": {"cpu": "2"}},
                ),
            },
        },
    )
    expected = copy.deepcopy(before)
    expected["metadata"]["labels"]["cost"] = "a"
    expected["metadata"]["annotations"]["example.com/x"] = "y"
    expected["spec"]["priorityClassName"] = "batch"
    expected["spec"]["volumes"].append({"name": "shared", "emptyDir": {}})
    container = expected["spec"]["containers"][0]
    container["volumeMounts"].append({"name": "shared", "mountPath": "/shared"})
    container["resources"]["limits"]["cpu"] = "2"
    assert after == expected
    assert template() == before, "the template itself is not written to"


def test_a_second_container_comes_after_rays_which_kuberay_looks_for_first():
    assert [item["name"] for item in patched(sidecar())["containers"]] == ["ray-worker", "proxy"]


def test_null_takes_away_what_may_go():
    assert "topologySpreadConstraints" not in patched({"topologySpreadConstraints": None})


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        # what a patch may not reach
        ({"kind": "Pod"}, "kind"),
        ({"spec": {"hostNetwork": True}}, "spec.hostNetwork"),
        ({"spec": {"hostPID": True}}, "spec.hostPID"),
        ({"spec": {"serviceAccountName": "admin"}}, "spec.serviceAccountName"),
        ({"spec": {"automountServiceAccountToken": True}}, "spec.automountServiceAccountToken"),
        ({"spec": {"nodeName": "n"}}, "spec.nodeName"),
        ({"spec": {"ephemeralContainers": []}}, "spec.ephemeralContainers"),
        ({"spec": {"fieldOfTomorrow": 1}}, "spec.fieldOfTomorrow"),
        ({"spec": ray(command=["sh"])}, "spec.containers[ray-worker].command"),
        ({"spec": ray(args=["x"])}, "spec.containers[ray-worker].args"),
        ({"spec": ray(image="evil")}, "spec.containers[ray-worker].image"),
        ({"spec": ray(env=[])}, "spec.containers[ray-worker].env"),
        ({"spec": ray(envFrom=[])}, "spec.containers[ray-worker].envFrom"),
        ({"spec": ray(ports=[])}, "spec.containers[ray-worker].ports"),
        ({"spec": ray(readinessProbe=None)}, "spec.containers[ray-worker].readinessProbe"),
        ({"metadata": {"name": "x"}}, "metadata.name"),
        (
            {"metadata": {"labels": {"serving.internvl.io/role": "x"}}},
            "metadata.labels[serving.internvl.io/role]",
        ),
        ({"metadata": {"labels": {"ray.io/cluster": "other"}}}, "metadata.labels[ray.io/cluster]"),
        (
            {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/ray-worker": "x"}}},
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/ray-worker]",
        ),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels[a]"),
        # what must stay
        ({"metadata": {"labels": None}}, "metadata.labels"),
        (
            {"spec": {"volumes": [{"name": "tmp", "emptyDir": None, "configMap": {}}]}},
            "spec.volumes[tmp].emptyDir",
        ),
        (
            {"spec": {"volumes": [{"name": "model", "persistentVolumeClaim": {"readOnly": False}}]}},
            "spec.volumes[model].persistentVolumeClaim.readOnly",
        ),
        ({"spec": {"volumes": None}}, "spec.volumes"),
        ({"spec": {"containers": None}}, "spec.containers"),
        (
            {"spec": ray(resources={"requests": {"cpu": "9"}})},
            "spec.containers[ray-worker].resources.requests.cpu",
        ),
        ({"spec": ray(resources=None)}, "spec.containers[ray-worker].resources"),
        (
            {"spec": ray(volumeMounts=[{"mountPath": "/tmp", "name": "x"}])},
            "spec.containers[ray-worker].volumeMounts[/tmp].name",
        ),
        # the standard
        ({"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}}, "spec.volumes[h]"),
        ({"spec": {"volumes": [{"name": "h", "csi": {"driver": "d"}}]}}, "spec.volumes[h]"),
        (
            {"spec": {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {}}]}}]}},
            "spec.volumes[t].projected.sources[0].serviceAccountToken",
        ),
        ({"spec": {"securityContext": None}}, "spec.securityContext.runAsNonRoot"),
        ({"spec": {"securityContext": {"runAsUser": 0}}}, "spec.securityContext.runAsUser"),
        ({"spec": {"securityContext": {"runAsUser": True}}}, "spec.securityContext.runAsUser"),
        ({"spec": {"securityContext": {"sysctls": []}}}, "spec.securityContext.sysctls"),
        ({"spec": {"securityContext": {"seccompProfile": None}}}, "spec.securityContext.seccompProfile"),
        (
            {"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}},
            "spec.securityContext.seccompProfile.type",
        ),
        (
            {"spec": ray(securityContext={"privileged": True})},
            "spec.containers[ray-worker].securityContext.privileged",
        ),
        (
            {"spec": ray(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}})},
            "spec.containers[ray-worker].securityContext.capabilities.add",
        ),
        (
            {"spec": ray(securityContext={"capabilities": {"drop": []}})},
            "spec.containers[ray-worker].securityContext.capabilities.drop",
        ),
        (
            {"spec": ray(securityContext={"runAsNonRoot": False})},
            "spec.containers[ray-worker].securityContext.runAsNonRoot",
        ),
        (
            {"spec": sidecar(securityContext={})},
            "spec.containers[proxy].securityContext.allowPrivilegeEscalation",
        ),
        (
            {"spec": {"initContainers": [{"name": "first", "image": "x"}]}},
            "spec.initContainers[first].securityContext.allowPrivilegeEscalation",
        ),
        ({"spec": sidecar(ports=[{"containerPort": 1, "hostPort": 1}])}, "spec.containers[proxy].ports[0]"),
        (
            {"spec": sidecar(livenessProbe={"httpGet": {"host": "169.254.169.254"}})},
            "spec.containers[proxy].livenessProbe.httpGet.host",
        ),
        (
            {"spec": sidecar(lifecycle={"preStop": {"tcpSocket": {"host": "10.0.0.1"}}})},
            "spec.containers[proxy].lifecycle.preStop.tcpSocket.host",
        ),
        # forms
        ({"spec": []}, "spec"),
        ({"spec": {"containers": {}}}, "spec.containers"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers[0]"),
        ({"spec": ray(volumeMounts=[{"name": "x"}])}, "spec.containers[ray-worker].volumeMounts[0]"),
    ],
)
def test_what_is_refused_is_named_by_its_path(patch, path):
    with pytest.raises(Rejected) as caught:
        patch_template(template(), patch)
    assert caught.value.field == path


def test_the_gpu_of_the_pool_cannot_be_patched():
    with pytest.raises(Rejected) as caught:
        patched(ray(resources={"limits": {"nvidia.com/gpu": 8}}), Role.VISION)
    assert caught.value.field.endswith("limits.nvidia.com/gpu")


WORDS = st.sampled_from(
    [
        "metadata",
        "spec",
        "labels",
        "volumes",
        "containers",
        "initContainers",
        "securityContext",
        "name",
        "ray-worker",
        "tmp",
        "emptyDir",
        "ports",
        "lifecycle",
        "projected",
        "sources",
        "resources",
        "capabilities",
        "volumeMounts",
        "mountPath",
        "imagePullSecrets",
        "livenessProbe",
        "httpGet",
        "seccompProfile",
        "drop",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
PATCHES = st.dictionaries(WORDS, JSON, max_size=3) | st.fixed_dictionaries(
    {"spec": st.dictionaries(WORDS, JSON, max_size=3)}
)


@given(PATCHES)
def test_any_patch_is_taken_or_refused_and_never_breaks_the_operator(patch):
    try:
        after = patch_template(template(), patch)
    except Rejected as fault:
        assert fault.field
    else:
        assert after["spec"]["containers"][0]["name"] == "ray-worker"
        assert after["spec"]["automountServiceAccountToken"] is False
        assert after["metadata"]["labels"].items() >= template()["metadata"]["labels"].items()
