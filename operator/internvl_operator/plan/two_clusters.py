"""What is known of a service that has two Ray clusters of its own, or is to get the second. Called by `plan.moving`."""

from dataclasses import dataclass
from datetime import datetime

from internvl_operator.api.conditions import ConditionStatus, ConditionType
from internvl_operator.api.spec import RolloutSpec
from internvl_operator.api.status import Condition, RolloutStage, RolloutStatus
from internvl_operator.plan import failures
from internvl_operator.plan.cluster_checks import is_owned
from internvl_operator.plan.houses import HouseSeen, house_seen
from internvl_operator.plan.observation import Observation
from internvl_operator.plan.pauses import left_of_pause_s
from internvl_operator.plan.placing import ground_of, moved_at
from internvl_operator.plan.rollout import Rollout
from internvl_operator.render.cluster_objects import Front, Manifest, ObjectId, objects_of_house
from internvl_operator.render.heads import head_shape
from internvl_runtimes.contract import pods


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoClusters:
    """The cluster that clients are sent to, the other one, and the head that is wanted."""

    observation: Observation
    objects: dict[ObjectId, Manifest]
    """The service's own, but for those that are being deleted."""
    own: HouseSeen
    other: HouseSeen
    wanted: str
    """The head that is wanted."""
    known: RolloutStatus | None
    """What was reported about the rollout of this very head and spec."""
    spec: RolloutSpec
    turned_at: str | None
    """When clients were sent to another cluster."""

    @property
    def since(self) -> datetime:
        """When the rollout began; a time of waiting for one's turn does not count."""
        begins = self.known_at(RolloutStage.WAITING) is not None and not self.observation.others_move
        if self.known is None or begins:
            return self.observation.now.replace(microsecond=0)
        return self.known.since

    @property
    def stands_in_line(self) -> bool:
        """Whether others go first. Not for a move that has begun, nor where clients get no answer.

        Who was edited since he waits is being looked at, and goes.
        """
        status = self.observation.service.status
        said = None if status is None else status.rollout
        is_edited = said is not None and said.generation != self.observation.service.generation
        has_begun = self.other.remains or self.known_at(RolloutStage.CLUSTER) is not None
        has_begun = has_begun or self.known_at(RolloutStage.IN_PLACE) is not None
        return self.observation.others_move and self.is_ready and not is_edited and not has_begun

    @property
    def past_s(self) -> float:
        """For how long it has been under way."""
        return self._age_s(self.since)

    @property
    def crowded_s(self) -> float:
        """For how long a pod of the other cluster has been looking for room; 0 when none does."""
        since = [pod.unscheduled_since for pod in self.other.pods if pod.unscheduled_since is not None]
        if since:
            return self._age_s(min(since))
        return 0.0

    @property
    def draining_s(self) -> float:
        """How long requests that were sent to the other cluster may still be open there."""
        return self.left_after_turn_s(pods.DRAIN_S)

    def left_after_turn_s(self, pause_s: float) -> float:
        """What is left of a time that began when clients were sent to this cluster; 0 if they always were."""
        turned = _time(self.turned_at or "")
        return 0.0 if turned is None else left_of_pause_s(turned, pause_s, now=self.observation.now)

    @property
    def is_ready(self) -> bool:
        """Whether the service was last said to be Ready."""
        ready = self._ready
        return ready is not None and ready.status is ConditionStatus.TRUE

    @property
    def unready_s(self) -> float:
        """For how long the service has been said not to be Ready; 0 also while nothing was said."""
        ready = self._ready
        return 0.0 if ready is None or self.is_ready else self._age_s(ready.last_transition_time)

    @property
    def _ready(self) -> Condition | None:
        status = self.observation.service.status
        return None if status is None else status.condition(ConditionType.READY)

    def known_at(self, stage: RolloutStage) -> RolloutStatus | None:
        """What was reported, if it was that stage."""
        return self.known if self.known is not None and self.known.stage is stage else None

    def at(
        self, stage: RolloutStage, message: str, *, is_held: bool = True, due_in_s: float | None = None
    ) -> Rollout:
        """The rollout at that stage."""
        return Rollout(
            stage=stage,
            since=self.since,
            message=failures.shorten(message),
            head=self.wanted,
            is_held=is_held,
            due_in_s=due_in_s,
        )

    def turned(self) -> Front:
        """The front Service, sending clients to the other cluster from now on."""
        return Front(house=self.other.house, moved_at=self.observation.now.replace(microsecond=0).isoformat())

    def standing(self, house: HouseSeen, *kinds: str) -> tuple[ObjectId, ...]:
        """What stands of a cluster, of all kinds or some."""
        names = objects_of_house(self.observation.service.key, house.house)
        return tuple(name for name in names if name in self.objects and (not kinds or name.kind in kinds))

    def ending(self) -> tuple[ObjectId, ...]:
        """What is to be deleted for the other cluster to go: its guards stay until its pods are gone."""
        return self.standing(self.other, *(["RayCluster", "Service"] if self.other.remains else []))

    def _age_s(self, moment: datetime) -> float:
        return (self.observation.now - moment).total_seconds()


def two_clusters(observation: Observation) -> TwoClusters | None:
    """None where the service has no Ray cluster of its own, or where it cannot be told what is wanted."""
    service, offer, cluster = observation.service, observation.offer, observation.cluster
    if service.spec is None or offer is None or cluster is None or ground_of(observation) is None:
        return None
    wanted = head_shape(offer).digest
    return TwoClusters(
        observation=observation,
        objects={
            name: live
            for name, live in cluster.objects.items()
            if is_owned(live, uid=service.uid) and "deletionTimestamp" not in live["metadata"]
        },
        own=house_seen(cluster, service, observation.house),
        other=house_seen(cluster, service, observation.house.other),
        wanted=wanted,
        known=_known(observation, wanted),
        spec=service.spec.rollout,
        turned_at=moved_at(cluster, service.key),
    )


def _known(observation: Observation, wanted: str) -> RolloutStatus | None:
    service = observation.service
    found = None if service.status is None else service.status.rollout
    is_of_now = found is not None and found.head == wanted and found.generation == service.generation
    return found if found is not None and is_of_now and found.since <= observation.now else None


def _time(text: str) -> datetime | None:
    """A time that Kubernetes or we wrote; None for what somebody else made of it."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
