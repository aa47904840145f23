"""What is reported about scaling: targets, why, the last changes, two conditions, an Event a change.

Added to a plan that is made already; a service whose numbers are fixed has none of it. Called by `plan.plan`.
"""

from dataclasses import replace
from datetime import datetime

from internvl_operator.api.conditions import ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.scaling_spec import ScalingMode
from internvl_operator.api.spec import InternVLServiceSpec, RoleSpec
from internvl_operator.api.status import (
    STEPS_KEPT,
    CapacityStatus,
    RoleStatus,
    ScalingStatus,
    ScalingStep,
    Status,
)
from internvl_operator.plan import conditions, failures
from internvl_operator.plan.conditions import Said
from internvl_operator.plan.decision import EventKind, EventNote, Plan
from internvl_operator.plan.observation import Observation, ScalingSeen
from internvl_operator.plan.replicas import decided_roles, kept, number, scaled_roles, standing
from internvl_operator.scaling import sentences
from internvl_operator.scaling.decide import released
from internvl_operator.scaling.history import from_json, to_json
from internvl_operator.scaling.model import Limit, SideDecision, WorkKind

KINDS = (ConditionType.SCALING_ACTIVE, ConditionType.METRICS_AVAILABLE)
OPERATOR = "operator"
WRITTEN_BEFORE = "Serve has that number already; who wrote it ended before the reason was written down"
NOBODY_STARTS_ONE = "with scaling.mode Recommend nobody starts one when a {} comes"
_LIMITED = (Limit.MAXIMUM, Limit.BUDGET, Limit.UNPROVEN)
_HELD = (Limit.UNKNOWN,)


def reported(plan: Plan, observation: Observation) -> Plan:
    """The plan with what is to be said about scaling. `observation` is the one with the spec as it was written."""
    service, spec = observation.service, observation.service.spec
    if spec is None:
        return plan
    old, roles = service.status or Status(), decided_roles(spec)
    if not roles:
        return replace(plan, status=_without(plan.status, _kept(spec, old.scaling)))
    seen = observation.scaling
    statuses = {role: plan.status.roles.of(role) for role in Role}
    for role in Role:
        told = _role(role, observation, old.roles.of(role)) if role in roles else _UNSCALED
        statuses[role] = statuses[role].model_copy(update=told)
    events = tuple(note for role in roles if (note := _event(old.roles.of(role), statuses[role])) is not None)
    said = {} if seen is None else sayings(spec, seen)
    status = plan.status.model_copy(
        update={
            "roles": plan.status.roles.model_copy(
                update={role.value: item for role, item in statuses.items()}
            ),
            "scaling": old.scaling if seen is None else ScalingStatus(memory=seen.memory),
            "conditions": conditions.merge(
                plan.status, said, generation=service.generation, now=observation.now
            ),
        }
    )
    why = () if seen is None else tuple(side.why for side in seen.sides.values())
    why = why if seen is None or not seen.undecided else (seen.undecided,)
    return replace(plan, status=status, events=(*plan.events, *events), why=(*plan.why, *why))


_UNSCALED = {"owner": None, "target": None, "why": None, "capacity": None, "last_scaling": None}


def says_something(status: Status | None) -> bool:
    """Whether a stored status tells anything of scaling."""
    return status is not None and any(map(status.condition, KINDS))


def says_the_same(status: Status | None, spec: InternVLServiceSpec, seen: ScalingSeen) -> bool:
    """Whether a stored status has these targets, and conditions for these reasons."""
    if status is None:
        return False
    targets = {role: status.roles.of(role).target for role in seen.sides}
    known = {kind: status.condition(kind) for kind in KINDS}
    reasons = {kind: None if item is None else (item.status, item.reason) for kind, item in known.items()}
    said = {kind: (item.status, item.reason) for kind, item in sayings(spec, seen).items()}
    return targets == {role: side.target for role, side in seen.sides.items()} and reasons == said


def _kept(spec: InternVLServiceSpec, learned: ScalingStatus | None) -> ScalingStatus | None:
    """What was learned of the load, while others decide about sides that the operator may get back."""
    if learned is None or not scaled_roles(spec):
        return None
    return ScalingStatus(memory=to_json(released(from_json(learned.memory))))


def _without(status: Status, kept: ScalingStatus | None) -> Status:
    """Nothing of it but what is kept: the service may have been scaled before."""
    is_told = any(status.roles.of(role).owner for role in Role) or any(map(status.condition, KINDS))
    if status.scaling == kept and not is_told:
        return status
    roles = {role.value: status.roles.of(role).model_copy(update=_UNSCALED) for role in Role}
    others = tuple(item for item in status.conditions if item.type not in KINDS)
    update = {"roles": status.roles.model_copy(update=roles), "scaling": kept, "conditions": others}
    return status.model_copy(update=update)


