"""Everything in Kubernetes that makes up one service: RayCluster, Service, disruption budgets, network policy.

All of it belongs to the InternVLService by an owner reference, so deleting the service needs no finalizer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import PodSettings, RedisSettings
from internvl_operator.render.groups import METRICS_PORT, pod_labels, render_head
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


def render_ray_cluster(owner: Owner, settings: PodSettings, groups: Sequence[dict[str, Any]]) -> Manifest:
    """The RayCluster: no autoscaler, token authentication, the groups in the order given."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": owner.metadata(names.ray_cluster(owner.key)),
        "spec": {
            "rayVersion": pods.RAY_VERSION,
            "enableInTreeAutoscaling": False,
            "authOptions": {"mode": "token"},
            **_gcs(settings.gcs.redis, owner.uid),
            "headGroupSpec": render_head(owner.key, settings),
            "workerGroupSpecs": list(groups),
        },
    }


def _gcs(redis: RedisSettings | None, uid: str) -> dict[str, Any]:
    """The head's state in Redis; under the service's uid, so that a later one of its name finds nothing."""
    if redis is None:
        return {}
    options: dict[str, Any] = {"redisAddress": redis.address, "externalStorageNamespace": uid}
    if redis.password_secret is not None:
        secret = redis.password_secret
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
    return {"gcsFaultToleranceOptions": options}


def render_front(owner: Owner, *, optional_kinds: Sequence[str] | None = None) -> Manifest:
    """The Service of the gateway pods: port 80 to Serve's proxy in a pod whose own gateway is ready.

    Its annotation keeps which optional kinds the service has, where it ever had one.
    """
    metadata = owner.metadata(names.front(owner.key))
    if optional_kinds is not None:
        metadata["annotations"] = {labels.OPTIONAL_KINDS: ",".join(optional_kinds)}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": _selector(owner.key, Role.GATEWAY),
            "ports": [{"name": "http", "port": FRONT_PORT, "targetPort": pods.HTTP_PORT, "protocol": "TCP"}],
        },
    }


def render_budgets(owner: Owner, replicas: Mapping[Role, int]) -> tuple[Manifest, ...]:
    """One disruption budget a role: a drain takes one pod at a time.

    By `minAvailable`: for `maxUnavailable` Kubernetes asks the pods' owner for its scale, which a RayCluster does
    not have, and then allows no disruption at all.
    """
    return tuple(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": owner.metadata(f"{owner.key.name}-{role}"),
            "spec": {
                "minAvailable": replicas[role] - 1,
                "selector": {"matchLabels": _selector(owner.key, role)},
            },
        }
        for role in Role
    )


def render_network_policy(owner: Owner, *, operator_namespace: str) -> Manifest:
    """Who may call the service's pods: each other, clients the gateway, the operator the head, anybody the metrics.

    Nothing is said about what they may call themselves.
    """
    cluster = {"matchLabels": {labels.RAY_CLUSTER: names.ray_cluster(owner.key)}}
    from_operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(names.ray_cluster(owner.key)),
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


def render_gateway_policy(owner: Owner) -> Manifest:
    """Everybody may call the gateway's HTTP port."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(f"{owner.key.name}-gateway"),
        "spec": {
            "podSelector": {"matchLabels": _selector(owner.key, Role.GATEWAY)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [_port(pods.HTTP_PORT)]}],
        },
    }


def _selector(key: ServiceKey, role: Role) -> dict[str, str]:
    return {labels.RAY_CLUSTER: names.ray_cluster(key), **pod_labels(key, role)}


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
        return isinstance(live, dict) and all(
            key in live and (value == live[key] if key in _EXACT else matches(value, live[key]))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(wanted) == len(live)
            and all(matches(one, other) for one, other in zip(wanted, live, strict=True))
        )
    return wanted == live
