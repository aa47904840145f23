"""One reconcile: observe -> plan -> apply -> report. The same with Kubernetes and with a file.

The order is such that the process may be killed after any line: the finalizer stands before anything is
written to Serve and goes last; the status is a report, and a memory of two things only that nobody else can
show (since when a rollout is under way, and that it was given up); a write that was lost is seen as a
difference by the next reconcile, one that was done is seen as none.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.pods import PodSettings
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.plan.backend import Backend, ray_home
from internvl_operator.plan.decision import FinalizerChange, Plan
from internvl_operator.plan.observation import Observation, RaySeen, ServiceSeen
from internvl_operator.plan.plan import plan
from internvl_operator.reconcile.ports import ObjectStore, RayFleet, ServiceStore
from internvl_operator.settings import Settings

log = logging.getLogger(__name__)

SETTLE_S = 0.5
"""Pause before looking again whether our last write has landed."""

REJECTED_RETRY_S = 30.0
"""Pause after the API server refused something for good: a right or a CRD may be repaired meanwhile."""


class Reconciler:
    """Reconciles one service at a time."""

    def __init__(
        self,
        store: ServiceStore,
        fleet: RayFleet,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        objects: ObjectStore | None = None,
        offer: PodSettings | None = None,
        fence: Callable[[], None] = lambda: None,  # raises NotYet when this process may not write
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._settings = settings
        self._now = now
        self._objects = objects
        self._offer = offer
        self._fence = fence
        self._said: dict[ServiceKey, tuple[str, ...]] = {}

    async def reconcile(self, key: ServiceKey) -> float | None:
        """Bring the world nearer to the object. Returns seconds until this is wanted again, or None."""
        try:
            return await self._reconcile(key)
        except NotYet as fault:
            log.warning("%s: %s", key, fault)
            return fault.delay_s
        except Rejected as fault:
            log.error("%s: %s", key, fault)
            return REJECTED_RETRY_S

    async def _reconcile(self, key: ServiceKey) -> float | None:
        service = await self._store.read(key)
        if service is None:
            self._forget(key)
            return None
        observation = await self._observe(service)
        if observation is None:
            return None
        decided = plan(observation, self._settings)
        self._explain(key, decided)
        self._fence()
        return await self._apply(observation, decided)

    async def _observe(self, service: ServiceSeen) -> Observation | None:
        """Everything that is known, or None while Ray was never asked: the first answer wakes us.

        A Ray cluster of the service's own must be made before it can answer; one whose head is ready can.
        """
        key = service.key
        home = ray_home(service, self._settings)
        ray = cluster = None
        if home is not None:
            ray = self._fleet.snapshot(key, home)
            if home.backend is Backend.KUBERAY and self._objects is not None:
                cluster = await self._objects.observe(key)
            is_made = cluster is None or (cluster.head is not None and cluster.head.ready)
            if ray is None and is_made:
                return None
        return Observation(
            service=service,
            ray=ray,
            probe=self._fleet.probe_seen(key),
            write=self._fleet.write_seen(key),
            cluster=cluster,
            offer=self._offer,
            now=self._now(),
        )

    async def _apply(self, observation: Observation, decided: Plan) -> float | None:
        service, key = observation.service, observation.service.key
        held_up = await self._apply_objects(observation, decided)
        if decided.finalizer is FinalizerChange.ADD:
            await self._store.change_finalizer(service, decided.finalizer)
        if decided.write:
            self._fleet.submit(key, decided.applications, decided.remove)
        if decided.status != service.status:
            await self._store.write_status(service, decided.status)
        for note in decided.events:
            await self._store.emit_event(service, note)
        if decided.probe is not None:
            self._fleet.probe(key, decided.probe)
        if decided.finalizer is FinalizerChange.REMOVE:
            if self._may_still_land(observation):
                if self._fleet.is_writing(key):
                    # Supersedes what waits, so that nothing of this service is written after it is gone.
                    self._fleet.submit(key, (), names.all_applications(key))
                return SETTLE_S
            await self._store.change_finalizer(service, decided.finalizer)
            self._forget(key)
        waits = (decided.requeue_after_s, None if held_up is None else held_up.delay_s)
        return min((wait for wait in waits if wait is not None), default=None)

    async def _apply_objects(self, observation: Observation, decided: Plan) -> NotYet | None:
        """Kubernetes' part. What it cannot take now holds up neither the write to Ray nor the status."""
        if self._objects is None or observation.cluster is None:
            return None
        try:
            if decided.create_token:
                await self._objects.create_token(observation.service)
            if decided.objects:
                await self._objects.apply(observation.service.key, observation.cluster, decided.objects)
            if decided.delete:
                await self._objects.delete(observation.service.key, decided.delete)
        except NotYet as fault:
            log.warning("%s: %s", observation.service.key, fault)
            return fault
        return None

    def _may_still_land(self, observation: Observation) -> bool:
        """Whether a write of this very process may put the applications into Serve after we looked.

        The plan sees Serve without them, but one of our PUTs is on its way, or broke off and was perhaps taken.
        """
        service, ray, write = observation.service, observation.ray, observation.write
        assert service.deleting_since is not None
        age_s = (observation.now - service.deleting_since).total_seconds()
        if age_s >= self._settings.deletion_deadline_s or not isinstance(ray, RaySeen):
            return False
        unsure = write is not None and write.error is not None and ray.at <= write.at
        return unsure or self._fleet.is_writing(service.key)

    def _explain(self, key: ServiceKey, decided: Plan) -> None:
        if self._said.get(key) != decided.why:
            self._said[key] = decided.why
            log.info("%s: %s", key, " ".join(decided.why))

    def _forget(self, key: ServiceKey) -> None:
        self._said.pop(key, None)
        self._fleet.release(key)
        if self._objects is not None:
            self._objects.forget(key)
