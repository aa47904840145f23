import subprocess
import sys
from pathlib import Path

import pytest

MANIFEST = """\
apiVersion: serving.internvl.io/v1alpha1
kind: InternVLService
metadata: {name: misspelt, namespace: default}
spec:
  model: {uri: "file:///stub"}
  vision: {pol: l4}
"""


@pytest.fixture
def kubectl(plane, services):
    services.made.append("misspelt")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("kubectl"), "--kubeconfig", plane.kubeconfig(), *words],
            input=MANIFEST,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_kubectl_refuses_an_unknown_field_by_default(kubectl, services):
    done = kubectl("apply", "-f", "-")

    assert done.returncode != 0
    assert 'unknown field "spec.vision.pol"' in done.stderr
    assert services.get("misspelt") is None


def test_server_side_apply_refuses_it_too(kubectl, services):
    done = kubectl("apply", "--server-side", "-f", "-")

    assert done.returncode != 0
    assert "pol" in done.stderr
    assert services.get("misspelt") is None


def test_a_client_that_only_wants_warnings_is_warned_and_the_field_is_dropped(kubectl, services):
    done = kubectl("apply", "--validate=warn", "-f", "-")

    assert done.returncode == 0
    assert 'Warning: unknown field "spec.vision.pol"' in done.stderr
    assert "pol" not in services.get("misspelt")["spec"].get("vision", {})
