"""What `helm test` says of the installed chart."""

from e2e.platform.chart import RELEASE, SYSTEM
from e2e.platform.installation import Helm


def test_helm_test_finds_the_installation_whole(helm: Helm, operator: None) -> None:
    said = helm("test", RELEASE, "--namespace", SYSTEM, "--logs", "--timeout", "300s")
    assert "Phase:          Succeeded" in said
    assert "ok: the kind is served, the Lease is held, KubeRay's kind takes our clusters" in said
