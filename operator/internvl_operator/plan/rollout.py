"""How far a change of model, or of pods, is: decided anew each time, from what Serve and Kubernetes show.

The new model starts in a stand-in: two applications of other names, beside the service's own, which stay as they
are. When the stand-in has passed a probe, the service's own sides get the new model; requests that they refuse
meanwhile go to the stand-in (`internvl_runtimes.deployments.gateway`). When they have passed the probe themselves,
the stand-in goes. Where there is no room for both, or nothing that answers could be lost, the service's own sides get
the new model at once, and requests wait.

Serve is told of new pods only when they run: an image that does not exist then touches nothing that answers.

The status is read for two things that Serve cannot show: since when, and that a rollout was given up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import InternVLServiceSpec, RolloutStrategy
from internvl_operator.api.status import RolloutStage, RolloutStatus
from internvl_operator.plan import cluster_checks, failures
from internvl_operator.plan.findings import Finding, progress
from internvl_operator.plan.footing import group_of
from internvl_operator.plan.observation import Observation
from internvl_operator.plan.standing import Standing

ROOM_WITHIN_S = 30.0
"""A scheduler has found room by then, or there is none."""


_BESIDE = (RolloutStage.PODS, RolloutStage.BESIDE, RolloutStage.STOPPED)
"""The service's own applications stay as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One change of model, of pods or of the head. Own: the service's own applications."""

    stage: RolloutStage
    since: datetime
    message: str
    head: str | None = None
    """Hash of the head that is rolled out (`plan.moving`); None: the Ray cluster stays."""
    is_held: bool = False
    """The whole Ray cluster stays as it is, because another one is to take its place."""
    trouble: Finding | None = None
    """What is wrong with that other one."""
    due_in_s: float | None = None
    """Seconds until time alone changes the stage."""
    pods: Mapping[Role, Finding] = field(default_factory=dict)
    """What new pods are waited for."""

    @property
    def keeps_own(self) -> bool:
        """The service's own applications stay as they are."""
        return self.is_held or self.stage in _BESIDE

    @property
    def is_waiting(self) -> bool:
        """Nothing that is wanted is written: new pods or another Ray cluster do not run, or it was given up."""
        return self.is_held or self.stage in (RolloutStage.PODS, RolloutStage.STOPPED)

    @property
    def has_stand_in(self) -> bool:
        """The stand-in is wanted."""
        return self.stage in (RolloutStage.BESIDE, RolloutStage.HANDOVER)

    @property
    def finding(self) -> Finding:
        """The stage as a finding."""
        if self.stage is RolloutStage.STOPPED:
            return Finding(reason=Reason.ROLLOUT_DEADLINE_EXCEEDED, message=self.message)
        return progress(Reason.ROLLING_OUT, self.message)


def decide(observation: Observation, own: Standing, beside: Standing) -> Rollout | None:
    """The stage of the rollout; None when none is under way."""
    service, now = observation.service, observation.now
    spec, known = service.spec, _known(observation)
    assert spec is not None  # `spec_invalid` speaks before
    since = now.replace(microsecond=0) if known is None else known.since

    def at(stage: RolloutStage, message: str, due_in_s: float | None = None) -> Rollout:
        message = failures.shorten(message)
        return Rollout(stage=stage, since=since, message=message, due_in_s=due_in_s)

    # Once begun, a rollout beside goes on as such: a replica that dies meanwhile is no reason to put what has not
    # proved itself in its place.
    protects = own.runs or (known is not None and known.stage in _BESIDE)
    protects = protects and not observation.is_beside  # clients are not sent there yet
    handover = "the new model answers from a stand-in, until the service's own replicas have loaded it"
    holds_on = "an earlier edit's model answers from a stand-in, until the service's own replicas have loaded the last"
    is_held = _was_handed_over(observation) and beside.has_replicas and not own.runs
    if not own.is_written or own.models() == own.wanted_models:
        if own.is_proven:
            return None
        if beside.models() == own.wanted_models and beside.has_replicas:
            return at(RolloutStage.HANDOVER, handover)
        if is_held:
            return at(RolloutStage.HANDOVER, holds_on)
        if known is not None and known.stage is RolloutStage.IN_PLACE:
            return at(RolloutStage.IN_PLACE, known.message)
        pods = _missing_pods(observation, own)
        has_nothing_to_lose = not protects or not own.is_written  # a head that died took the old ones along
        if not pods or has_nothing_to_lose or spec.rollout.strategy is RolloutStrategy.IN_PLACE:
            return None
        if known is not None and known.stage is RolloutStage.STOPPED:
            return at(RolloutStage.STOPPED, known.message)
        return _pods(pods, spec, (now - since).total_seconds(), at)
    if is_held:
        return at(RolloutStage.HANDOVER, holds_on)
    if spec.rollout.strategy is RolloutStrategy.IN_PLACE:
        return at(RolloutStage.IN_PLACE, "the replicas load the new model, as spec.rollout.strategy says")
    if not protects:
        return at(
            RolloutStage.IN_PLACE, "the replicas load the new model, because not all of them were settled"
        )
    if known is not None and known.stage is RolloutStage.STOPPED:
        return at(RolloutStage.STOPPED, known.message)
    if beside.is_proven:
        return at(RolloutStage.HANDOVER, handover)
    return _beside(beside, spec, (now - since).total_seconds(), at)


