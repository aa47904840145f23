"""Routes and other objects that only some services have: which must stand, which must go, what is wrong with them.

Nothing that is wrong here stands before Ready: the service answers inside the cluster without them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.pods import RouteKind, Scrape
from internvl_operator.plan import failures
from internvl_operator.plan.cluster_checks import is_owned
from internvl_operator.plan.findings import Finding
from internvl_operator.plan.observation import ClusterSeen, Observation
from internvl_operator.render import optional_objects
from internvl_operator.render.cluster_objects import Manifest, ObjectId, Owner

_INSTALL = {
    RouteKind.HTTP_ROUTE.value: "install the Gateway API (gateway.networking.k8s.io/v1), or use "
    "spec.gateway.ingress instead of spec.gateway.route",
    optional_objects.POD_MONITOR: "install Prometheus Operator (monitoring.coreos.com/v1), or set the chart's value "
    "kuberay.metrics.by to annotations",
}


def asked_for(observation: Observation) -> tuple[Manifest, ...]:
    """What spec and administrator ask for together, whether or not it can stand."""
    service, offer = observation.service, observation.offer
    if service.spec is None or offer is None:
        return ()
    owner = Owner(service.key, service.uid)
    route = optional_objects.render_route(owner, service.spec.gateway)
    routes = () if route is None or route["kind"] not in offer.routes else (route,)
    if offer.metrics.by is not Scrape.POD_MONITOR:
        return routes
    return (*routes, optional_objects.render_pod_monitor(owner, offer.metrics.labels))


def wanted(observation: Observation, cluster: ClusterSeen) -> tuple[Manifest, ...]:
    """What is to be applied: not where the kind is missing, or where somebody else's object has the name."""
    return tuple(
        manifest
        for manifest in asked_for(observation)
        if manifest["kind"] not in {*cluster.missing_kinds, *cluster.unreadable_kinds}
        and not _is_foreign(observation, cluster, manifest)
    )


def unwanted(observation: Observation, cluster: ClusterSeen) -> tuple[ObjectId, ...]:
    """Objects of this very service that nobody asks for any more."""
    asked = {ObjectId.of(manifest) for manifest in asked_for(observation)}
    return tuple(
        identity
        for identity, live in sorted(cluster.objects.items())
        if identity.kind in optional_objects.KINDS
        and identity not in asked
        and is_owned(live, uid=observation.service.uid)
        and "deletionTimestamp" not in live["metadata"]
    )


def kinds_to_announce(observation: Observation, cluster: ClusterSeen) -> tuple[str, ...] | None:
    """What the front Service's annotation must say: it stands before such an object is made, and goes after it."""
    front = cluster.objects.get(ObjectId("Service", names.front(observation.service.key)), {})
    kinds = {manifest["kind"] for manifest in asked_for(observation)}
    kinds |= {identity.kind for identity in cluster.objects if identity.kind in optional_objects.KINDS}
    kinds |= set(cluster.unreadable_kinds)
    is_silent = not kinds and optional_objects.announced_kinds(front) is None
    return None if is_silent else tuple(sorted(kinds))


def finding(observation: Observation, cluster: ClusterSeen) -> Finding | None:
    """The first thing that is wrong with what is asked for."""
    return (
        _cannot_go(observation, cluster)
        or _not_offered(observation)
        or next(
            (
                found
                for manifest in asked_for(observation)
                if (found := _wrong_with(observation, cluster, manifest)) is not None
            ),
            None,
        )
    )


def _cannot_go(observation: Observation, cluster: ClusterSeen) -> Finding | None:
    """An object that nobody asks for any more, or may: it could go on letting requests in."""
    asked = {ObjectId.of(manifest).kind for manifest in asked_for(observation)}
    stay = {
        identity.kind: cluster.refused[identity]
        for identity in unwanted(observation, cluster)
        if identity in cluster.refused
    }
    for kind, sentence in sorted({**cluster.unreadable_kinds, **stay}.items()):
        if kind not in asked:
            message = (
                f"{kind} {names.front(observation.service.key)}: it is not wanted any more and may still stand; give "
                f"the operator back its rights (the chart's value kuberay.routes) until it is gone. The API server: "
                f"{sentence}"
            )
            return Finding(reason=Reason.KUBERNETES_REFUSED, message=failures.shorten(message))
    return None


def _not_offered(observation: Observation) -> Finding | None:
    spec, offer = observation.service.spec, observation.offer
    if spec is None or offer is None:
        return None
    for field, given, kind in (
        ("route", spec.gateway.route, RouteKind.HTTP_ROUTE),
        ("ingress", spec.gateway.ingress, RouteKind.INGRESS),
    ):
        if given is not None and kind not in offer.routes:
            offered = ", ".join(offer.routes) or "none"
            message = (
                f"spec.gateway.{field}: the administrator does not offer {kind} (offered: {offered}); add it to the "
                "chart's value kuberay.routes, or remove the field"
            )
            return Finding(reason=Reason.ROUTE_NOT_OFFERED, message=message)
    return None


def _wrong_with(observation: Observation, cluster: ClusterSeen, manifest: Manifest) -> Finding | None:
    identity = ObjectId.of(manifest)
    if identity.kind in cluster.missing_kinds:
        fix = _INSTALL.get(identity.kind, "install its resource definition")
        message = f"{identity.kind} {identity.name}: the cluster does not know this kind; {fix}"
        return Finding(reason=Reason.KIND_MISSING, message=message)
    refused = cluster.unreadable_kinds.get(identity.kind) or cluster.refused.get(identity)
    if refused:
        sentence = refused.rstrip(". ")
        message = f"{identity.kind} {identity.name}: {sentence}; it is tried again"
        return Finding(reason=Reason.KUBERNETES_REFUSED, message=failures.shorten(message))
    if _is_foreign(observation, cluster, manifest):
        message = (
            f"the {identity.kind} {identity.name} exists and does not belong to this service; delete or rename it, "
            "or give this service another name"
        )
        return Finding(reason=Reason.OBJECT_NOT_OURS, message=message)
    return _not_accepted(identity, cluster.objects.get(identity, {}))


def _is_foreign(observation: Observation, cluster: ClusterSeen, manifest: Manifest) -> bool:
    live = cluster.objects.get(ObjectId.of(manifest))
    return live is not None and not is_owned(live, uid=observation.service.uid)


def _not_accepted(identity: ObjectId, live: Mapping[str, Any]) -> Finding | None:
    """What a Gateway says against an HTTPRoute."""
    parents: Sequence[Mapping[str, Any]] = live.get("status", {}).get("parents") or ()
    for parent in parents:
        for condition in parent.get("conditions") or ():
            if condition.get("status") == "False" and condition.get("type") in ("Accepted", "ResolvedRefs"):
                gateway = parent.get("parentRef", {}).get("name", "?")
                said = condition.get("message") or condition.get("reason")
                message = f"{identity.kind} {identity.name}: the Gateway {gateway} does not take it: {said}"
                return Finding(reason=Reason.ROUTE_NOT_ACCEPTED, message=failures.shorten(message))
    return None
