"""The chart as Helm renders it: golden files under `chart/`, written anew by `make golden`; read the diff then."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.errors import ClusterFailed
from e2e.platform.chart import CHART, SYSTEM, render, run_helm
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.handlers.liveness import METRICS_PATH

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("chart")
CASES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))
CRD = "---\n# Source: internvl-operator/templates/crd.yaml\n"


def values(case: str) -> Path:
    return GOLDEN / f"{case}.values.yaml"


@cache
def rendered(case: str) -> str:
    return render(values(case))


def objects(case: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(rendered(case)) if found]


def of_kind(case: str, kind: str) -> list[dict[str, Any]]:
    return [found for found in objects(case) if found["kind"] == kind]


def without_crd(rendered: str) -> str:
    """Everything but the resource definitions, which `make generate` keeps."""
    while CRD in rendered:
        before, _, rest = rendered.partition(CRD)
        rendered = before + "---\n" + rest.partition("\n---\n")[2]
    return rendered


@pytest.mark.parametrize("case", CASES)
def test_the_chart_renders_what_is_golden(case: str) -> None:
    text = without_crd(rendered(case))
    golden = GOLDEN / f"{case}.golden.yaml"
    if os.environ.get("INTERNVL_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "if this is meant: make golden, and read the diff"


@pytest.mark.parametrize("case", CASES)
def test_helm_lint_finds_nothing(case: str) -> None:
    said = run_helm("lint", "--strict", str(CHART), "--values", str(values(case)))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said and "[ERROR]" not in said


def test_the_charts_resource_definitions_are_the_generated_ones_and_are_kept_on_uninstall() -> None:
    found = {item["metadata"]["name"]: item for item in of_kind("defaults", "CustomResourceDefinition")}
    generated = {
        item["metadata"]["name"]: item
        for path in (ROOT / "manifests/crds").glob("*.yaml")
        for item in yaml.safe_load_all(path.read_text())
    }
    for item in found.values():
        assert item["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert len(found) == 2 and found == generated


def test_the_install_file_holds_the_charts_objects_and_their_namespace() -> None:
    namespace, *installed = yaml.safe_load_all((ROOT / "manifests/install.yaml").read_text())
    assert namespace["metadata"]["name"] == SYSTEM
    assert {found["metadata"].get("namespace", SYSTEM) for found in installed} == {SYSTEM}
    wanted = [found for found in objects("defaults") if found["kind"] != "Pod"]  # that is for `helm test`
    for found in (*wanted, *[each["spec"]["template"] for each in wanted if each["kind"] == "Deployment"]):
        labels = found["metadata"].get("labels", {})
        labels.pop("app.kubernetes.io/managed-by", None)
        labels.pop("helm.sh/chart", None)
        if found.get("kind") == "CustomResourceDefinition":
            found["metadata"].pop("annotations")
    assert installed == wanted


@pytest.mark.parametrize("case", CASES)
def test_the_charts_pods_are_restricted(case: str) -> None:
    (deployment,), (test,) = of_kind(case, "Deployment"), of_kind(case, "Pod")
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    for pod in (deployment["spec"]["template"]["spec"], test["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("case", CASES)
def test_no_rule_has_a_wildcard(case: str) -> None:
    roles = of_kind(case, "ClusterRole") + of_kind(case, "Role")
    assert roles
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]), role["metadata"]


def test_rights_in_named_namespaces_are_rights_nowhere_else() -> None:
    assert of_kind("one-namespace", "ClusterRole") == []
    assert of_kind("one-namespace", "ClusterRoleBinding") == []
    places = {found["metadata"]["namespace"] for found in of_kind("one-namespace", "Role")}
    assert places == {"team-a", "team-b", SYSTEM}


def test_without_pods_there_are_no_rights_on_them() -> None:
    roles = of_kind("existing-ray", "ClusterRole") + of_kind("existing-ray", "Role")
    groups = {group for role in roles for rule in role["rules"] for group in rule["apiGroups"]}
    assert groups == {"serving.internvl.io", "events.k8s.io", "coordination.k8s.io"}
    assert of_kind("existing-ray", "ConfigMap") == []


def test_the_registry_and_its_secrets_reach_the_operators_pods_and_rays() -> None:
    (deployment,) = of_kind("mirror", "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/team/internvl-operator:1.2.3"
    assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    (config,) = of_kind("mirror", "ConfigMap")
    offer = parse_pod_settings(config["data"]["pods.yaml"])
    assert offer.image == "registry.example.com/team/internvl-runtime:1.2.3"
    assert offer.image_pull_secrets == ("mirror",)


@pytest.mark.parametrize(
    ("case", "is_annotated", "monitors"),
    [("defaults", "true", 0), ("routes-and-monitors", "false", 1), ("existing-ray", "false", 0)],
)
def test_prometheus_finds_the_operators_own_metrics_as_the_values_say(
    case: str, is_annotated: str, monitors: int
) -> None:
    (deployment,) = of_kind(case, "Deployment")
    pod = deployment["spec"]["template"]
    said = pod["metadata"]["annotations"]
    assert said["prometheus.io/scrape"] == is_annotated
    assert said["prometheus.io/path"] == METRICS_PATH
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert said["prometheus.io/port"] == str(port["containerPort"])
    found = of_kind(case, "PodMonitor")
    assert len(found) == monitors
    for monitor in found:
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert monitor["spec"]["podMetricsEndpoints"] == [{"port": port["name"], "path": METRICS_PATH}]


@pytest.mark.parametrize("case", [case for case in CASES if case != "existing-ray"])
def test_the_operator_reads_the_pods_file_that_the_chart_writes(case: str) -> None:
    (config,) = of_kind(case, "ConfigMap")
    wanted = (yaml.safe_load(values(case).read_text()) or {}).get("kuberay", {}).get("pools", {})
    assert set(parse_pod_settings(config["data"]["pods.yaml"]).pools) == set(wanted)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("operator.replica=2", "at '/operator': additional properties 'replica' not allowed"),
        ("operator.replicas=0", "at '/operator/replicas': minimum: got 0, want 1"),
        ("kuberay.pools.l4.gpu=1", "at '/kuberay/pools/l4': additional properties 'gpu' not allowed"),
        ("kuberay.pools.l4.gpus=-1", "at '/kuberay/pools/l4/gpus': minimum: got -1, want 0"),
        ("kuberay.head.gpus=1", "at '/kuberay/head': additional properties 'gpus' not allowed"),
        ("namespaces=team-a", "at '/namespaces': got string, want array"),
        ("namespaces={Team A}", "at '/namespaces/0': 'Team A' does not match pattern"),
        ("imageRegistry=registry.example.com", "at '/imageRegistry': 'registry.example.com' does not match"),
        ("rayAddress=ray-head:8265", "at '/rayAddress': 'ray-head:8265' does not match pattern"),
        ("operator.image.pullPolicy=Sometimes", "at '/operator/image/pullPolicy': value must be one of"),
        ("operator.metrics.by=scrape", "at '/operator/metrics/by': value must be one of"),
        ("operator.settings.poll=5", "at '/operator/settings': additional properties 'poll' not allowed"),
    ],
)
def test_a_mistake_in_the_values_is_refused_with_its_place(mistake: str, sentence: str) -> None:
    with pytest.raises(ClusterFailed) as refused:
        render(options=("--set", mistake))
    assert sentence in str(refused.value)
