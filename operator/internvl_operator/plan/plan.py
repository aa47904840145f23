"""The decision of one reconcile: `plan(observation, settings) -> Plan`, pure and total.

Called by `reconcile.reconciler`, which gathers the observation and carries the plan out. Every state of the world has a
plan and a reason; the order of the checks is in `checks.py` and `assessment.py`.
"""

from collections.abc import Sequence

from internvl_operator.api.names import House, Role
from internvl_operator.api.status import RolloutStage
from internvl_operator.plan import (
    checks,
    cluster_checks,
    houses,
    moving,
    optional_objects,
    placing,
    replicas,
    scale_objects,
    scaling_status,
)
from internvl_operator.plan.assessment import Assessment, assess
from internvl_operator.plan.decision import (
    EventKind,
    EventNote,
    FinalizerChange,
    Plan,
    ProbeRequest,
)
from internvl_operator.plan.deletion import plan_deletion
from internvl_operator.plan.events import events_between
from internvl_operator.plan.findings import Finding
from internvl_operator.plan.footing import pods_of
from internvl_operator.plan.moving import Move
from internvl_operator.plan.observation import Observation, RaySeen
from internvl_operator.plan.pauses import WRITE_AGAIN_S, left_of_pause_s, write_pause_s
from internvl_operator.plan.placing import Ground
from internvl_operator.plan.probing import Outcome
from internvl_operator.plan.status import status_with_ray, status_without_ray
from internvl_operator.render.cluster_objects import Manifest, ObjectId
from internvl_operator.settings import Settings
from internvl_runtimes.contract import routes

__all__ = ["EventKind", "EventNote", "FinalizerChange", "Plan", "ProbeRequest", "plan"]


LOOK_AGAIN_S = 10.0
"""Pause before another look at objects or pods that are not well: some findings, and what was refused, wait for time."""


def plan(observation: Observation, settings: Settings) -> Plan:
    """Decide what to do about one service."""
    service = observation.service
    if service.deleting_since is not None:
        return plan_deletion(observation, service.deleting_since, settings)
    sized = replicas.sized(observation)
    move = moving.decide(sized, lambda seen: _plan_one(seen, settings, Move()))
    decided = moving.joined(_plan_one(houses.narrowed(sized), settings, move), move)
    return scale_objects.planned(scaling_status.reported(decided, observation), observation)


def _plan_one(observation: Observation, settings: Settings, move: Move) -> Plan:
    """The plan for one Ray cluster: as a rule the only one."""
    ray, finding = observation.ray, checks.world_finding(observation, settings)
    ground = placing.ground_of(observation)
    if finding is not None or not isinstance(ray, RaySeen):
        return _plan_without_ray(observation, ground, finding, settings, move)
    return _plan_with_ray(observation, ground, ray, settings, move)


def _plan_without_ray(
    observation: Observation, ground: Ground | None, finding: Finding | None, settings: Settings, move: Move
) -> Plan:
    assert finding is not None  # anything but RaySeen is a finding
    status = status_without_ray(observation, finding, move.rollout)
    objects = _objects(observation, ground, None, settings, move)
    return Plan(
        objects=objects,
        delete=_delete(observation, ground),
        create_token=_creates_token(observation, objects),
        status=status,
        events=events_between(observation.service.status, status),
        requeue_after_s=_look_again_s(observation) if finding.is_failure else settings.poll_interval_s,
        why=(f"{finding.reason}: {finding.message}",),
    )


def _plan_with_ray(
    observation: Observation, ground: Ground | None, ray: RaySeen, settings: Settings, move: Move
) -> Plan:
    service = observation.service
    assessment = assess(observation, ground, ray, settings, of_head=move.rollout, has_moved=move.has_moved)
    status = status_with_ray(observation, assessment, ray.address)
    probe, probe_in_s = _probe(observation, assessment, settings)
    held_s = write_pause_s(observation.write, now=observation.now)
    timers = [retry.due_in_s for retry in assessment.retries.values()]
    has_to_write = bool(assessment.differs or assessment.remove)
    timers += [probe_in_s, (held_s or WRITE_AGAIN_S) if has_to_write else None]
    timers.append(None if assessment.rollout is None else assessment.rollout.due_in_s)
    objects = _objects(observation, ground, assessment, settings, move)
    delete = _delete(observation, ground)
    is_open = objects or delete or assessment.objects is not None or assessment.obstacle is not None
    has_moving_pods = ground is not None and placing.is_moving(observation, ground)
    if has_moving_pods or is_open:
        timers.append(_look_again_s(observation))
    timers.append(
        LOOK_AGAIN_S if assessment.is_waking else None
    )  # one that gets no room says so after a while
    keeps = service.has_finalizer or observation.cluster is not None  # owner references need none
    return Plan(
        objects=objects,
        delete=delete,
        create_token=_creates_token(observation, objects),
        applications=assessment.applications,
        remove=assessment.remove,
        write=has_to_write and not held_s,
        finalizer=FinalizerChange.KEEP if keeps else FinalizerChange.ADD,
        probe=probe,
        status=status,
        events=events_between(service.status, status),
        requeue_after_s=min((timer for timer in timers if timer is not None), default=None),
        why=_why(assessment, probe),
    )


