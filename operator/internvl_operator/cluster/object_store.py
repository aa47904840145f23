"""The Kubernetes objects of services with a Ray cluster of their own: read by label, written by server-side apply.

Called by `reconcile.reconciler`. Secrets are created and never read.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import ClusterSeen, PodSeen, ServiceSeen
from internvl_operator.render.cluster_objects import Manifest, ObjectId, Owner

log = logging.getLogger(__name__)

KINDS = ("RayCluster", "Service", "PodDisruptionBudget", "NetworkPolicy")
"""What a service consists of, Secrets apart."""


class KubeObjectStore:
    """Reads and writes one service's objects at a time."""

    def __init__(self, kubernetes: Kubernetes, tokens: Tokens) -> None:
        self._kubernetes = kubernetes
        self._tokens = tokens
        self._refused: dict[ServiceKey, tuple[Reason, str]] = {}
        self._foreign: dict[ServiceKey, dict[ObjectId, Manifest]] = {}

    async def observe(self, key: ServiceKey) -> ClusterSeen:
        """What stands now; `NotYet` while the API server is away."""
        objects: dict[ObjectId, Manifest] = {}
        try:
            for kind in KINDS:
                selector = {labels.SERVICE: key.name, labels.MANAGED_BY: labels.COMPONENT}
                for found in await self._kubernetes.list_objects(kind, key.namespace, selector):
                    objects[ObjectId(kind, found["metadata"]["name"])] = found
            cluster = {"ray.io/cluster": names.ray_cluster(key)}
            pods = await self._kubernetes.list_objects("Pod", key.namespace, cluster)
        except ApiFault as fault:
            if fault.may_pass:
                raise NotYet(f"cannot read the objects of {key}: {fault.message}", delay_s=2.0) from fault
            return ClusterSeen(objects={}, trouble=_trouble(fault))
        objects |= await self._still_foreign(key)
        return ClusterSeen(
            objects=objects, pods=tuple(see_pod(pod) for pod in pods), trouble=self._refused.get(key)
        )

    async def apply(self, key: ServiceKey, seen: ClusterSeen, objects: Sequence[Manifest]) -> None:
        """Apply them in order. An object of somebody else is not touched: the next `observe` shows it."""
        self._refused.pop(key, None)
        for manifest in objects:
            identity = ObjectId.of(manifest)
            try:
                if identity not in seen.objects and await self._is_foreign(key, identity):
                    return
                log.info("%s: applying %s %s", key, identity.kind, identity.name)
                await self._kubernetes.apply_object(manifest)
            except ApiFault as fault:
                if fault.may_pass:
                    raise NotYet(f"cannot apply {identity.kind} {identity.name}: {fault.message}") from fault
                log.warning("%s: %s %s was refused: %s", key, identity.kind, identity.name, fault.message)
                self._refused[key] = (
                    Reason.KUBERNETES_REFUSED,
                    f"{identity.kind} {identity.name}: {fault.message}",
                )

    async def create_token(self, service: ServiceSeen) -> None:
        """Create the Secret under the name that KubeRay looks for; one that is there stays as it is."""
        key = service.key
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": Owner(key, service.uid).metadata(names.ray_cluster(key)),
            "type": "Opaque",
            "immutable": True,
            "stringData": {"auth_token": self._tokens.token_of(key)},
        }
        try:
            await self._kubernetes.create_object(manifest)
        except ApiFault as fault:
            if fault.is_conflict:
                return
            if fault.may_pass:
                raise NotYet(f"cannot create the Secret {names.ray_cluster(key)}: {fault.message}") from fault
            self._refused[key] = (
                Reason.KUBERNETES_REFUSED,
                f"Secret {names.ray_cluster(key)}: {fault.message}",
            )

    def forget(self, key: ServiceKey) -> None:
        """Drop what is kept about a service that is gone."""
        self._refused.pop(key, None)
        self._foreign.pop(key, None)

    async def _is_foreign(self, key: ServiceKey, identity: ObjectId) -> bool:
        found = await self._kubernetes.get_object(identity.kind, key.namespace, identity.name)
        if found is None:
            return False
        self._foreign.setdefault(key, {})[identity] = found
        return True

    async def _still_foreign(self, key: ServiceKey) -> dict[ObjectId, Manifest]:
        """Others' objects under our names; looked at again, so that it heals when they go."""
        known = self._foreign.pop(key, {})
        for identity in known:
            await self._is_foreign(key, identity)
        return dict(self._foreign.get(key, {}))


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
