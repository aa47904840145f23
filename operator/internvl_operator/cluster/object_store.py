"""The Kubernetes objects of services with a Ray cluster of their own: read by label, written by server-side apply.

Called by `reconcile.reconciler`. Secrets are created and never read.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import ClusterSeen, PodSeen, ServiceSeen
from internvl_operator.render import optional_objects
from internvl_operator.render.cluster_objects import Manifest, ObjectId, Owner
from internvl_operator.render.serve_schema import encode_json

log = logging.getLogger(__name__)

KINDS = ("RayCluster", "Service", "PodDisruptionBudget", "NetworkPolicy")
"""What every service consists of, Secrets apart."""


AGAIN_S = 30.0
"""Pause before the same manifest is applied again to an object that stands: it was refused, or did not take."""
SECRET_GONE_WITHIN_S = 30.0
"""How long a Secret of an earlier service of the same name may take to be collected."""


class KubeObjectStore:
    """Reads and writes one service's objects at a time."""

    def __init__(self, kubernetes: Kubernetes, tokens: Tokens, *, monotonic: Callable[[], float]) -> None:
        self._kubernetes = kubernetes
        self._tokens = tokens
        self._monotonic = monotonic
        self._kept: dict[ServiceKey, _Kept] = {}

    async def observe(self, key: ServiceKey) -> ClusterSeen:
        """What stands now; `NotYet` while the API server is away."""
        objects: dict[ObjectId, Manifest] = {}
        try:
            for kind in KINDS:
                for found in await self._kubernetes.list_objects(kind, key.namespace, _ours(key)):
                    objects[ObjectId(kind, found["metadata"]["name"])] = found
            cluster = {"ray.io/cluster": names.ray_cluster(key)}
            pods = await self._kubernetes.list_objects("Pod", key.namespace, cluster)
            optional = await self._list_optional(key, objects)
            objects |= optional.objects
            objects |= await self._still_foreign(key)
        except ApiFault as fault:
            if fault.may_pass:
                raise NotYet(f"cannot read the objects of {key}: {fault.message}", delay_s=2.0) from fault
            return ClusterSeen(objects={}, trouble=_trouble(fault))
        return ClusterSeen(
            objects=objects,
            pods=tuple(see_pod(pod) for pod in pods),
            refused={**self._keep(key).refused, **optional.refused},
            missing_kinds=frozenset(optional.missing),
        )

    async def _list_optional(self, key: ServiceKey, objects: Mapping[ObjectId, Manifest]) -> "_Optional":
        """Objects of the kinds that the front Service announces. A kind that cannot be read disturbs no other."""
        found = _Optional()
        front = objects.get(ObjectId("Service", names.front(key)), {})
        for kind in optional_objects.announced_kinds(front) or ():
            try:
                for item in await self._kubernetes.list_objects(kind, key.namespace, _ours(key)):
                    found.objects[ObjectId(kind, item["metadata"]["name"])] = item
            except ApiFault as fault:
                if fault.may_pass:
                    raise
                if fault.is_gone:
                    found.missing.add(kind)
                else:
                    found.refused[ObjectId(kind, names.front(key))] = fault.message
        return found

    async def delete(self, key: ServiceKey, identities: Sequence[ObjectId]) -> None:
        """Delete objects that were seen to be ours; what the API server refuses is told by the next `observe`."""
        kept = self._keep(key)
        for identity in identities:
            try:
                log.info("%s: deleting %s %s", key, identity.kind, identity.name)
                await self._kubernetes.delete_object(identity.kind, key.namespace, identity.name)
                kept.applied.pop(identity, None)
                kept.refused.pop(identity, None)
            except ApiFault as fault:
                if fault.may_pass:
                    raise NotYet(f"cannot delete {identity.kind} {identity.name}: {fault.message}") from fault
                log.warning("%s: %s %s stays: %s", key, identity.kind, identity.name, fault.message)

    async def apply(self, key: ServiceKey, seen: ClusterSeen, objects: Sequence[Manifest]) -> None:
        """Apply them in order. An object of somebody else is not touched: the next `observe` shows it."""
        kept = self._keep(key)
        for manifest in objects:
            identity, digest = ObjectId.of(manifest), encode_json(manifest)
            known, at = kept.applied.get(identity, ("", 0.0))
            is_fresh = digest == known and self._monotonic() - at < AGAIN_S
            if is_fresh and (identity in seen.objects or identity in kept.refused):
                continue
            try:
                kept.applied[identity] = (digest, self._monotonic())
                if identity not in seen.objects and await self._is_foreign(key, identity):
                    return
                log.info("%s: applying %s %s", key, identity.kind, identity.name)
                await self._kubernetes.apply_object(manifest)
                kept.refused.pop(identity, None)
            except ApiFault as fault:
                if fault.may_pass:
                    kept.applied.pop(identity, None)
                    raise NotYet(f"cannot apply {identity.kind} {identity.name}: {fault.message}") from fault
                log.warning("%s: %s %s was refused: %s", key, identity.kind, identity.name, fault.message)
                kept.refused[identity] = fault.message

    async def create_token(self, service: ServiceSeen) -> None:
        """Create the Secret under the name that KubeRay looks for; one that is there stays as it is.

        Raises:
            NotYet: One is there that may be an earlier service's, about to be collected; or the API server is away.
        """
        key, kept = service.key, self._keep(service.key)
        identity = ObjectId("Secret", names.ray_cluster(key))
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": Owner(key, service.uid).metadata(identity.name),
            "type": "Opaque",
            "immutable": True,
            "stringData": {"auth_token": self._tokens.token_of(key, service.uid)},
        }
        try:
            await self._kubernetes.create_object(manifest)
            kept.refused.pop(identity, None)
            kept.secret_made = True
        except ApiFault as fault:
            if fault.is_conflict:
                return self._take_standing_secret(kept, identity)
            if fault.may_pass:
                raise NotYet(f"cannot create the Secret {identity.name}: {fault.message}") from fault
            kept.refused[identity] = fault.message

    def forget(self, key: ServiceKey) -> None:
        """Drop what is kept about a service that is gone."""
        self._kept.pop(key, None)

    def _keep(self, key: ServiceKey) -> "_Kept":
        return self._kept.setdefault(key, _Kept())

    def _take_standing_secret(self, kept: "_Kept", identity: ObjectId) -> None:
        """It may not be read; ours stays, an earlier service's vanishes within seconds."""
        if kept.secret_made:
            return
        now = self._monotonic()
        kept.secret_seen_at = now if kept.secret_seen_at is None else kept.secret_seen_at
        if now - kept.secret_seen_at < SECRET_GONE_WITHIN_S:
            raise NotYet(f"the Secret {identity.name} is there already; it may be about to go", delay_s=2.0)
        kept.secret_made = True

    async def _is_foreign(self, key: ServiceKey, identity: ObjectId) -> bool:
        found = await self._kubernetes.get_object(identity.kind, key.namespace, identity.name)
        if found is None:
            return False
        self._keep(key).foreign[identity] = found
        return True

    async def _still_foreign(self, key: ServiceKey) -> dict[ObjectId, Manifest]:
        """Others' objects under our names; looked at again, so that it heals when they go."""
        kept = self._keep(key)
        known, kept.foreign = kept.foreign, {}
        for identity in known:
            await self._is_foreign(key, identity)
        return dict(kept.foreign)


