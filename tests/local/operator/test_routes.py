"""Our manifests of routes, as a real API server takes them."""

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.render.cluster_objects import Owner, matches
from internvl_operator.render.optional_objects import render_route

INGRESS = {"host": "a.example.com", "className": "nginx", "tlsSecretName": "cert"}
SELECTOR = {"serving.internvl.io/service": "routed"}


@pytest.fixture
async def kubernetes(plane, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig()))
    client = Kubernetes.connect()
    yield client
    await client.delete_object("Ingress", "default", "routed")
    await client.close()


@pytest.fixture
def ingress():
    spec = parse_spec({"model": {"uri": "file:///m"}, "gateway": {"ingress": INGRESS}})
    manifest = render_route(Owner(ServiceKey("default", "routed"), "uid-1"), spec.gateway)
    del manifest["metadata"]["ownerReferences"]  # there is no such service, and it would be collected
    return manifest


async def test_an_ingress_stands_as_it_was_rendered_until_it_is_deleted(kubernetes, ingress):
    await kubernetes.apply_object(ingress)
    found = []
    await kubernetes.list_objects("Ingress", "default", SELECTOR, found.append)
    (live,) = found
    assert matches(ingress["spec"], live["spec"]), "what is added must not look like a difference"
    await kubernetes.delete_object("Ingress", "default", "routed")
    left = []
    await kubernetes.list_objects("Ingress", "default", SELECTOR, left.append)
    assert left == []
    await kubernetes.delete_object("Ingress", "default", "routed")


@pytest.mark.parametrize("kind", ["HTTPRoute", "PodMonitor"])
async def test_a_kind_that_is_not_installed_is_gone(kubernetes, kind):
    with pytest.raises(ApiFault) as caught:
        await kubernetes.list_objects(kind, "default", SELECTOR, [].append)
    assert caught.value.is_gone


async def test_a_manifest_with_an_unknown_field_is_refused_for_good(kubernetes, ingress):
    ingress["spec"]["rules"][0]["pathTyp"] = "x"
    with pytest.raises(ApiFault) as caught:
        await kubernetes.apply_object(ingress)
    assert not caught.value.may_pass
    assert "pathTyp" in caught.value.message