def _role(role: Role, observation: Observation, old: RoleStatus) -> dict[str, object]:
    """The fields of one scaled role."""
    decided = None if observation.scaling is None else observation.scaling.sides.get(role)
    spec = observation.service.spec
    assert spec is not None  # `decided_roles` found the role there
    acted = decided if spec.scaling.mode is ScalingMode.AUTO else None
    count = number(observation, role)
    stands = standing(observation, role)
    wanted = stands if acted is None else acted.target
    reason = kept(observation.service, role, standing=stands, now=observation.now)
    reason = reason or NOBODY_STARTS_ONE.format(sentences.INPUT[role])
    if bound := _bound(spec.role(role), wanted, count, reason):
        step = f"{sentences.head(role, old.desired, count)}: {bound}"
    else:
        step = "" if acted is None else acted.why
        change = sentences.head(role, old.desired, count)
        if standing(observation, role) == count and not step.startswith(change):
            step = f"{change}: {WRITTEN_BEFORE}"
    target = old.target if decided is None else decided.target
    if target is None or acted is not None:
        target = count
    why = old.why if decided is None else failures.shorten(decided.why)
    if observation.scaling is not None and observation.scaling.undecided:
        held = f"held, because {observation.scaling.undecided}"
        why = failures.shorten(f"{sentences.head(role, target, target)}: {held}")
    return {
        "owner": OPERATOR,
        "target": target,
        "why": bound if bound and acted is not None else why,
        "capacity": old.capacity if decided is None else _capacity(decided),
        "last_scaling": _steps(old, count, step, observation.now),
    }


def _bound(side: RoleSpec, wanted: int, count: int, kept: str) -> str:
    """What made a number another one than was wanted, if anything did: an edit since then, or what keeps one."""
    if count < wanted:
        return f"{wanted} are wanted, but maxReplicas is {side.most_replicas}"
    if count == wanted:
        return ""
    if count == side.min_replicas:
        return f"minReplicas is {count}"
    return kept


def _steps(old: RoleStatus, count: int, why: str, now: datetime) -> tuple[ScalingStep, ...] | None:
    """With the change from the number that was wanted last, if it is one. Empty `why`: nothing here changed it."""
    if old.target is None or old.desired == count or not why:
        return old.last_scaling
    step = ScalingStep(
        time=now.replace(microsecond=0), before=old.desired, to=count, why=failures.shorten(why)
    )
    return (step, *(old.last_scaling or ()))[:STEPS_KEPT]


def _capacity(decided: SideDecision) -> CapacityStatus | None:
    if not decided.capacity:
        return None
    figures = {kind: float(f"{value:.3g}") for kind, value in decided.capacity.items()}
    return CapacityStatus(
        tiles_per_second=figures.get(WorkKind.TILES),
        prompt_tokens_per_second=figures.get(WorkKind.PROMPT_TOKENS),
        output_tokens_per_second=figures.get(WorkKind.OUTPUT_TOKENS),
    )


def _event(old: RoleStatus, new: RoleStatus) -> EventNote | None:
    """One for a change that is not in the stored status yet."""
    newest = (new.last_scaling or (None,))[0]
    if newest is None or newest in (old.last_scaling or ()):
        return None
    reason = Reason.SCALED_UP if newest.to > newest.before else Reason.SCALED_DOWN
    return EventNote(kind=EventKind.NORMAL, reason=reason, message=newest.why)


def sayings(spec: InternVLServiceSpec, seen: ScalingSeen) -> dict[ConditionType, Said]:
    """Both conditions."""
    return {
        ConditionType.SCALING_ACTIVE: _scaling_active(spec, seen),
        ConditionType.METRICS_AVAILABLE: _metrics_available(seen),
    }


def _scaling_active(spec: InternVLServiceSpec, seen: ScalingSeen) -> Said:
    held = [side.why for side in seen.sides.values() if side.limited_by in _HELD]
    limited = [side.why for side in seen.sides.values() if side.limited_by in _LIMITED]
    if seen.undecided:
        return conditions.is_false(Reason.SCALING_HELD, failures.shorten(seen.undecided))
    if spec.scaling.mode is ScalingMode.RECOMMEND:
        text = "numbers are decided and not written, as spec.scaling.mode says"
        return conditions.is_false(Reason.RECOMMENDED_ONLY, text)
    if held:
        return conditions.is_false(Reason.SCALING_HELD, failures.shorten("; ".join(held)))
    if limited:
        return conditions.is_true(Reason.SCALING_LIMITED, failures.shorten("; ".join(limited)))
    names = " and ".join(seen.sides)
    return conditions.is_true(Reason.SCALED_BY_LOAD, f"the replicas of {names} follow the load")


def _metrics_available(seen: ScalingSeen) -> Said:
    if seen.metrics is Reason.METRICS_SEEN:
        text = "all replicas tell their load"
        return conditions.is_true(seen.metrics, f"{text}, but {seen.advice}" if seen.advice else text)
    if seen.metrics is Reason.METRICS_INCOMPLETE:
        silent = [side.why for side in seen.sides.values() if side.limited_by is Limit.SILENT]
        text = "; ".join(silent) or seen.unknown or "some replicas do not tell their load"
        return conditions.is_true(seen.metrics, failures.shorten(text))
    return conditions.is_false(seen.metrics, failures.shorten(f"{seen.unknown}. {seen.metrics.action}"))
