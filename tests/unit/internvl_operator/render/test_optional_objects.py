"""Objects that only some services have, as a whole."""

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.render.cluster_objects import Owner, render_front
from internvl_operator.render.optional_objects import announced_kinds, render_pod_monitor, render_route

OWNER = Owner(ServiceKey("team", "nano"), "uid-1")
METADATA = {
    "name": "nano",
    "namespace": "team",
    "labels": {"serving.internvl.io/service": "nano", "app.kubernetes.io/managed-by": "internvl-operator"},
    "ownerReferences": [
        {
            "apiVersion": "serving.internvl.io/v1alpha1",
            "kind": "InternVLService",
            "name": "nano",
            "uid": "uid-1",
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ],
}


def rendered(gateway):
    return render_route(OWNER, parse_spec({"model": {"uri": "file:///m"}, "gateway": gateway}).gateway)


def test_a_route_sends_all_paths_of_its_hosts_to_the_front_service():
    parents = [{"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "own"}]
    assert rendered({"route": {"parentRefs": parents, "hostnames": ["a.example.com"]}}) == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": METADATA,
        "spec": {
            "parentRefs": parents,
            "hostnames": ["a.example.com"],
            "rules": [{"backendRefs": [{"name": "nano", "port": 80}]}],
        },
    }


def test_an_ingress_with_a_certificate():
    ingress = {"className": "nginx", "host": "a.example.com", "tlsSecretName": "cert"}
    assert rendered({"ingress": ingress}) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": METADATA,
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["a.example.com"], "secretName": "cert"}],
            "rules": [
                {
                    "host": "a.example.com",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "nano", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ],
        },
    }


def test_an_ingress_without_class_and_certificate_leaves_both_to_the_cluster():
    assert set(rendered({"ingress": {"host": "a.example.com"}})["spec"]) == {"rules"}


def test_without_either_there_is_no_route():
    assert rendered({}) is None


def test_the_front_service_remembers_the_kinds_and_says_nothing_where_there_never_was_one():
    assert announced_kinds(render_front(OWNER)) is None
    assert announced_kinds(render_front(OWNER, optional_kinds=())) == ()
    assert announced_kinds(render_front(OWNER, optional_kinds=("HTTPRoute", "Ingress"))) == (
        "HTTPRoute",
        "Ingress",
    )


def test_somebody_who_edits_the_annotation_makes_no_other_kind_be_read():
    front = render_front(OWNER, optional_kinds=("Secret", "Ingress", ""))
    assert announced_kinds(front) == ("Ingress",)


def test_a_pod_monitor_finds_every_pod_of_the_service_and_keeps_our_labels():
    monitor = render_pod_monitor(OWNER, {"release": "prometheus", "serving.internvl.io/service": "other"})
    assert monitor == {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {**METADATA, "labels": {**METADATA["labels"], "release": "prometheus"}},
        "spec": {
            "selector": {
                "matchExpressions": [
                    {"key": "ray.io/cluster", "operator": "In", "values": ["nano-ray", "nano-alt"]}
                ]
            },
            "podTargetLabels": ["serving.internvl.io/service", "serving.internvl.io/role"],
            "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "5s"}],
        },
    }
