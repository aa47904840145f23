"""Everything in Kubernetes that makes up one service: RayCluster, Service, disruption budgets, network policy.

All of it belongs to the InternVLService by an owner reference, so deleting the service needs no finalizer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House, Role
from internvl_operator.api.pods import PodSettings, RedisSettings
from internvl_operator.render.groups import METRICS_PORT, pod_labels, render_head
from internvl_operator.render.heads import head_shape
from internvl_operator.render.serve_schema import encode_json
from internvl_runtimes.contract import pods

FRONT_PORT = 80

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """Kind and name of an object in the service's namespace."""

    kind: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "ObjectId":
        """The identity of a manifest."""
        return cls(manifest["kind"], manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Owner:
    """The InternVLService that the objects belong to."""

    key: ServiceKey
    uid: str

    def metadata(self, name: str) -> dict[str, Any]:
        """Metadata of one of its objects."""
        return {
            "name": name,
            "namespace": self.key.namespace,
            "labels": {labels.SERVICE: self.key.name, labels.MANAGED_BY: labels.COMPONENT},
            "ownerReferences": [
                {
                    "apiVersion": labels.API_VERSION,
                    "kind": labels.KIND,
                    "name": self.key.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        }


def render_ray_cluster(
    owner: Owner, settings: PodSettings, groups: Sequence[dict[str, Any]], house: House = House.FIRST
) -> Manifest:
    """The RayCluster: no autoscaler, token authentication, the groups in the order given."""
    metadata = owner.metadata(names.ray_cluster(owner.key, house))
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {**metadata, "annotations": {labels.HEAD: head_shape(settings).digest}},
        "spec": {
            "rayVersion": pods.RAY_VERSION,
            "enableInTreeAutoscaling": False,
            "authOptions": {"mode": "token"},
            **_gcs(settings.gcs.redis, owner.uid, house),
            "headGroupSpec": render_head(owner.key, settings),
            "workerGroupSpecs": list(groups),
        },
    }


_OF_THE_HEAD = ("rayVersion", "headGroupSpec", "gcsFaultToleranceOptions")
_OF_SCALING = ("replicas", "scaleStrategy")


def as_it_stands(rendered: Manifest, live: Manifest) -> Manifest:
    """The RayCluster that stands, which is to be left as it is: but for which groups it has, and how large they are."""
    rest = {part: value for part, value in rendered["spec"].items() if part not in _OF_THE_HEAD}
    head = {part: live["spec"][part] for part in _OF_THE_HEAD if part in live["spec"]}
    standing = {item.get("groupName"): item for item in live["spec"].get("workerGroupSpecs") or ()}
    groups = [_form_of(standing.get(item["groupName"], item), item) for item in rest["workerGroupSpecs"]]
    annotations = {labels.HEAD: digest} if (digest := head_of(live)) else {}
    metadata = {**rendered["metadata"], "annotations": annotations}
    return {**rendered, "metadata": metadata, "spec": {**rest, **head, "workerGroupSpecs": groups}}


def _form_of(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    form = {part: value for part, value in live.items() if part not in _OF_SCALING}
    return {**form, **{part: wanted[part] for part in _OF_SCALING if part in wanted}}


def head_of(live: Manifest) -> str | None:
    """The head that a RayCluster was made with; None for one that an operator before this annotation made."""
    found = (live["metadata"].get("annotations") or {}).get(labels.HEAD)
    return None if found is None else str(found)


def _gcs(redis: RedisSettings | None, uid: str, house: House) -> dict[str, Any]:
    """The head's state in Redis; under the service's uid, so that a later one of its name finds nothing."""
    if redis is None:
        return {}
    place = uid if house is House.FIRST else f"{uid}-{house}"
    options: dict[str, Any] = {"redisAddress": redis.address, "externalStorageNamespace": place}
    if redis.password_secret is not None:
        secret = redis.password_secret
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
    return {"gcsFaultToleranceOptions": options}


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Where the Service that clients call sends them."""

    house: House
    moved_at: str | None = None
    """Since when, where it ever sent them to another Ray cluster."""


def render_front(
    owner: Owner, front: Front | None = None, *, optional_kinds: Sequence[str] | None = None
) -> Manifest:
    """The Service of the gateway pods: port 80 to Serve's proxy in a pod whose own gateway is ready.

    Its annotations keep which optional kinds the service has, where it ever had one, and when it was turned.
    """
    metadata = owner.metadata(names.front(owner.key))
    front = front or Front(house=House.FIRST)
    kinds = {} if optional_kinds is None else {labels.OPTIONAL_KINDS: ",".join(optional_kinds)}
    moved = {} if front.moved_at is None else {labels.MOVED_AT: front.moved_at}
    if kinds or moved:
        metadata["annotations"] = {**kinds, **moved}
    return _gateway_service(owner, metadata, front.house)


def render_next_front(owner: Owner, house: House) -> Manifest:
    """The Service by which a Ray cluster is probed that clients are not sent to yet."""
    return _gateway_service(owner, owner.metadata(names.next_front(owner.key, house)), house)


def _gateway_service(owner: Owner, metadata: dict[str, Any], house: House) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": _selector(owner.key, Role.GATEWAY, house),
            "ports": [{"name": "http", "port": FRONT_PORT, "targetPort": pods.HTTP_PORT, "protocol": "TCP"}],
        },
    }


def render_budgets(
    owner: Owner, replicas: Mapping[Role, int], house: House = House.FIRST
) -> tuple[Manifest, ...]:
    """One disruption budget a role: a drain takes one pod at a time.

    By `minAvailable`: for `maxUnavailable` Kubernetes asks the pods' owner for its scale, which a RayCluster does
    not have, and then allows no disruption at all.
    """
    return tuple(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": owner.metadata(names.of_house(owner.key, role, house)),
            "spec": {
                "minAvailable": max(0, replicas[role] - 1),
                "selector": {"matchLabels": _selector(owner.key, role, house)},
            },
        }
        for role in Role
    )


def render_network_policy(owner: Owner, *, operator_namespace: str, house: House = House.FIRST) -> Manifest:
    """Who may call the service's pods: each other, clients the gateway, the operator the head, anybody the metrics.

    Nothing is said about what they may call themselves.
    """
    cluster = {"matchLabels": {labels.RAY_CLUSTER: names.ray_cluster(owner.key, house)}}
    from_operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(names.of_house(owner.key, "ray", house)),
        "spec": {
            "podSelector": cluster,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": cluster}]},
                {"from": [from_operator], "ports": [_port(names.DASHBOARD_PORT)]},
                {"ports": [_port(METRICS_PORT)]},
            ],
        },
    }


def render_gateway_policy(owner: Owner, house: House = House.FIRST) -> Manifest:
    """Everybody may call the gateway's HTTP port."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(names.of_house(owner.key, "gateway", house)),
        "spec": {
            "podSelector": {"matchLabels": _selector(owner.key, Role.GATEWAY, house)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [_port(pods.HTTP_PORT)]}],
        },
    }


def objects_of_house(key: ServiceKey, house: House) -> tuple[ObjectId, ...]:
    """Every object that belongs to one of the two Ray clusters alone, the RayCluster first; but for its Secret."""
    return (
        ObjectId("RayCluster", names.ray_cluster(key, house)),
        ObjectId("Service", names.next_front(key, house)),
        *(ObjectId("NetworkPolicy", names.of_house(key, part, house)) for part in ("ray", "gateway")),
        *(ObjectId("PodDisruptionBudget", names.of_house(key, role, house)) for role in Role),
    )


def _selector(key: ServiceKey, role: Role, house: House) -> dict[str, str]:
    return {labels.RAY_CLUSTER: names.ray_cluster(key, house), **pod_labels(key, role)}


def _port(number: int) -> dict[str, Any]:
    return {"port": number, "protocol": "TCP"}


def signed(manifest: Manifest) -> Manifest:
    """With a hash of itself: a manifest that lost a field differs from what stands by that alone."""
    digest = hashlib.sha256(encode_json(manifest).encode()).hexdigest()[:12]
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), labels.RENDERED: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


_EXACT = ("selector", "podSelector")
"""A label more there means other pods."""


def matches(wanted: object, live: object) -> bool:
    """Whether every value of `wanted` is in `live`: what others or the API server added does not count.

    Selectors must be equal.
    """
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return False
        for key, value in wanted.items():  # loops, because this is much of what a look costs
            if key not in live or not (value == live[key] if key in _EXACT else matches(value, live[key])):
                return False
        return True
    if isinstance(wanted, list):
        if not isinstance(live, list) or len(wanted) != len(live):
            return False
        return all(map(matches, wanted, live))
    return wanted == live
