"""Is an installation on Kubernetes whole? Asked by `python -m internvl_operator --check`, which `helm test` runs.

It asks with the operator's own rights, and changes nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.pods import PodSettings
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.render.cluster_objects import Owner, render_ray_cluster
from internvl_operator.settings import Settings

WITHIN_S = 60.0
"""An operator that was just installed needs seconds to take the Lease."""
EVERY_S = 2.0
STALE_AFTER = 4.0
"""A Lease that was not renewed for so many of its durations is nobody's: clocks of nodes may differ a little."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What must be there, as the operator's settings say."""

    kubernetes: Kubernetes
    settings: Settings
    offer: PodSettings | None
    """How pods are made; None where no Ray cluster is made, and KubeRay is not needed."""

    async def missing(self, now: datetime) -> list[str]:
        """A sentence with its fix for each part that is not there; empty when all are."""
        found = [await self._kind(), await self._lease(now), await self._kuberay()]
        return [sentence for sentence in found if sentence]

    async def _kind(self) -> str:
        namespace = self.settings.namespaces[0] if self.settings.namespaces else None
        try:
            if await self.kubernetes.has_service_kind(namespace):
                return ""
        except ApiFault as fault:
            return f"InternVLServices cannot be listed: {fault.message}"
        return (
            "the kind InternVLService is not served: set crds.install, or kubectl apply -f its definition, then "
            "look at the events of the CRD"
        )

    async def _lease(self, now: datetime) -> str:
        name = f"the Lease {self.settings.lease_namespace}/{self.settings.lease_name}"
        try:
            lease = await self.kubernetes.read_lease(self.settings.lease_namespace, self.settings.lease_name)
        except ApiFault as fault:
            return f"{name} cannot be read: {fault.message}; see the operator's log"
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return f"nobody holds {name}; see whether the operator's pods run, and their log"
        age_s = (now - datetime.fromisoformat(str(spec["renewTime"]))).total_seconds()
        if age_s > STALE_AFTER * self.settings.lease_duration_s:
            return f"{name} was not renewed for {age_s:.0f} s by {spec['holderIdentity']}; see its log"
        return ""

    async def _kuberay(self) -> str:
        """By a dry run of what a service would need: kind, schema, rights and admission all have their say."""
        if self.offer is None:
            return ""
        namespace = (*self.settings.namespaces, self.settings.lease_namespace)[0]
        owner = Owner(ServiceKey(namespace, "check"), "00000000-0000-0000-0000-000000000000")
        try:
            await self.kubernetes.apply_object(render_ray_cluster(owner, self.offer, []), dry_run=True)
        except ApiFault as fault:
            reason = Reason.KUBERNETES_REFUSED
            if fault.is_gone:
                reason = Reason.KUBERAY_MISSING
            elif fault.is_undeclared:
                reason = Reason.KUBERAY_TOO_OLD
            return f"{reason}: {reason.meaning} {reason.action} ({fault.message})"
        return ""


async def wait_for_installation(
    installation: Installation,
    say: Callable[[str], None],
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[object]],
    within_s: float = WITHIN_S,
) -> bool:
    """Ask until nothing is missing or the time is over; says the outcome, or what is still missing."""
    until = now().timestamp() + within_s
    while missing := await installation.missing(now()):
        if now().timestamp() >= until:
            for sentence in missing:
                say(f"missing: {sentence}")
            return False
        await sleep(EVERY_S)
    parts = "the kind is served, the Lease is held"
    say(f"ok: {parts}" + (", KubeRay's kind takes our clusters" if installation.offer else ""))
    return True