def _missing_pods(observation: Observation, own: Standing) -> dict[Role, Finding]:
    """Roles that are to move to another worker group, whose pods do not all run yet."""
    cluster, name = observation.cluster, names.ray_cluster(observation.service.key, observation.house)
    missing: dict[Role, Finding] = {}
    for view in own.views:
        group = group_of(view.wanted.to_mapping())
        if cluster is None or group is None or group == group_of(view.deployed_entry):
            continue
        running = sum(
            pod.group == group and pod.phase == "Running" and not pod.deleting and not pod.trouble
            for pod in cluster.pods
        )
        if running < view.wanted.num_replicas:
            waiting = f"{view.role}: {running} of {view.wanted.num_replicas} new pods run"
            missing[view.role] = (
                cluster_checks.role_pods_in_trouble(cluster, group, view.role)
                or cluster_checks.pods_refused(cluster, name, view.role)
                or progress(Reason.ROLLING_OUT, waiting, view.role)
            )
    return missing


def _pods(
    missing: Mapping[Role, Finding], spec: InternVLServiceSpec, past_s: float, at: Callable[..., Rollout]
) -> Rollout:
    obstacle = next((item for item in missing.values() if item.is_failure), next(iter(missing.values())))
    left_s = spec.rollout.deadline_s - past_s
    if left_s <= 0:
        return at(
            RolloutStage.STOPPED,
            f"the new pods did not start beside the old ones within {spec.rollout.deadline}, and were stopped; the "
            f"old ones go on answering; edit the spec to try again. Last: {obstacle.message}",
        )
    way_out = ""
    if obstacle.reason is Reason.INSUFFICIENT_RESOURCES:
        way_out = "; with spec.rollout.strategy InPlace an old pod goes before the new one comes"
    found = at(RolloutStage.PODS, f"new pods start beside the old ones: {obstacle.message}{way_out}", left_s)
    return replace(found, pods=missing)


def _beside(
    beside: Standing, spec: InternVLServiceSpec, past_s: float, at: Callable[..., Rollout]
) -> Rollout:
    obstacle = _obstacle(beside)
    left_s = spec.rollout.deadline_s - past_s
    if left_s <= 0:
        return at(
            RolloutStage.STOPPED,
            f"the new model did not start beside the old one within {spec.rollout.deadline}, and was stopped; the "
            f"old one goes on answering; edit the spec to try again. Last: {obstacle.message}",
        )
    if (
        obstacle.reason is not Reason.INSUFFICIENT_RESOURCES
        or spec.rollout.strategy is RolloutStrategy.BESIDE
    ):
        return at(RolloutStage.BESIDE, f"the new model starts beside the old one: {obstacle.message}", left_s)
    if past_s >= ROOM_WITHIN_S:
        return at(
            RolloutStage.IN_PLACE,
            f"the replicas load the new model, because there is no room for it beside the old one: "
            f"{obstacle.message}",
        )
    wait_s = min(left_s, ROOM_WITHIN_S - past_s)
    return at(RolloutStage.BESIDE, f"the new model waits for room: {obstacle.message}", wait_s)


def _obstacle(beside: Standing) -> Finding:
    """What stands before the stand-in's readiness: a failure if there is one."""
    verdict = None if beside.verdict is None else beside.verdict.finding
    found = [*beside.role_findings.values(), *([] if verdict is None else [verdict])]
    failed = [item for item in found if item.is_failure]
    started = progress(Reason.DEPLOYING, "its probe has not been asked yet")
    return next(iter([*failed, *found]), started)


def _was_handed_over(observation: Observation) -> bool:
    """Whether a stand-in that had passed its probe answered, for this spec or for one before."""
    status = observation.service.status
    return status is not None and status.rollout is not None and status.rollout.stage is RolloutStage.HANDOVER


def _known(observation: Observation) -> RolloutStatus | None:
    """What was reported about the rollout of this very spec. A time that is yet to come is none: a clock was set."""
    status = observation.service.status
    rollout = None if status is None else status.rollout
    if rollout is None or rollout.generation != observation.service.generation or rollout.head is not None:
        return None
    return rollout if rollout.since <= observation.now else None