def _objects(
    observation: Observation,
    ground: Ground | None,
    assessment: Assessment | None,
    settings: Settings,
    move: Move,
) -> tuple[Manifest, ...]:
    """Kubernetes objects to apply; none where something stands in the way that they cannot cure."""
    if ground is None or cluster_checks.object_not_ours(observation, ground.cluster) is not None:
        return ()
    if cluster_checks.name_too_long(observation) is not None:
        return ()
    use = None if assessment is None else _use(assessment)
    wanted = placing.wanted_objects(
        observation, ground, use, settings, front=move.front, is_held=move.is_held
    )
    made = (item for item in wanted if not (move.waits and item["kind"] == "RayCluster"))
    return placing.differing(tuple(made), ground.cluster)


def _use(assessment: Assessment) -> placing.Use:
    """What pods are used for now, and needed for when everything that is decided here was written."""
    standing = {
        **assessment.footing.configs,
        **{item.name: item.to_mapping() for item in assessment.applications},
    }
    kept = (config for name, config in standing.items() if name not in assessment.remove)
    needed = pods_of(kept)
    if assessment.rollout is not None and assessment.rollout.stage is RolloutStage.PODS:
        needed |= pods_of(item.to_mapping() for item in assessment.own.applications)
    return placing.Use(footing=assessment.footing, needed=needed)


def _delete(observation: Observation, ground: Ground | None) -> tuple[ObjectId, ...]:
    return () if ground is None else optional_objects.unwanted(observation, ground.cluster)


def _creates_token(observation: Observation, objects: Sequence[Manifest]) -> tuple[House, ...]:
    cluster = observation.cluster
    is_made = cluster is not None and bool(objects or cluster.pods)
    is_wanted = cluster is not None and is_made and placing.is_secret_wanted(observation, cluster)
    return (observation.house,) if is_wanted else ()


def _look_again_s(observation: Observation) -> float | None:
    """While something is not well with a service's own pods it is looked at again; their changes wake it anyway."""
    return None if observation.cluster is None else LOOK_AGAIN_S


def _probe(
    observation: Observation, assessment: Assessment, settings: Settings
) -> tuple[ProbeRequest | None, float | None]:  # the request, and when to come back
    verdict, subject, seen = assessment.verdict, assessment.current.subject, observation.probe
    if verdict is None or subject is None or verdict.outcome is Outcome.PASSED:
        return None, None
    if Role.LANGUAGE in assessment.current.resting:
        return None, None  # it would start one
    if seen is not None and seen.subject == subject:
        again_s = left_of_pause_s(seen.at, settings.probe_retry_s, now=observation.now)
        if again_s > 0:
            return None, again_s
    route = routes.PROBE_WITHOUT_VISION if assessment.current.resting else routes.PROBE
    request = ProbeRequest(
        url=f"{assessment.current.url}{route}", subject=subject, timeout_s=settings.probe_timeout_s
    )
    return request, settings.probe_timeout_s


def _why(assessment: Assessment, probe: ProbeRequest | None) -> tuple[str, ...]:
    blocker, rollout = assessment.blocker, assessment.rollout
    lines = ["the service is Ready" if blocker is None else f"{blocker.reason}: {blocker.message}"]
    lines += [] if rollout is None else [f"rollout, {rollout.stage}: {rollout.message}"]
    lines += [f"{name} stands in for nothing any more: remove it" for name in assessment.remove]
    lines += [f"{name} differs from what Ray Serve holds: write it" for name in assessment.differs]
    lines += [
        f"{role} failed at {retry.failed_at}: attempt {retry.attempt}"
        for role, retry in assessment.retries.items()
        if retry.is_due
    ]
    lines += [] if probe is None else [f"probe {probe.url} about {probe.subject}"]
    return tuple(lines)
