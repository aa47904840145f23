import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from e2e.cluster import binaries
from e2e.cluster.binaries import ETCD, KUBERNETES, BinaryMissing, GoGroup
from e2e.cluster.nodes.programs import COREDNS, HELM, KUBERAYS, NODE_KUBERNETES, PAUSE
from e2e.setup.cache import Cache


@pytest.fixture
def group(tmp_path: Path) -> GoGroup:
    folder = tmp_path / "modules/kubernetes"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n\nrequire k8s.io/kubernetes v1.36.4\n")
    (folder / "go.sum").write_text("sum")
    return dataclasses.replace(KUBERNETES, modules=tmp_path / "modules")


def test_the_folder_is_named_by_version_and_what_makes_it(group: GoGroup) -> None:
    before = group.folder_name
    assert re.fullmatch(r"kubernetes-v1\.36\.4-[0-9a-f]{12}", before)
    (group.folder / "go.sum").write_text("another sum")
    assert group.folder_name != before
    assert dataclasses.replace(group, stamped=()).folder_name != group.folder_name


def test_all_programs_of_a_group_appear_together(group: GoGroup, tmp_path: Path) -> None:
    built = []

    def build(_group: GoGroup, name: str, output: Path) -> None:
        built.append(name)
        output.write_text(name)

    for _ in range(2):
        folder = binaries.ensure_group(group, cache=Cache(tmp_path), build=build)
    assert built == ["kube-apiserver", "kube-controller-manager"]
    assert sorted(path.name for path in folder.iterdir()) == built


def test_a_group_whose_second_program_fails_is_not_there(group: GoGroup, tmp_path: Path) -> None:
    def build(_group: GoGroup, name: str, output: Path) -> None:
        if name == "kube-controller-manager":
            raise RuntimeError("disk full")
        output.write_text(name)

    with pytest.raises(RuntimeError, match="disk full"):
        binaries.ensure_group(group, cache=Cache(tmp_path), build=build)
    assert list((tmp_path / "bin").iterdir()) == []


def test_the_version_is_stamped_where_the_server_and_its_client_read_it() -> None:
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f"-X {package}.gitVersion=v1.36.4" in KUBERNETES.linker_flags
        assert f"-X {package}.gitMinor=36" in KUBERNETES.linker_flags


@pytest.mark.parametrize("group", [KUBERNETES, NODE_KUBERNETES], ids=lambda group: group.name)
def test_every_staging_module_is_paired_with_the_version_of_kubernetes(group: GoGroup) -> None:
    replaced = re.findall(r"^\s+(\S+) => (\S+) (v\S+)$", (group.folder / "go.mod").read_text(), re.MULTILINE)
    assert len(replaced) == 33
    wanted = group.version.replace("v1.", "v0.")
    assert {(old == new, version) for old, new, version in replaced} == {(True, wanted)}


def test_nodes_are_of_the_version_of_their_control_plane() -> None:
    assert NODE_KUBERNETES.version == KUBERNETES.version


@pytest.mark.parametrize(
    "group",
    [ETCD, KUBERNETES, NODE_KUBERNETES, COREDNS, *KUBERAYS.values(), HELM],
    ids=lambda group: group.name,
)
def test_the_sums_of_every_group_are_committed(group: GoGroup) -> None:
    sums = (group.folder / "go.sum").read_text()
    assert f"{group.requirement} {group.version} h1:" in sums


def test_a_program_of_our_own_is_named_by_its_source(tmp_path: Path) -> None:
    shutil.copytree(PAUSE.folder, tmp_path / "pause")
    group = dataclasses.replace(PAUSE, modules=tmp_path)
    before = group.folder_name
    assert re.fullmatch(r"pause-own-[0-9a-f]{12}", before)
    (tmp_path / "pause/main.go").write_text("package main")
    assert group.folder_name != before


def test_what_is_kept_beside_the_programs_appears_with_them(group: GoGroup, tmp_path: Path) -> None:
    made = []
    with_kept = dataclasses.replace(group, kept={"crds": "config/crd/bases"})
    assert with_kept.folder_name != group.folder_name
    binaries.ensure_group(
        with_kept,
        cache=Cache(tmp_path),
        build=lambda _group, name, output: (made.append(name), output.touch()),
    )
    assert made == ["kube-apiserver", "kube-controller-manager", "crds"]


def test_the_users_own_programs_are_taken(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
        (tmp_path / name).touch(mode=0o755)
    found = binaries.ensure_binaries(Cache(tmp_path / "cache"), {"KUBEBUILDER_ASSETS": str(tmp_path)})
    assert found.kube_apiserver == tmp_path / "kube-apiserver"
    assert not (tmp_path / "cache").exists()


def test_a_program_that_the_user_lacks_is_named(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch(mode=0o755)
    with pytest.raises(BinaryMissing, match="holds no program kube-controller-manager"):
        binaries.ensure_binaries(Cache(tmp_path / "cache"), {"KUBEBUILDER_ASSETS": str(tmp_path)})
