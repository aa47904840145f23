from pathlib import Path

import pytest

from e2e.cluster.certificates import Pair
from e2e.cluster.clusters import ExistingCluster, open_cluster
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import ClusterFailed, NotSupported
from e2e.cluster.kubeconfig import write_kubeconfig


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return write_kubeconfig(
        tmp_path / "config", server="https://10.0.0.1", authority=b"", user="me", credentials=Pair(b"", b"")
    )


def test_a_named_cluster_is_used_as_it_is(kubeconfig: Path) -> None:
    with open_cluster(kubeconfig) as cluster:
        assert isinstance(cluster, ExistingCluster)
        assert cluster.server == "https://10.0.0.1"
        assert cluster.kubeconfig() == kubeconfig


def test_the_shells_kubeconfig_alone_is_not_taken(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert isinstance(open_cluster(None), ControlPlane)


def test_nobody_is_impersonated_in_an_existing_cluster(kubeconfig: Path) -> None:
    with pytest.raises(NotSupported, match="existing cluster"):
        ExistingCluster(kubeconfig).kubeconfig(user="stranger", groups=())


@pytest.mark.parametrize("content", ["", "a: [", "current-context: gone\ncontexts: []\n"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: str) -> None:
    broken = tmp_path / "config"
    broken.write_text(content)
    with pytest.raises(ClusterFailed, match=f"{broken} is no kubeconfig"):
        ExistingCluster(broken)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterFailed, match=r"cannot read the kubeconfig .*gone: No such file"):
        ExistingCluster(tmp_path / "gone")


def test_a_control_plane_that_is_not_started_says_so() -> None:
    with pytest.raises(ClusterFailed, match="not started"):
        ControlPlane().kubeconfig()
