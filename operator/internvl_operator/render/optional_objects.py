"""Objects that only some services have, of kinds that only some clusters know: routes and the PodMonitor.

They are read only for a service that has them or may have them, which the front Service's annotation says.
"""

from collections.abc import Mapping
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.pods import RouteKind
from internvl_operator.api.route_spec import HttpRouteSpec, IngressSpec
from internvl_operator.api.spec import GatewaySpec
from internvl_operator.render.cluster_objects import FRONT_PORT, Manifest, Owner
from internvl_operator.render.groups import METRICS_PATH

POD_MONITOR = "PodMonitor"
KINDS = (RouteKind.HTTP_ROUTE.value, RouteKind.INGRESS.value, POD_MONITOR)
"""All of them; none of another kind is ever deleted."""
SCRAPE_INTERVAL = "5s"
"""Half of the window that the operator asks for the load of, by default. Prometheus Operator's own is 30 s."""


def announced_kinds(front: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What the annotation of a front Service says; None where there is none."""
    text = front.get("metadata", {}).get("annotations", {}).get(labels.OPTIONAL_KINDS)
    return None if text is None else tuple(kind for kind in str(text).split(",") if kind in KINDS)


def render_route(owner: Owner, gateway: GatewaySpec) -> Manifest | None:
    """The route that a spec asks for, if it asks for one."""
    if gateway.route is not None:
        return _http_route(owner, gateway.route)
    return None if gateway.ingress is None else _ingress(owner, gateway.ingress)


def render_pod_monitor(owner: Owner, more_labels: Mapping[str, str]) -> Manifest:
    """Prometheus Operator's way to the metrics of all pods of the service's Ray cluster."""
    metadata = owner.metadata(names.front(owner.key))
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": POD_MONITOR,
        "metadata": {**metadata, "labels": {**more_labels, **metadata["labels"]}},
        "spec": {
            "selector": {
                "matchExpressions": [
                    {
                        "key": labels.RAY_CLUSTER,
                        "operator": "In",
                        "values": list(names.ray_clusters(owner.key)),
                    }
                ]
            },
            "podTargetLabels": [labels.SERVICE, labels.ROLE],
            "podMetricsEndpoints": [{"port": "metrics", "path": METRICS_PATH, "interval": SCRAPE_INTERVAL}],
        },
    }


def _http_route(owner: Owner, route: HttpRouteSpec) -> Manifest:
    spec: dict[str, Any] = {
        "parentRefs": [
            parent.model_dump(mode="json", by_alias=True, exclude_none=True) for parent in route.parent_refs
        ],
        "rules": [{"backendRefs": [{"name": names.front(owner.key), "port": FRONT_PORT}]}],
    }
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": RouteKind.HTTP_ROUTE.value,
        "metadata": owner.metadata(names.front(owner.key)),
        "spec": spec,
    }


def _ingress(owner: Owner, ingress: IngressSpec) -> Manifest:
    backend = {"service": {"name": names.front(owner.key), "port": {"number": FRONT_PORT}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: dict[str, Any] = {"rules": [{"host": ingress.host, "http": {"paths": [path]}}]}
    if ingress.class_name is not None:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls_secret_name is not None:
        spec["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls_secret_name}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": RouteKind.INGRESS.value,
        "metadata": owner.metadata(names.front(owner.key)),
        "spec": spec,
    }
