"""One reconcile: observe -> plan -> apply -> report. The same with Kubernetes and with a file.

The order is such that the process may be killed after any line: the finalizer stands before anything is
written to Serve and goes last; the status is a report, and a memory only of what nobody else can show (of a
rollout: since when, to which head, and that it was given up or goes in place); a write that was lost is seen as
a difference by the next reconcile, one that was done is seen as none.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House
from internvl_operator.api.pods import PodSettings
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.plan.backend import Backend, RayHome, ray_home
from internvl_operator.plan.decision import Errand, FinalizerChange, Plan, ScaleErrand
from internvl_operator.plan.houses import current_house, house_seen
from internvl_operator.plan.observation import ClusterSeen, Observation, RaySeen, RaySide, ServiceSeen
from internvl_operator.plan.plan import plan
from internvl_operator.plan.scale_objects import may_stand
from internvl_operator.reconcile.ports import ObjectStore, RayFleet, ReplicaScaler, ScaleStore, ServiceStore
from internvl_operator.reconcile.turns import Turns
from internvl_operator.render.cluster_objects import ObjectId
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
        scaler: ReplicaScaler | None = None,
        scales: ScaleStore | None = None,
        fence: Callable[[], None] = lambda: None,  # raises NotYet when this process may not write
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._settings = settings
        self._now = now
        self._objects = objects
        self._offer = offer
        self._scaler = scaler
        self._scales = scales
        self._fence = fence
        self._turns = Turns(settings.moves_at_once, now=now)
        self._said: dict[ServiceKey, tuple[str, ...]] = {}
        self._told: dict[ServiceKey, ServiceSeen] = {}

    def tell(self, key: ServiceKey, service: ServiceSeen | None) -> None:
        """What a list has just brought of a service; None: only that it is to be read.

        The first decision about a service rests on that, without a read: after a start, a list has brought them all.
        Later ones rest on a read, because this process may have written what the watch has not told yet; so do those
        about a service that is being deleted, which may be gone.
        """
        if service is None or service.deleting_since is not None or key in self._said:
            self._told.pop(key, None)
        else:
            self._told[key] = service

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
        service = self._told.get(key) or await self._store.read(key)
        if service is None:
            self._forget(key)
            return None
        observation = await self._observe(service)
        if observation is None:
            return None
        if self._scales is not None and may_stand(service):
            observation = replace(observation, scales=await self._scales.observe(key))
        elif self._scales is not None:
            self._scales.forget(key)
        self._told.pop(key, None)
        decided = plan(observation, self._settings)
        self._turns.note(service, decided)
        self._explain(key, decided)
        self._fence()
        return await self._apply(observation, decided)

    async def _observe(self, service: ServiceSeen) -> Observation | None:
        """Everything that is known, or None while Ray was never asked: the first answer wakes us.

        A Ray cluster of the service's own must be made before it can answer; one whose head is ready can.
        """
        home = ray_home(service, self._settings)
        if home is not None and home.backend is Backend.KUBERAY and self._objects is not None:
            return self._ask_houses(service, await self._objects.observe(service.key))
        self._fleet.stay(service.key, () if home is None else (home,))
        seen = RaySide() if home is None else self._ask(service.key, home)
        if home is not None and seen.ray is None:
            return None
        return self._observation(service, seen, home)

    def _ask_houses(self, service: ServiceSeen, cluster: ClusterSeen) -> Observation | None:
        """The same where the service has a Ray cluster of its own, or two while its head changes."""
        house = current_house(service, cluster)
        asked = {one: house_seen(cluster, service, one) for one in (house, house.other)}
        homes = {
            one: home
            for one, standing in asked.items()
            if (one is house or standing.has_ready_head)
            and (home := ray_home(service, self._settings, one)) is not None
        }
        self._fleet.stay(service.key, homes.values())
        seen = {one: self._ask(service.key, home) for one, home in homes.items()}
        if any(asked[one].has_ready_head and found.ray is None for one, found in seen.items()):
            return None
        observation = self._observation(service, seen[house], homes[house])
        return replace(observation, cluster=cluster, house=house, beside=seen.get(house.other, RaySide()))

    def _ask(self, key: ServiceKey, home: RayHome) -> RaySide:
        """What is known of one address."""
        return RaySide(
            ray=self._fleet.snapshot(key, home),
            probe=self._fleet.probe_seen(key, home),
            write=self._fleet.write_seen(key, home),
        )

    def _observation(self, service: ServiceSeen, seen: RaySide, home: RayHome | None) -> Observation:
        scaling = None
        if self._scaler is not None and home is not None:
            scaling = self._scaler.follow(service, home)
        return Observation(
            service=service,
            ray=seen.ray,
            probe=seen.probe,
            write=seen.write,
            offer=self._offer,
            others_move=self._turns.are_taken(service.key),
            scaling=scaling,
            now=self._now(),
        )

    async def _apply(self, observation: Observation, decided: Plan) -> float | None:
        service, key = observation.service, observation.service.key
        held_up = await self._apply_objects(observation, decided)
        if decided.finalizer is FinalizerChange.ADD:
            await self._store.change_finalizer(service, decided.finalizer)
        errands = self._errands(observation, decided)
        for home, errand in errands:
            if errand.write:
                self._fleet.submit(key, home, errand.applications, errand.remove)
        held_up = await self._apply_scales(observation, decided) or held_up
        if decided.status != service.status:
            await self._store.write_status(service, decided.status)
        for note in decided.events:
            await self._store.emit_event(service, note)
        for home, errand in errands:
            if errand.probe is not None:
                self._fleet.probe(key, home, errand.probe)
        if decided.finalizer is FinalizerChange.REMOVE:
            writing = [home for home, _ in errands if self._fleet.is_writing(key, home)]
            if self._may_still_land(observation, is_writing=bool(writing)):
                for home in writing:
                    # Supersedes what waits, so that nothing of this service is written after it is gone.
                    self._fleet.submit(key, home, (), names.all_applications(key))
                return SETTLE_S
            await self._store.change_finalizer(service, decided.finalizer)
            self._forget(key)
        waits = (decided.requeue_after_s, None if held_up is None else held_up.delay_s)
        return min((wait for wait in waits if wait is not None), default=None)

    def _errands(self, observation: Observation, decided: Plan) -> list[tuple[RayHome, Errand]]:
        """What is asked of each Ray address."""
        wanted: dict[House, Errand | None] = {
            observation.house: decided,
            observation.house.other: decided.beside,
        }
        return [
            (home, errand)
            for house, errand in wanted.items()
            if errand is not None
            and (home := ray_home(observation.service, self._settings, house)) is not None
        ]

    async def _apply_objects(self, observation: Observation, decided: Plan) -> NotYet | None:
        """Kubernetes' part. What it cannot take now holds up neither the write to Ray nor the status.

        A token that cannot be made yet holds up its RayCluster, and nothing of another one.
        """
        if self._objects is None or observation.cluster is None:
            return None
        service, objects = observation.service, decided.objects
        held_up: NotYet | None = None
        try:
            for house in decided.create_token:
                name = ObjectId("RayCluster", names.ray_cluster(service.key, house))
                try:
                    await self._objects.create_token(service, house)
                except NotYet as fault:
                    held_up = fault
                    objects = tuple(item for item in objects if ObjectId.of(item) != name)
            if objects:
                await self._objects.apply(service.key, observation.cluster, objects)
            if decided.delete:
                await self._objects.delete(service.key, decided.delete)
        except NotYet as fault:
            held_up = fault
        if held_up is not None:
            log.warning("%s: %s", service.key, held_up)
        return held_up

    async def _apply_scales(self, observation: Observation, decided: Plan) -> NotYet | None:
        """What the API server cannot take now holds up nothing else."""
        if self._scales is None or observation.scales is None or decided.scales == ScaleErrand():
            return None
        try:
            await self._scales.carry_out(observation.service, observation.scales, decided.scales)
        except NotYet as fault:
            log.warning("%s: %s", observation.service.key, fault)
            return fault
        return None

    def _may_still_land(self, observation: Observation, *, is_writing: bool) -> bool:
        """Whether a write of this very process may put the applications into Serve after we looked.

        The plan sees Serve without them, but one of our PUTs is on its way, or broke off and was perhaps taken.
        """
        service, ray, write = observation.service, observation.ray, observation.write
        assert service.deleting_since is not None
        age_s = (observation.now - service.deleting_since).total_seconds()
        if age_s >= self._settings.deletion_deadline_s or not isinstance(ray, RaySeen):
            return False
        unsure = write is not None and write.error is not None and ray.at <= write.at
        return unsure or is_writing

    def _explain(self, key: ServiceKey, decided: Plan) -> None:
        if self._said.get(key) != decided.why:
            self._said[key] = decided.why
            log.info("%s: %s", key, " ".join(decided.why))

    def _forget(self, key: ServiceKey) -> None:
        self._said.pop(key, None)
        self._told.pop(key, None)
        self._turns.forget(key)
        if self._scaler is not None:
            self._scaler.forget(key)
        if self._scales is not None:
            self._scales.forget(key)
        self._fleet.release(key)
        if self._objects is not None:
            self._objects.forget(key)
