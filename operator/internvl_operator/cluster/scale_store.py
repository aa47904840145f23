"""InternVLScales in a Kubernetes API server: seen by a watch, written by server-side apply.

Called by `reconcile.reconciler`. The watch asks nothing before the first service has a number that is not fixed.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.cluster.object_watch import ObjectWatch
from internvl_operator.errors import NotYet
from internvl_operator.plan.decision import ScaleErrand
from internvl_operator.plan.observation import ScalesSeen, ServiceSeen
from internvl_operator.render.cluster_objects import Manifest
from internvl_operator.render.serve_schema import encode_json

log = logging.getLogger(__name__)

AGAIN_S = 5.0
"""Before the same manifest is applied again: it was refused, or somebody undid it."""


class KubeScaleStore:
    """Reads and writes one service's InternVLScales at a time."""

    def __init__(self, kubernetes: Kubernetes, watch: ObjectWatch, *, monotonic: Callable[[], float]) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._monotonic = monotonic
        self._kept: dict[ServiceKey, _Kept] = {}

    async def observe(self, key: ServiceKey) -> ScalesSeen:
        """What stands now; from now on the service is woken when it changes.

        Raises:
            NotYet: They were not listed yet, or the API server is away.
        """
        self._watch.subscribe(key)
        try:
            objects = await self._watch.scales(key)
        except ApiFault as fault:
            if fault.may_pass:
                raise NotYet(
                    f"cannot read the InternVLScales of {key}: {fault.message}", delay_s=2.0
                ) from fault
            return ScalesSeen(trouble=_trouble(fault), is_readable=False)
        refused = self._kept.setdefault(key, _Kept()).refused
        return ScalesSeen(objects=objects, trouble="; ".join(refused[name] for name in sorted(refused)))

    async def carry_out(self, service: ServiceSeen, seen: ScalesSeen, errand: ScaleErrand) -> None:
        """Delete, apply, then write statuses. What is refused for good is told by the next `observe`.

        Raises:
            NotYet: The API server is away, or somebody undoes what is applied and it is too early to do it again.
        """
        key = service.key
        try:
            for name in errand.delete:
                log.info("%s: deleting %s %s", key, labels.SCALE_KIND, name)
                await self._kubernetes.delete_object(labels.SCALE_KIND, key.namespace, name)
            for manifest in errand.objects:
                await self._apply(service, seen, manifest)
            for manifest in errand.statuses:
                answer = await self._kubernetes.apply_object_status(manifest)
                self._watch.offer(labels.SCALE_KIND, answer)
        except ApiFault as fault:
            if (
                fault.may_pass or fault.is_gone
            ):  # gone: deleted a moment ago, and made anew by the next reconcile
                raise NotYet(f"cannot write the InternVLScales of {key}: {fault.message}") from fault
            log.warning("%s: an InternVLScale cannot be written: %s", key, fault.message)

    def forget(self, key: ServiceKey) -> None:
        """The service is gone, or its numbers are fixed."""
        self._watch.unsubscribe(key)
        self._kept.pop(key, None)

    async def _apply(self, service: ServiceSeen, seen: ScalesSeen, manifest: Manifest) -> None:
        key, name = service.key, manifest["metadata"]["name"]
        kept = self._kept.setdefault(key, _Kept())
        digest, now = hashlib.sha256(encode_json(manifest).encode()).digest(), self._monotonic()
        last, at = kept.applied.get(name, (b"", 0.0))
        if last == digest and now - at < AGAIN_S:
            raise NotYet(f"{labels.SCALE_KIND} {name} does not stay as it was applied", delay_s=AGAIN_S)
        kept.applied[name] = digest, now
        try:
            if name not in seen.objects and await self._is_foreign(service, name):
                kept.refused[name] = (
                    f"the {labels.SCALE_KIND} {name} exists and does not belong to this service; delete it, or give "
                    "this service another name"
                )
                return
            log.info("%s: applying %s %s", key, labels.SCALE_KIND, name)
            self._watch.offer(labels.SCALE_KIND, await self._kubernetes.apply_object(manifest))
            kept.refused.pop(name, None)
        except ApiFault as fault:
            if fault.may_pass:
                kept.applied.pop(name, None)
                raise
            log.warning("%s: %s %s was refused: %s", key, labels.SCALE_KIND, name, fault.message)
            kept.refused[name] = (
                f"{labels.SCALE_KIND} {name}: {fault.message.rstrip('. ')}; it is tried again"
            )

    async def _is_foreign(self, service: ServiceSeen, name: str) -> bool:
        """Whether somebody else's object has that name. One of ours that lost its label is not seen, but ours."""
        found = await self._kubernetes.get_object(labels.SCALE_KIND, service.key.namespace, name)
        owners = () if found is None else found["metadata"].get("ownerReferences") or ()
        return found is not None and all(owner["uid"] != service.uid for owner in owners)


def _trouble(fault: ApiFault) -> str:
    if fault.is_gone:
        return (
            f"the API server knows no {labels.SCALE_KIND}; install its definition (kubectl apply --server-side -f "
            "manifests/crds, or the chart's value crds.install)"
        )
    return f"{labels.SCALE_KIND}s cannot be read: {fault.message.rstrip('. ')}"


@dataclass(slots=True)
class _Kept:
    """What is remembered about one service."""

    applied: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """By name: a hash of what was applied last, and when."""
    refused: dict[str, str] = field(default_factory=dict)
    """By name: why the object does not stand as it should."""
