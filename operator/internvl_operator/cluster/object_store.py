"""The Kubernetes objects of services with a Ray cluster of their own: seen by watches, written by server-side apply.

Called by `reconcile.reconciler`. Secrets are created and never read.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.cluster.object_watch import ObjectWatch
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import ClusterSeen, ServiceSeen
from internvl_operator.render import optional_objects
from internvl_operator.render.cluster_objects import Manifest, ObjectId, Owner
from internvl_operator.render.serve_schema import encode_json

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Before the same manifest is applied again: it was refused, did not take, or somebody undid it. The pause doubles."""
SECRET_GONE_WITHIN_S = 30.0
"""How long a Secret of an earlier service of the same name may take to be collected."""


class KubeObjectStore:
    """Reads and writes one service's objects at a time."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        watch: ObjectWatch,
        tokens: Tokens,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._tokens = tokens
        self._monotonic = monotonic
        self._kept: dict[ServiceKey, _Kept] = {}

    async def observe(self, key: ServiceKey) -> ClusterSeen:
        """What stands now, as the watches have it; `NotYet` until they have listed, and while the API server is away."""
        self._watch.subscribe(key)
        try:
            await self._watch.listed(key)
            objects = dict(self._watch.objects(key))
            optional = await self._find_optional(key, objects)
            objects |= await self._still_foreign(key)
        except ApiFault as fault:
            if fault.may_pass:
                raise NotYet(f"cannot read the objects of {key}: {fault.message}", delay_s=2.0) from fault
            return ClusterSeen(objects={}, trouble=_trouble(fault))
        return ClusterSeen(
            objects=objects,
            pods=self._watch.pods(key),
            refused=dict(self._keep(key).refused),
            undeclared=frozenset(self._keep(key).undeclared),
            missing_kinds=frozenset(optional.missing),
            unreadable_kinds=optional.unreadable,
        )

    async def _find_optional(self, key: ServiceKey, objects: dict[ObjectId, Manifest]) -> "_Optional":
        """Add objects of the kinds that the front Service announces. A kind that cannot be read disturbs no other."""
        found = _Optional()
        front = objects.get(ObjectId("Service", names.front(key)), {})
        for kind in optional_objects.announced_kinds(front) or ():
            try:
                objects |= await self._watch.optional_objects(key, kind)
            except ApiFault as fault:
                if fault.is_gone:
                    found.missing.add(kind)
                else:
                    found.unreadable[kind] = fault.message
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
                kept.refused[identity] = fault.message

    async def apply(self, key: ServiceKey, seen: ClusterSeen, objects: Sequence[Manifest]) -> None:
        """Apply them in order. An object of somebody else is not touched: the next `observe` shows it.

        Raises:
            NotYet: The API server is away, or somebody undoes what is applied and it is too early to do it again.
        """
        kept, held_up = self._keep(key), None
        for manifest in objects:
            identity = ObjectId.of(manifest)
            digest = hashlib.sha256(encode_json(manifest).encode()).digest()
            applied = kept.applied.get(identity)
            wait_s = 0.0 if applied is None else applied.wait_s(digest, self._monotonic())
            if wait_s > 0 and identity in kept.refused:
                continue
            # A deleted object comes back at once; one that is deleted again and again, ever more slowly.
            is_first = applied is None or applied.pause_s == FIRST_PAUSE_S
            if wait_s > 0 and (identity in seen.objects or not is_first):
                what = f"{identity.kind} {identity.name}"
                held_up = NotYet(f"{what} does not stay as it was applied; tried again", delay_s=wait_s)
                continue
            try:
                kept.applied[identity] = _Applied.after(applied, digest, self._monotonic())
                if identity not in seen.objects and await self._is_foreign(key, identity, _owners(manifest)):
                    return
                log.info("%s: applying %s %s", key, identity.kind, identity.name)
                answer = await self._kubernetes.apply_object(manifest)
                self._watch.offer(identity.kind, answer)
                kept.refused.pop(identity, None)
                kept.undeclared.discard(identity)
            except ApiFault as fault:
                if fault.may_pass:
                    kept.applied.pop(identity, None)
                    raise NotYet(f"cannot apply {identity.kind} {identity.name}: {fault.message}") from fault
                log.warning("%s: %s %s was refused: %s", key, identity.kind, identity.name, fault.message)
                kept.refused[identity] = fault.message
                if fault.is_undeclared:
                    kept.undeclared.add(identity)
        if held_up is not None:
            raise held_up

    async def create_token(self, service: ServiceSeen, house: House) -> None:
        """Create the Secret under the name that KubeRay looks for; one that is there stays as it is.

        Raises:
            NotYet: One is there that may be an earlier service's, about to be collected; or the API server is away.
        """
        key, kept = service.key, self._keep(service.key)
        identity = ObjectId("Secret", names.ray_cluster(key, house))
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
            kept.secrets_made.add(identity)
        except ApiFault as fault:
            if fault.is_conflict:
                return self._take_standing_secret(kept, identity)
            if fault.may_pass:
                raise NotYet(f"cannot create the Secret {identity.name}: {fault.message}") from fault
            kept.refused[identity] = fault.message

    def forget(self, key: ServiceKey) -> None:
        """Drop what is kept about a service that is gone."""
        self._watch.unsubscribe(key)
        self._kept.pop(key, None)

    def _keep(self, key: ServiceKey) -> "_Kept":
        return self._kept.setdefault(key, _Kept())

    def _take_standing_secret(self, kept: "_Kept", identity: ObjectId) -> None:
        """It may not be read; ours stays, an earlier service's vanishes within seconds."""
        if identity in kept.secrets_made:
            return
        now = self._monotonic()
        seen_at = kept.secrets_seen_at.setdefault(identity, now)
        if now - seen_at < SECRET_GONE_WITHIN_S:
            raise NotYet(f"the Secret {identity.name} is there already; it may be about to go", delay_s=2.0)
        kept.secrets_made.add(identity)

    async def _is_foreign(self, key: ServiceKey, identity: ObjectId, owners: frozenset[str]) -> bool:
        """Whether somebody else's object has that name. One of ours that lost its label is not seen, but ours."""
        found = await self._kubernetes.get_object(identity.kind, key.namespace, identity.name)
        if found is None or _owners(found) & owners:
            return False
        self._keep(key).foreign[identity] = found
        return True

    async def _still_foreign(self, key: ServiceKey) -> dict[ObjectId, Manifest]:
        """Others' objects under our names; looked at again, so that it heals when they go."""
        kept = self._keep(key)
        known, kept.foreign = kept.foreign, {}
        for identity in known:
            await self._is_foreign(key, identity, frozenset())
        return dict(kept.foreign)


