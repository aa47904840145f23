"""How a service goes over to another head: to a second Ray cluster, because KubeRay replaces no head.

The second cluster is made beside the first with all that is wanted, under the other of two fixed names. When it has
passed a probe, the front Service is turned to it; after a time for requests in flight the first one is deleted. Until
then the first one stays as it is. Where there is no room for both, or nothing that answers could be lost, the front is
turned at once, the first is deleted, and when its pods are gone the second is made.

So the front Service says which cluster is current, and what is left to do follows from which clusters stand: an
operator that starts in the middle goes on. The status is read for what Kubernetes cannot show: since when, and that a
rollout was given up or goes in place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import RolloutStrategy
from internvl_operator.api.status import RolesStatus, RolloutStage, Status
from internvl_operator.plan import cluster_checks, failures
from internvl_operator.plan.decision import Plan
from internvl_operator.plan.findings import Finding
from internvl_operator.plan.houses import beside
from internvl_operator.plan.observation import Observation
from internvl_operator.plan.placing import role_of
from internvl_operator.plan.rollout import ROOM_WITHIN_S, Rollout
from internvl_operator.plan.two_clusters import TwoClusters, two_clusters
from internvl_operator.render.cluster_objects import Front, ObjectId
from internvl_runtimes.contract import pods

TURN_S = 30.0
"""Pause before a service that waits for its turn looks again."""
LOOK_S = 10.0
"""The same where a deletion has to be finished, or tried again."""
DEAD_S = 120.0
"""A cluster that has not answered for so long, and of which no replica is ready, is not worth protecting."""
TURN_BACK_S = 300.0
"""So long the cluster before is kept after its drain while the new one does not answer."""
UNTIL_IT_RUNS = "nothing answers until the new one runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What becomes of the two Ray clusters now. All at its defaults: there is one, and it is as it should be."""

    rollout: Rollout | None = None
    """What the status says about it."""
    front: Front | None = None
    """Turn the front Service there; None: it stays."""
    waits: bool = False
    """The current cluster is not made yet."""
    has_moved: bool = False
    """Clients were sent to the current cluster just now."""
    delete: tuple[ObjectId, ...] = ()
    beside: Plan | None = None
    """What is done about the second cluster."""

    @property
    def is_held(self) -> bool:
        """The current cluster stays as it is."""
        return self.rollout is not None and self.rollout.is_held


def decide(observation: Observation, plan_one: Callable[[Observation], Plan]) -> Move:
    """What becomes of the two clusters. `plan_one` plans for one of them by itself."""
    view = two_clusters(observation)
    if view is None:
        return Move()
    if view.own.live is None:
        return _make(view)
    if view.own.head in (None, view.wanted):
        return _settle(view)
    return _roll(view, plan_one)


def _make(view: TwoClusters) -> Move:
    """The current cluster is not there: it is new, was deleted, or is the second one of a rollout in place."""
    known = view.known_at(RolloutStage.IN_PLACE)
    if not view.other.remains:
        rollout = None if known is None else view.at(RolloutStage.IN_PLACE, known.message, is_held=False)
        return Move(rollout=rollout, delete=view.ending())
    if not view.other.is_leaving and view.other.head == view.wanted:
        message = "the Ray cluster that answered is gone, and the second one takes its place"
        return Move(rollout=view.at(RolloutStage.CLUSTER, message), front=view.turned())
    message = f"the Ray cluster before this one ends, and {UNTIL_IT_RUNS}" if known is None else known.message
    rollout = view.at(RolloutStage.IN_PLACE, message, is_held=False, due_in_s=LOOK_S)
    rollout = replace(rollout, trouble=_refused(view))
    return Move(rollout=rollout, waits=True, delete=view.ending())


