"""What is reported: the status of a service from what was found out. Equal findings give an equal status."""

from datetime import datetime

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import (
    FailureStatus,
    ModelStatus,
    ProbeStatus,
    RolesStatus,
    RoleStatus,
    RolloutStage,
    RolloutStatus,
    Status,
)
from internvl_operator.plan import checks, conditions
from internvl_operator.plan.assessment import Assessment
from internvl_operator.plan.conditions import Said
from internvl_operator.plan.findings import Finding
from internvl_operator.plan.observation import Observation, ProbeSeen
from internvl_operator.plan.probing import Outcome, answer_of
from internvl_operator.plan.rollout import Rollout
from internvl_operator.plan.serving import RoleView
from internvl_operator.scaling.model import SIDES
from internvl_operator.scaling.sentences import INPUT

ALL_RUN = "all replicas of the wanted generation run"
AT_ZERO = "no replica runs, because no {} comes; the next one starts one"
CHANGED_AT_ZERO = "; what was changed since {} was probed last is probed then"
NOTHING_MOVES = "nothing is under way"
NOTHING_WRONG = "nothing is wrong"


def status_without_ray(observation: Observation, finding: Finding, of_head: Rollout | None = None) -> Status:
    """The status while Ray cannot be worked with. What was known stays, what runs is unknown."""
    service, now = observation.service, observation.now
    old = service.status or Status()
    if finding.reason is Reason.NOT_OBSERVED and service.status is not None and not observation.is_beside:
        return service.status  # a restarted operator knows nothing better, and writes nothing
    unknown = conditions.unknown_for(finding)
    said = {
        ConditionType.READY: _blocked(finding, of_head) or unknown,
        ConditionType.PROGRESSING: _progressing(None if finding.is_failure else finding, finding),
        ConditionType.DEGRADED: _degraded(finding if finding.is_failure else None),
        ConditionType.VISION_READY: unknown,
        ConditionType.LANGUAGE_READY: unknown,
        ConditionType.PROBE_PASSED: unknown,
    }
    roles = RolesStatus(**{role.value: _unseen(old.roles.of(role), role, service.spec) for role in Role})
    return old.model_copy(
        update={
            "observed_generation": service.generation,
            "roles": roles,
            "model": _model(service.spec, old, None),
            "rollout": old.rollout if of_head is None else _rollout(of_head, service.generation),
            "last_failure": _last_failure(old, finding if finding.is_failure else None, now),
            "conditions": conditions.merge(service.status, said, generation=service.generation, now=now),
        }
    )


def _blocked(finding: Finding, of_head: Rollout | None) -> Said | None:
    """Why nothing can answer: something failed, or the Ray cluster was deleted for another head."""
    if finding.is_failure:
        return conditions.blocked_by(finding)
    is_outage = of_head is not None and of_head.stage is RolloutStage.IN_PLACE and not of_head.is_held
    return conditions.blocked_by(of_head.finding) if of_head is not None and is_outage else None


def status_with_ray(observation: Observation, assessment: Assessment, address: str) -> Status:
    """The status of a service whose Ray cluster answered."""
    service, now = observation.service, observation.now
    old = service.status or Status()
    answered = _passed_probe(observation, assessment)
    roles = {
        view.role.value: _seen(old.roles.of(view.role), view, assessment, service.spec, answered)
        for view in assessment.views
    }
    said = {
        ConditionType.READY: _ready(assessment),
        ConditionType.PROGRESSING: _progressing(assessment.movement, assessment.obstacle),
        ConditionType.DEGRADED: _degraded(assessment.degradation),
        **{kind: _role_ready(assessment, role) for role, kind in checks.CONDITIONS.items()},
        ConditionType.PROBE_PASSED: _probe_passed(assessment),
    }
    return Status(
        observed_generation=service.generation,
        url=assessment.url,
        ray_address=address,
        model=_model(service.spec, old, roles[Role.VISION.value].revision),
        roles=RolesStatus(**roles),
        probe=_probe(old, assessment, now),
        rollout=_rollout(assessment.rollout, service.generation),
        last_failure=_last_failure(old, assessment.degradation, now),
        conditions=conditions.merge(service.status, said, generation=service.generation, now=now),
    )