def _owners(found: Manifest) -> frozenset[str]:
    return frozenset(owner["uid"] for owner in found["metadata"].get("ownerReferences") or ())


@dataclass(slots=True)
class _Optional:
    """What is wrong with the optional kinds."""

    unreadable: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied last to an object, and how soon the same may be applied again."""

    digest: bytes
    at: float
    pause_s: float

    def wait_s(self, digest: bytes, now: float) -> float:
        """Seconds until this manifest may be applied; none for another one than the last."""
        return max(0.0, self.at + self.pause_s - now) if digest == self.digest else 0.0

    @classmethod
    def after(cls, last: "_Applied | None", digest: bytes, now: float) -> "_Applied":
        """Applied now. An object that stood for a while begins with the short pause again."""
        if last is None or digest != last.digest or now - last.at > 2 * LONGEST_PAUSE_S:
            return cls(digest, now, FIRST_PAUSE_S)
        return cls(digest, now, min(LONGEST_PAUSE_S, 2 * last.pause_s))


@dataclass(slots=True)
class _Kept:
    """What is remembered about one service."""

    applied: dict[ObjectId, "_Applied"] = field(default_factory=dict)
    refused: dict[ObjectId, str] = field(default_factory=dict)
    undeclared: set[ObjectId] = field(default_factory=set)
    foreign: dict[ObjectId, Manifest] = field(default_factory=dict)
    secrets_made: set[ObjectId] = field(default_factory=set)
    secrets_seen_at: dict[ObjectId, float] = field(default_factory=dict)


def _trouble(fault: ApiFault) -> tuple[Reason, str]:
    if fault.is_gone:
        return Reason.KUBERAY_MISSING, "the API server knows no RayCluster"
    return Reason.KUBERNETES_REFUSED, fault.message