def _settle(view: TwoClusters) -> Move:
    """The current cluster has the head that is wanted: another one is not needed any more."""
    spent = view.standing(view.own, "Service")  # it was probed by that before clients were sent to it
    if not view.other.remains:
        known = view.known_at(RolloutStage.IN_PLACE)
        rollout = None
        if known is not None and not view.is_ready:
            rollout = view.at(RolloutStage.IN_PLACE, known.message, is_held=False)
        return Move(rollout=rollout, delete=(*spent, *view.ending()))
    left_s, name = view.draining_s, names.ray_cluster(view.observation.service.key, view.other.house)
    if left_s > 0 and not view.other.is_leaving:
        message = f"the Ray cluster {name} answers what it was asked before, and then is deleted"
        rollout = view.at(RolloutStage.DRAINING, message, is_held=False, due_in_s=left_s)
        return Move(rollout=rollout, has_moved=True, delete=spent)
    kept_s = view.left_after_turn_s(pods.DRAIN_S + TURN_BACK_S)
    if not view.is_ready and kept_s > 0 and not view.other.is_leaving:
        message = f"the Ray cluster {name} is kept for a while, because the one that clients are sent to does not answer"
        rollout = view.at(RolloutStage.DRAINING, message, is_held=False, due_in_s=min(kept_s, LOOK_S))
        return Move(rollout=rollout, delete=spent)
    rollout = view.at(RolloutStage.DRAINING, f"the Ray cluster {name} ends", is_held=False, due_in_s=LOOK_S)
    rollout = replace(rollout, trouble=_refused(view))
    return Move(rollout=rollout, has_moved=left_s > 0, delete=(*spent, *view.ending()))


def _roll(view: TwoClusters, plan_one: Callable[[Observation], Plan]) -> Move:
    """The current cluster has another head than is wanted."""
    stopped = view.known_at(RolloutStage.STOPPED)
    if stopped is not None:
        return Move(rollout=view.at(RolloutStage.STOPPED, stopped.message), delete=view.ending())
    if view.stands_in_line:
        message = "another head is wanted; other services go over to theirs first, a few at a time"
        return Move(rollout=view.at(RolloutStage.WAITING, message, due_in_s=TURN_S))
    reason = _reason_in_place(view)
    if reason is not None and _has_it_already(view):
        message = "the other Ray cluster has the head that is wanted: clients are sent there"
        return Move(rollout=view.at(RolloutStage.CLUSTER, message), front=view.turned())
    if reason is not None:
        return _in_place(view, reason)
    if view.other.remains and (view.other.is_leaving or view.other.head != view.wanted):
        left_s = view.draining_s
        message = "another head is wanted; the second Ray cluster of an earlier change has to go first"
        rollout = view.at(RolloutStage.CLUSTER, message, due_in_s=left_s or None)
        return Move(rollout=rollout, delete=() if left_s > 0 else view.ending())
    return _beside(view, plan_one(beside(view.observation)))


def _has_it_already(view: TwoClusters) -> bool:
    """Whether the other cluster is the one to go to, and was not found to have no room."""
    is_other = not view.other.is_leaving and view.other.head == view.wanted
    return is_other and view.known_at(RolloutStage.IN_PLACE) is None


def _reason_in_place(view: TwoClusters) -> str | None:
    known = view.known_at(RolloutStage.IN_PLACE)
    if known is not None:
        return known.message
    what = "the Ray cluster is deleted and made anew with another head"
    if view.spec.strategy is RolloutStrategy.IN_PLACE:
        return f"{what}, as spec.rollout.strategy says; {UNTIL_IT_RUNS}"
    # Once begun, a rollout beside goes on as such.
    if _is_worth_keeping(view) or view.known_at(RolloutStage.CLUSTER) is not None:
        return None
    return f"{what}, because nothing of it has answered for {DEAD_S:.0f} s"


def _in_place(view: TwoClusters, reason: str) -> Move:
    """The front is turned first, and says from then on that the cluster before has to go."""
    rollout = view.at(RolloutStage.IN_PLACE, reason, due_in_s=LOOK_S)
    if view.other.remains:
        return Move(rollout=rollout, delete=view.ending())
    return Move(rollout=rollout, front=view.turned())


