"""What `helm install`, `upgrade` and `uninstall` do to the kind, to services, and to each other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from e2e.cluster.errors import ClusterFailed
from e2e.platform.chart import CHART, RELEASE, SYSTEM
from internvl_operator.api.labels import FINALIZER

ROOT = Path(__file__).parents[3]
ROLES = "/apis/rbac.authorization.k8s.io/v1"
SPEC = {"model": {"uri": "file:///models/nano"}}
NO_PODS = ("--set", "kuberay.enabled=false")


def crd_columns(releases):
    found = releases.get(releases.kind)
    assert found is not None
    return [column["name"] for column in found["spec"]["versions"][0]["additionalPrinterColumns"]]


def test_an_upgrade_brings_the_newer_kind(releases, tmp_path):
    older = tmp_path / "chart"
    shutil.copytree(CHART, older)
    file = older / "files" / "serving.internvl.io_internvlservices.yaml"
    crd = yaml.safe_load(file.read_text())
    del crd["spec"]["versions"][0]["additionalPrinterColumns"][1:]
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    releases.install(chart=older)
    assert crd_columns(releases) == ["Ready"]
    releases.install()
    assert "Model" in crd_columns(releases)


def test_an_uninstall_ends_and_leaves_kind_and_services_to_the_next_release(releases):
    releases.install()
    service = releases.create_service("kept", SPEC, finalizers=[FINALIZER])
    releases.uninstall()
    assert releases.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{RELEASE}") is None
    for path in (releases.kind, service):
        found = releases.get(path)
        assert found is not None and "deletionTimestamp" not in found["metadata"], path
    releases.install()
    assert releases.get(service) is not None
    assert releases.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{RELEASE}") is not None


def test_giving_up_the_kind_keeps_it(releases):
    releases.install()
    service = releases.create_service("kept", SPEC, finalizers=[FINALIZER])
    releases.install("--set", "crds.install=false")
    found = releases.get(releases.kind)
    assert found is not None and "deletionTimestamp" not in found["metadata"]
    assert releases.get(service) is not None


def test_releases_of_one_name_stand_beside_each_other(releases):
    for team in ("a", "b"):
        releases.create_namespace(f"team-{team}")
    releases.install("--set", "namespaces={team-a}", namespace="system-a")
    with pytest.raises(
        ClusterFailed, match=r"internvls\w+\.serving\.internvl\.io.*invalid ownership metadata"
    ):
        releases.install("--set", "namespaces={team-b}", namespace="system-b")
    both = ("--set", "crds.install=false")
    releases.install("--set", "namespaces={team-b,team-a}", *both, namespace="system-b")
    releases.uninstall(namespace="system-a")
    assert releases.get(f"{ROLES}/namespaces/team-a/roles/system-a:{RELEASE}") is None
    for team in ("team-a", "team-b"):
        assert releases.get(f"{ROLES}/namespaces/{team}/roles/system-b:{RELEASE}") is not None
    assert releases.get(releases.kind) is not None
    releases.install("--set", "namespaces={team-b,team-a}", "--take-ownership", namespace="system-b")
    owner = releases.get(releases.kind)["metadata"]["annotations"]["meta.helm.sh/release-namespace"]
    assert owner == "system-b"


def test_two_cluster_wide_releases_have_roles_of_their_own(releases):
    releases.install(*NO_PODS, namespace="one")
    releases.install(*NO_PODS, "--set", "crds.install=false", namespace="two")
    releases.uninstall(namespace="one")
    binding = releases.get(f"{ROLES}/clusterrolebindings/two:{RELEASE}")
    assert binding is not None
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": RELEASE, "namespace": "two"}]
    assert releases.get(f"{ROLES}/clusterrolebindings/one:{RELEASE}") is None


def test_notes_say_that_kuberay_is_missing_unless_it_is_not_needed(releases):
    assert "KubeRay is MISSING" in releases.install()
    assert "KubeRay" not in releases.install("--set", "rayAddress=http://ray-head:8265")


def test_kubectl_applies_the_install_file_twice(releases):
    kubectl = [Path(sys.executable).with_name("kubectl"), "--kubeconfig", releases.plane.kubeconfig()]
    file = ("-f", str(ROOT / "manifests" / "install.yaml"))
    try:
        for _ in range(2):
            done = subprocess.run(
                [*kubectl, "apply", "--server-side", *file], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        assert releases.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{RELEASE}") is not None
        assert releases.get(releases.kind) is not None
    finally:
        subprocess.run([*kubectl, "delete", "--ignore-not-found", *file], check=True, timeout=180)
