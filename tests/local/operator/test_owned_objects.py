"""Objects of a service with a Ray cluster of its own, on an API server without KubeRay and without nodes."""

import pytest

from e2e.cluster.control_plane import find_free_port

PODS = """
image: example.test/internvl-runtime:1
pools:
  gpu: {gpus: 1}
"""
SPEC = {"model": {"uri": "file:///models/nano"}, "vision": {"pool": "gpu"}, "language": {"pool": "gpu"}}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CLUSTERS = "/apis/ray.io/v1/namespaces/default/rayclusters"
FRONTS = "/api/v1/namespaces/default/services"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
WITHIN_S = 8.0
"""Less than the pause between two looks at a service that is not well: only a watch is so fast."""


def ray_cluster_definition():
    """KubeRay's kind, as far as an API server must know it."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rayclusters.ray.io"},
        "spec": {
            "group": "ray.io",
            "scope": "Namespaced",
            "names": {"kind": "RayCluster", "plural": "rayclusters", "singular": "raycluster"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
            ],
        },
    }


@pytest.fixture
def operator(start_operator, tmp_path):
    file = tmp_path / "pods.yaml"
    file.write_text(PODS)
    return start_operator(pods_file=file)


@pytest.fixture
def kuberay(plane):
    """The definition, for the time of a test."""
    assert plane.client.request("POST", DEFINITIONS, ray_cluster_definition()).status == 201
    yield
    plane.client.request("DELETE", f"{DEFINITIONS}/rayclusters.ray.io")


def test_what_somebody_deletes_or_edits_is_put_right_before_the_next_look(
    kuberay, plane, services, operator, eventually
):
    def get(path):
        answer = plane.client.request("GET", path)
        return answer.document if answer.status == 200 else None

    services.create("owned", **SPEC)
    eventually(
        lambda: get(f"{CLUSTERS}/owned-ray") and get(f"{BUDGETS}/owned-vision"), "the objects are made"
    )
    eventually(lambda: get(f"{FRONTS}/owned"), "the Service is made")

    before = get(f"{FRONTS}/owned")["metadata"]["uid"]
    plane.client.request("DELETE", f"{FRONTS}/owned")
    eventually(
        lambda: (get(f"{FRONTS}/owned") or {"metadata": {"uid": before}})["metadata"]["uid"] != before,
        "the deleted Service is made again",
        within_s=WITHIN_S,
    )

    edit = {"spec": {"minAvailable": 7}}
    answer = plane.client.request(
        "PATCH", f"{BUDGETS}/owned-vision", edit, content_type="application/merge-patch+json"
    )
    assert answer.document["spec"]["minAvailable"] == 7
    eventually(
        lambda: get(f"{BUDGETS}/owned-vision")["spec"]["minAvailable"] == 0,
        "the edited budget is as it was",
        within_s=WITHIN_S,
    )

    unlabelled = {"metadata": {"labels": {"serving.internvl.io/service": None}}}
    plane.client.request("PATCH", f"{FRONTS}/owned", unlabelled, content_type="application/merge-patch+json")
    eventually(
        lambda: "serving.internvl.io/service" in get(f"{FRONTS}/owned")["metadata"].get("labels", {}),
        "a label that was taken away is there again",
        within_s=WITHIN_S,
    )


def test_without_kuberay_a_service_says_so_and_heals_when_it_is_installed(
    plane, services, operator, eventually
):
    services.create("early", **SPEC)
    eventually(lambda: services.condition("early")[1] == "KubeRayMissing", "KubeRay is missed")
    assert plane.client.request("POST", DEFINITIONS, ray_cluster_definition()).status == 201
    try:
        eventually(
            lambda: plane.client.request("GET", f"{CLUSTERS}/early-ray").status == 200,
            "the RayCluster is made once its kind is there",
            within_s=90,
        )
    finally:
        plane.client.request("DELETE", f"{DEFINITIONS}/rayclusters.ray.io")


def test_watches_of_services_and_of_objects_that_fell_silent_are_noticed_within_sixty_seconds(
    kuberay, plane, services, relay, relayed_kubeconfig, start_operator, tmp_path, eventually
):
    file = tmp_path / "pods.yaml"
    file.write_text(PODS)
    between = relay(plane.server)
    operator = start_operator(kubeconfig=relayed_kubeconfig(between), pods_file=file)
    # Nothing but the watch has this one looked at again: nobody is at its address, and it has no objects.
    nowhere = {"ray": {"address": f"http://127.0.0.1:{find_free_port()}"}}
    services.create("edited", backend=nowhere)
    services.create("owning", **SPEC)
    eventually(lambda: services.condition("edited")[1] == "RayUnreachable", "the first status")
    eventually(lambda: plane.client.request("GET", f"{FRONTS}/owning").status == 200, "the Service is made")

    between.fall_silent()  # nothing is closed, no packet comes through
    services.replace_spec("edited", backend=nowhere, vision={"minReplicas": 2})
    plane.client.request("DELETE", f"{FRONTS}/owning")
    took_s = eventually(
        lambda: services.get("edited")["status"]["observedGeneration"] == 2, "the change is seen"
    )
    print(f"half-open watch of services noticed after {took_s:.1f} s")
    took_s += eventually(
        lambda: plane.client.request("GET", f"{FRONTS}/owning").status == 200,
        "the Service is made again",
        within_s=60 - took_s,
    )
    print(f"half-open watch of objects noticed after {took_s:.1f} s")
    assert operator.process.poll() is None, "the operator has ended"
