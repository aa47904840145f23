"""One truth about versions: what the pages say is what is pinned."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
ROWS = {
    cells[0]: cells
    for line in (ROOT / "docs/versions.md").read_text().splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
}


def pinned(module: str, requirement: str) -> str:
    text = (ROOT / "e2e/cluster/modules" / module / "go.mod").read_text()
    (version,) = re.findall(rf"\s{re.escape(requirement)} v(\S+)", text)
    return version


def test_the_versions_that_were_tried_are_those_that_are_pinned() -> None:
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={ROWS['Ray'][2]}" in constraints
    assert ROWS["KubeRay"][2] == pinned("kuberay", "github.com/ray-project/kuberay/ray-operator")
    assert ROWS["Kubernetes"][2] == pinned("kubernetes", "k8s.io/kubernetes")
    assert ROWS["Helm"][2] == pinned("helm", "helm.sh/helm/v4")


def test_the_oldest_kubernetes_is_the_charts() -> None:
    chart = yaml.safe_load((ROOT / "charts/internvl-operator/Chart.yaml").read_text())
    oldest = ROWS["Kubernetes"][1].split()[0]
    assert chart["kubeVersion"] == f">={oldest}.0-0"


def test_package_and_chart_are_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "charts/internvl-operator/Chart.yaml").read_text())
    assert project["version"] == chart["version"] == chart["appVersion"]


def test_every_image_ends_as_a_user_without_rights_and_on_a_pinned_base() -> None:
    for name in ("operator/Dockerfile", "runtimes/Dockerfile", "runtimes/cuda.Dockerfile"):
        text = (ROOT / name).read_text()
        users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
        assert users and set(users) == {"1000:1000"}, name
        bases = re.findall(r"^ARG \w*BASE=(\S+)$", text, re.MULTILINE)
        assert bases and all(":" in base and not base.endswith(":latest") for base in bases), name


def test_the_workflows_name_no_registry() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yaml"):
        text = path.read_text()
        assert yaml.safe_load(text)["jobs"]
        assert not re.search(r"\b(?:ghcr|quay|docker|gcr|nvcr)\.io\b", text), path
