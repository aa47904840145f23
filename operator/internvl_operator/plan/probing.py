"""What the semantic probe says about Ready.

A probe speaks about a subject: the generations and the replicas that ran when it was asked. Ready needs a
probe that passed on the subject of now. One exception keeps Ready from flapping: when only replicas were
replaced (same generations, never a moment without a running one), Ready stays while the new probe is under
way; each replica loaded and warmed up the very configuration that passed, and ProbePassed says Unknown. A side that
was too busy for the probe has said nothing yet: numbers change when much waits, and then the probe waits as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import Status
from internvl_operator.plan import failures, serving
from internvl_operator.plan.findings import Finding, progress
from internvl_operator.plan.observation import ProbeSeen
from internvl_operator.plan.serving import RoleView
from internvl_runtimes.contract.probes import ProbeAnswer, RoleAnswer

BUSY_S = 60.0
"""So long replicas that were added may be too busy for a probe without being called broken."""


class Outcome(StrEnum):
    """What is known about the subject of now."""

    PASSED = "passed"
    FAILED = "failed"
    PENDING = "pending"
    ASLEEP = "asleep"
    """Nothing, and nobody can be asked: it was changed while language had no replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome, and the finding that explains it where the service is not what it should be."""

    outcome: Outcome
    finding: Finding | None = None


def judge(
    probe: ProbeSeen | None,
    *,
    subject: str,
    views: Sequence[RoleView],
    spec: InternVLServiceSpec,
    status: Status | None,
    now: datetime,
) -> Verdict:
    """What the last probe, or the memory of one that passed, says about `subject`."""
    if serving.is_asleep(views) and status is not None and status.probe is not None:
        is_proven = serving.has_proven_wanted(views, status)
        return Verdict(outcome=Outcome.PASSED if is_proven else Outcome.ASLEEP)
    if probe is not None and probe.subject == subject:
        found = _defect(probe, views, spec)
        if found is None:
            return Verdict(outcome=Outcome.PASSED)
        if _was_busy(probe) and serving.has_proven_wanted(views, status) and _is_new(status, now):
            waiting = progress(Reason.PROBE_PENDING, f"{found.message} It may be busy, and is asked again.")
            return Verdict(outcome=Outcome.PENDING, finding=waiting)
        return Verdict(outcome=Outcome.FAILED, finding=found)
    if status is not None and status.probe is not None and status.probe.subject == subject:
        return Verdict(outcome=Outcome.PASSED)
    waiting = progress(Reason.PROBE_PENDING, "all replicas run; the probe has not answered yet")
    return Verdict(outcome=Outcome.PENDING, finding=waiting)


def _was_busy(probe: ProbeSeen) -> bool:
    """Whether those that failed only had no time or room for it."""
    sides = () if probe.answer is None else (probe.answer.vision, probe.answer.language)
    failed = [side for side in sides if side is not None and not side.ok]
    return bool(failed) and all(side.busy for side in failed)


def _is_new(status: Status | None, now: datetime) -> bool:
    """Whether it can be asked about the subject of now for the first time, or not for long."""
    said = None if status is None else status.condition(ConditionType.PROBE_PASSED)
    if status is None or said is None or said.status is ConditionStatus.TRUE:
        return True
    if said.status is ConditionStatus.FALSE:
        return False
    sides = [status.condition(kind) for kind in (ConditionType.VISION_READY, ConditionType.LANGUAGE_READY)]
    # One that started serves only now: what came meanwhile waited for it, and comes all at once.
    since = [
        side.last_transition_time if side.status is ConditionStatus.TRUE else now for side in sides if side
    ]
    return (now - max(said.last_transition_time, *since)).total_seconds() < BUSY_S


def _defect(probe: ProbeSeen, views: Sequence[RoleView], spec: InternVLServiceSpec) -> Finding | None:
    if probe.answer is None:
        error = probe.error or "it gave no answer"
        return Finding(reason=Reason.PROBE_FAILED, message=failures.shorten(f"the probe failed: {error}"))
    found = (
        _sides_failed(probe.answer, views)
        or _old_generation(probe.answer, views)
        or _wrong_revision(probe.answer, spec)
        or _features_identical(probe.answer)
    )
    if found is None and not probe.answer.ok:
        return Finding(reason=Reason.PROBE_FAILED, message="the gateway says that the probe failed")
    return found


def answer_of(answer: ProbeAnswer, role: Role) -> RoleAnswer | None:
    """One role's part of the answer; None where it was not asked."""
    return {Role.VISION: answer.vision, Role.LANGUAGE: answer.language, Role.GATEWAY: answer.gateway}[role]


def _sides_failed(answer: ProbeAnswer, views: Sequence[RoleView]) -> Finding | None:
    sent = "text" if answer.vision is None else "picture"
    for view in views:
        role, side = view.role, answer_of(answer, view.role)
        if side is None:
            if not view.rests:
                return Finding(
                    reason=Reason.PROBE_FAILED, message=f"{role}: the probe did not ask it", role=role
                )
        elif not side.ok:
            known = failures.known_failure(side.error)
            reason, text = known or (Reason.PROBE_FAILED, failures.shorten(side.error) or "no reason given")
            return Finding(
                reason=reason, message=f"{role}: a small {sent} did not come through: {text}", role=role
            )
    return None


def _old_generation(answer: ProbeAnswer, views: Sequence[RoleView]) -> Finding | None:
    for view in views:
        side = answer_of(answer, view.role)
        answered = view.generation if side is None else side.generation
        if answered != view.generation:
            return Finding(
                reason=Reason.OLD_GENERATION,
                message=f"{view.role}: generation {answered or 'unknown'} answered the probe, wanted is "
                f"{view.generation}; it is asked again",
                role=view.role,
            )
    return None


def _wrong_revision(answer: ProbeAnswer, spec: InternVLServiceSpec) -> Finding | None:
    language, wanted = answer.language.revision, spec.model.revision
    vision = language if answer.vision is None else answer.vision.revision
    if vision != language:
        return Finding(
            reason=Reason.REVISIONS_DIFFER,
            message=f"vision has loaded {_short(vision)}, language {_short(language)}: put the same "
            "checkpoint on the nodes of both pools",
        )
    if wanted is not None and not vision.startswith(wanted):
        return Finding(
            reason=Reason.REVISION_MISMATCH,
            message=f"spec.model.revision asks for {_short(wanted)}, loaded is {_short(vision)}",
        )
    return None


def _features_identical(answer: ProbeAnswer) -> Finding | None:
    if answer.features_differ or answer.vision is None:
        return None
    return Finding(
        reason=Reason.FEATURES_IDENTICAL,
        message="vision: two different pictures gave the same features; export its artifact again and "
        "check the checkpoint",
        role=Role.VISION,
    )


def _short(revision: str) -> str:
    return revision[:19] or "an unknown revision"