def _ours(key: ServiceKey) -> dict[str, str]:
    return {labels.SERVICE: key.name, labels.MANAGED_BY: labels.COMPONENT}


@dataclass(slots=True)
class _Optional:
    """What was found of the optional kinds."""

    objects: dict[ObjectId, Manifest] = field(default_factory=dict)
    refused: dict[ObjectId, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Kept:
    """What is remembered about one service."""

    applied: dict[ObjectId, tuple[str, float]] = field(default_factory=dict)
    """The manifest that was applied last, and when."""
    refused: dict[ObjectId, str] = field(default_factory=dict)
    foreign: dict[ObjectId, Manifest] = field(default_factory=dict)
    secret_made: bool = False
    secret_seen_at: float | None = None


def see_pod(pod: Mapping[str, Any]) -> PodSeen:
    """One pod as the plan reads it."""
    meta, status = pod["metadata"], pod.get("status", {})
    trouble, detail = _pod_trouble(status)
    return PodSeen(
        name=meta["name"],
        group=str(meta.get("labels", {}).get("ray.io/group", "")),
        phase=str(status.get("phase", "")),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        node=pod.get("spec", {}).get("nodeName"),
        address=status.get("podIP"),
        trouble=trouble,
        detail=detail,
        deleting="deletionTimestamp" in meta,
    )


_NO_TROUBLE = ("ContainerCreating", "PodInitializing")


def _pod_trouble(status: Mapping[str, Any]) -> tuple[str, str]:
    """Reason and sentence of what keeps a pod from running; empty while nothing does."""
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        waiting = container.get("state", {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason and reason not in _NO_TROUBLE:
            ended = container.get("lastState", {}).get("terminated") or {}
            last = f" (last ended with {ended.get('exitCode')}: {ended.get('reason')})" if ended else ""
            return reason, f"{waiting.get('message') or reason}{last}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "")
    if status.get("phase") == "Failed":
        return str(status.get("reason") or "Failed"), str(status.get("message") or "the pod has failed")
    return "", ""


def _trouble(fault: ApiFault) -> tuple[Reason, str]:
    if fault.is_gone:
        return Reason.KUBERAY_MISSING, "the API server knows no RayCluster"
    return Reason.KUBERNETES_REFUSED, fault.message
