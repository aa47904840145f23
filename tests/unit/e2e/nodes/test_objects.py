import pytest

from e2e.cluster import objects
from e2e.cluster.nodes import addons
from e2e.cluster.objects import path_of


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("Pod", "pods"),
        ("NetworkPolicy", "networkpolicies"),
        ("IngressClass", "ingressclasses"),
        ("Endpoints", "endpoints"),
        ("EndpointSlice", "endpointslices"),
    ],
)
def test_the_plural_is_the_api_servers(kind: str, plural: str) -> None:
    assert objects.plural(kind) == plural


def test_a_manifest_without_a_namespace_is_cluster_wide() -> None:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    assert path_of(manifest) == "/api/v1/namespaces/a"


def test_a_manifest_of_a_group_with_a_namespace() -> None:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}}
    assert path_of(manifest) == "/apis/apps/v1/namespaces/b/deployments/a"


def test_dns_is_answered_where_the_kubelets_say() -> None:
    service = next(found for found in addons.dns_objects() if found["kind"] == "Service")
    endpoints = next(found for found in addons.dns_objects() if found["kind"] == "EndpointSlice")
    assert service["spec"]["clusterIP"] == "10.211.0.10"
    assert "selector" not in service["spec"], "the server is no pod"
    assert endpoints["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert endpoints["ports"] == service["spec"]["ports"]