def status_while_deleting(observation: Observation, message: str) -> Status:
    """The last things said about a service."""
    service = observation.service
    old = service.status or Status()
    said = {
        ConditionType.READY: conditions.is_false(Reason.DELETING, message),
        ConditionType.PROGRESSING: conditions.is_true(Reason.DELETING, message),
    }
    merged = conditions.merge(service.status, said, generation=service.generation, now=observation.now)
    return old.model_copy(update={"observed_generation": service.generation, "conditions": merged})


def _ready(assessment: Assessment) -> Said:
    if assessment.blocker is not None:
        return conditions.blocked_by(assessment.blocker)
    how = ""
    if assessment.is_covered:
        how = ", with the configuration before"
    elif assessment.is_waking:
        starting = [view.role for view in assessment.waiting]
        starts, them = ("starts", "it") if len(starting) == 1 else ("start", "them")
        how = f"; {' and '.join(starting)} {starts} again, and {INPUT[starting[-1]]}s wait for {them}"
    elif assessment.resting == SIDES:
        how = "; vision and language have no replica, and the next request starts those that it needs"
    elif Role.LANGUAGE in assessment.resting:
        how = "; language has no replica, and the next request starts one"
    elif assessment.resting:
        how = "; vision has no replica until a picture comes"
    return conditions.is_true(Reason.READY, f"the service answers at {assessment.url}{how}")


def _progressing(movement: Finding | None, blocker: Finding | None) -> Said:
    if movement is not None:
        return conditions.raised_by(movement)
    if blocker is not None:
        return conditions.blocked_by(blocker)
    return conditions.is_false(Reason.AS_DESIRED, NOTHING_MOVES)


def _degraded(finding: Finding | None) -> Said:
    if finding is not None:
        return conditions.raised_by(finding)
    return conditions.is_false(Reason.AS_DESIRED, NOTHING_WRONG)


def _role_ready(assessment: Assessment, role: Role) -> Said:
    view = assessment.view(role)
    finding = assessment.role_findings.get(role)
    if not view.is_serving:
        return conditions.blocked_by(assessment.role_findings[role])
    if view.rests:
        is_proven = assessment.is_proven_whole if role is Role.VISION else assessment.is_proven
        how = "" if is_proven else CHANGED_AT_ZERO.format(role)
        return conditions.is_true(Reason.AT_ZERO, f"{AT_ZERO.format(INPUT[role])}{how}")
    blamed = None if assessment.verdict is None else assessment.verdict.finding
    if blamed is not None and blamed.is_failure and blamed.role is role:
        return conditions.blocked_by(blamed)
    return conditions.is_true(Reason.READY, ALL_RUN if finding is None else finding.message)


def _probe_passed(assessment: Assessment) -> Said:
    verdict, obstacle = assessment.verdict, assessment.obstacle
    if verdict is None:
        assert obstacle is not None  # without a verdict something stands before Ready
        return conditions.unknown_for(obstacle)
    if verdict.outcome is Outcome.ASLEEP:
        text = "language has no replica; what was changed meanwhile is probed when a request has started one"
        return conditions.is_unknown(Reason.AT_ZERO, text)
    if verdict.finding is None and Role.LANGUAGE in assessment.resting:
        what = "what is deployed" if assessment.is_proven_whole else "what answers texts"
        text = f"{what} passed its last probe; it is probed again when a request has started a replica"
        return conditions.is_true(Reason.READY, text)
    if verdict.finding is None and assessment.resting:
        text = "a text came through; vision has no replica, and is probed when a picture has started one"
        return conditions.is_true(Reason.READY, text)
    if verdict.finding is None:
        return conditions.is_true(Reason.READY, "two pictures came through both sides and were told apart")
    if verdict.outcome is Outcome.FAILED:
        return conditions.blocked_by(verdict.finding)
    return conditions.unknown_for(verdict.finding)


