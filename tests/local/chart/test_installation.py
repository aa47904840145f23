"""What `helm test` asks, asked of a real API server with the rights of the release's service account."""

from datetime import UTC, datetime

import pytest

from e2e.platform.chart import RELEASE, SYSTEM
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.cluster.installation import Installation
from internvl_operator.cluster.kubernetes import Kubernetes
from internvl_operator.settings import Settings

OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.fixture
def missing(releases, monkeypatch):
    """What the release lacks, by its own service account."""

    async def ask():
        releases.wait_for("the kind is served", lambda: releases.get("/apis/serving.internvl.io/v1alpha1"))
        config = releases.get(f"/api/v1/namespaces/{SYSTEM}/configmaps/{RELEASE}-pods")
        account = releases.plane.service_account_kubeconfig(namespace=SYSTEM, name=RELEASE)
        monkeypatch.setenv("KUBECONFIG", str(account))
        kubernetes = Kubernetes.connect()
        try:
            offer = config and parse_pod_settings(config["data"]["pods.yaml"])
            return await Installation(kubernetes, Settings(), offer).missing(datetime.now(UTC))
        finally:
            await kubernetes.close()

    return ask


@pytest.fixture
def held_lease(releases):
    """The Lease, as an operator holds it."""
    releases.install()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": RELEASE},
        "spec": {"holderIdentity": "one", "renewTime": now, "leaseDurationSeconds": 15},
    }
    path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
    assert releases.plane.client.request("POST", path, lease).status == 201


async def test_a_bare_release_lacks_its_holder_and_kuberay(releases, missing):
    releases.install()
    lease, kuberay = await missing()
    assert f"the Lease {SYSTEM}/{RELEASE} cannot be read" in lease
    assert kuberay.startswith("KubeRayMissing: ")


async def test_a_kind_without_token_authentication_is_too_old(
    releases, held_lease, missing, serve_ray_clusters
):
    serve_ray_clusters()
    (sentence,) = await missing()
    assert sentence.startswith("KubeRayTooOld: ") and "authOptions" in sentence
    assert "TOO OLD" in releases.install()


async def test_a_whole_installation_lacks_nothing_and_nothing_was_made(
    releases, held_lease, missing, serve_ray_clusters
):
    serve_ray_clusters(authOptions=OPEN)
    assert await missing() == []
    assert releases.get("/apis/ray.io/v1/rayclusters")["items"] == []
    notes = releases.install()
    assert "TOO OLD" not in notes and "MISSING" not in notes


async def test_an_existing_ray_needs_no_kuberay(releases, held_lease, missing):
    releases.install("--set", "rayAddress=http://ray-head:8265")
    assert await missing() == []