def _beside(view: TwoClusters, seen: Plan) -> Move:
    if _is_settled(seen):
        message = "the second Ray cluster has passed its probe: clients are sent there"
        return Move(rollout=view.at(RolloutStage.CLUSTER, message), front=view.turned())
    trouble, obstacle = _trouble(seen.status)
    left_s = view.spec.deadline_s - view.past_s
    if left_s <= 0 and seen.probe is None:  # an operator that was away for long asks first
        message = (
            f"the second Ray cluster did not become ready within {view.spec.deadline}, and was deleted; the first one "
            f"goes on answering; edit the spec or the head's values to try again. Last: {obstacle}"
        )
        return Move(rollout=view.at(RolloutStage.STOPPED, message), delete=view.ending())
    found = (cluster_checks.pod_finding(pod, "the second Ray cluster") for pod in view.other.pods)
    no_room = (item for item in found if item and item.reason is Reason.INSUFFICIENT_RESOURCES)
    crowded = next(no_room, None)
    message = f"a second Ray cluster with another head starts beside the one that answers: {obstacle}"
    is_alone = not view.observation.others_move  # or the room is what the others have now
    if crowded is not None and view.spec.strategy is RolloutStrategy.AUTO and is_alone:
        if view.crowded_s >= ROOM_WITHIN_S:
            return _in_place(
                view,
                "the Ray cluster is deleted and made anew with another head, because there is no room for a second "
                f"one beside it; {UNTIL_IT_RUNS}. Last: {crowded.message}",
            )
        left_s = min(left_s, ROOM_WITHIN_S - view.crowded_s)
    rollout = view.at(RolloutStage.CLUSTER, message, due_in_s=left_s if left_s > 0 else None)
    return Move(rollout=replace(rollout, trouble=trouble), beside=seen)


def joined(decided: Plan, move: Move) -> Plan:
    """The plan of the current cluster, and with it what is done about the other one."""
    timers = [decided.requeue_after_s, None if move.rollout is None else move.rollout.due_in_s]
    seen = move.beside
    if seen is None:
        return replace(decided, requeue_after_s=_first(timers), delete=(*decided.delete, *move.delete))
    return replace(
        decided,
        objects=(*decided.objects, *seen.objects),
        create_token=(*decided.create_token, *seen.create_token),
        delete=(*decided.delete, *move.delete),
        beside=seen,
        status=decided.status.model_copy(
            update={"roles": _with_retries(decided.status.roles, seen.status.roles)}
        ),
        requeue_after_s=_first([*timers, seen.requeue_after_s]),
        why=(*decided.why, *(f"the second Ray cluster: {sentence}" for sentence in seen.why)),
    )


def _with_retries(shown: RolesStatus, beside: RolesStatus) -> RolesStatus:
    """The roles of the cluster that answers; the retries are of the other one, because the first is left alone."""
    merged = {
        role.value: shown.of(role).model_copy(
            update={"failed_at": beside.of(role).failed_at, "attempt": beside.of(role).attempt}
        )
        for role in Role
    }
    return RolesStatus(**merged)


def _first(timers: list[float | None]) -> float | None:
    return min((timer for timer in timers if timer is not None), default=None)


def _is_worth_keeping(view: TwoClusters) -> bool:
    """Whether the current cluster has loaded replicas, or may have them again in a moment."""
    runs = any(role_of(pod.group) is not None and pod.ready for pod in view.own.pods)
    is_dead = not runs and view.unready_s >= DEAD_S
    return not is_dead or view.spec.strategy is RolloutStrategy.BESIDE


def _refused(view: TwoClusters) -> Finding | None:
    """What the API server refuses to delete of the other cluster."""
    cluster = view.observation.cluster
    refused = {} if cluster is None else cluster.refused
    for identity in view.ending():
        if identity in refused:
            message = f"{identity.kind} {identity.name} cannot be deleted: {refused[identity]}"
            return Finding(reason=Reason.KUBERNETES_REFUSED, message=failures.shorten(message))
    return None


def _is_settled(seen: Plan) -> bool:
    """Whether all that is wanted runs there and has passed its probe."""
    ready = seen.status.condition(ConditionType.READY)
    progressing = seen.status.condition(ConditionType.PROGRESSING)
    assert ready is not None and progressing is not None  # every plan speaks of both
    is_at_rest = progressing.reason is Reason.AS_DESIRED and not seen.objects and not seen.write
    return ready.status is ConditionStatus.TRUE and is_at_rest


def _trouble(status: Status) -> tuple[Finding | None, str]:
    """What is wrong there, and a sentence about what is waited for."""
    degraded, ready = status.condition(ConditionType.DEGRADED), status.condition(ConditionType.READY)
    progressing = status.condition(ConditionType.PROGRESSING)
    assert degraded is not None and ready is not None and progressing is not None
    if degraded.status is ConditionStatus.TRUE:
        message = failures.shorten(f"the second Ray cluster: {degraded.message}")
        return Finding(reason=degraded.reason, message=message), degraded.message
    is_ready = ready.status is ConditionStatus.TRUE
    return None, progressing.message if is_ready else ready.message