def _passed_probe(observation: Observation, assessment: Assessment) -> ProbeSeen | None:
    probe, verdict = observation.probe, assessment.verdict
    has_passed = verdict is not None and verdict.outcome is Outcome.PASSED
    if not has_passed or probe is None or probe.subject != assessment.current.subject:
        return None
    return probe


def _seen(
    old: RoleStatus,
    view: RoleView,
    assessment: Assessment,
    spec: InternVLServiceSpec | None,
    answered: ProbeSeen | None,
) -> RoleStatus:
    revision = old.revision if old.generation == view.generation else None
    if answered is not None and answered.answer is not None:
        side = answer_of(answered.answer, view.role)
        revision = revision if side is None else side.revision or None
    retry = assessment.retries[view.role]
    own = next(found for found in assessment.own.views if found.role is view.role)
    ready, desired = len(own.running), own.wanted.num_replicas
    return RoleStatus(
        engine=_engine(view.role, spec),
        desired=desired,
        ready=ready,
        updated=view.updated,
        replicas=f"{ready}/{desired}",
        generation=view.generation,
        revision=revision,
        failed_at=retry.failed_at,
        attempt=retry.attempt - retry.is_due,
    )


def _unseen(old: RoleStatus, role: Role, spec: InternVLServiceSpec | None) -> RoleStatus:
    desired = old.desired if spec is None else spec.replicas(role)
    return old.model_copy(
        update={
            "engine": old.engine if spec is None else _engine(role, spec),
            "desired": desired,
            "ready": None,
            "updated": None if old.updated else old.updated,  # that there was none stays known
            "replicas": f"?/{desired}",
        }
    )


def _engine(role: Role, spec: InternVLServiceSpec | None) -> str | None:
    if spec is None or role is Role.GATEWAY:
        return None
    return (spec.vision if role is Role.VISION else spec.language).engine.value


def _model(spec: InternVLServiceSpec | None, old: Status, revision: str | None) -> ModelStatus | None:
    if spec is None:
        return old.model
    if revision is None and old.model is not None and old.model.name == spec.model.served_name:
        return old.model
    return ModelStatus(name=spec.model.served_name, revision=revision)


def _probe(old: Status, assessment: Assessment, now: datetime) -> ProbeStatus | None:
    verdict, subject = assessment.own.verdict, assessment.own.subject
    if subject is None or verdict is None or verdict.outcome not in (Outcome.PASSED, Outcome.ASLEEP):
        return old.probe
    if old.probe is not None and old.probe.subject == subject:
        return old.probe
    if old.probe is not None and Role.LANGUAGE in assessment.own.resting:
        return old.probe.model_copy(
            update={"subject": subject}
        )  # nothing was asked since, but it is marked asleep
    return ProbeStatus(subject=subject, time=now.replace(microsecond=0))


def _rollout(found: Rollout | None, generation: int) -> RolloutStatus | None:
    if found is None:
        return None
    return RolloutStatus(
        stage=found.stage,
        generation=generation,
        since=found.since,
        head=found.head,
        message=found.message,
    )


def _last_failure(old: Status, finding: Finding | None, now: datetime) -> FailureStatus | None:
    if finding is None:
        return old.last_failure
    degraded = old.condition(ConditionType.DEGRADED)
    known = old.last_failure
    is_still_wrong = degraded is not None and degraded.status is ConditionStatus.TRUE
    if known and is_still_wrong and (known.reason, known.message) == (finding.reason, finding.message):
        return known
    return FailureStatus(time=now.replace(microsecond=0), reason=finding.reason, message=finding.message)
