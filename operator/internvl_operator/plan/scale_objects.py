"""The InternVLScales of a service: which must stand with which number, and what is said of a number that others own.

Added to a plan that is made already; a service whose numbers are fixed has none of it. Called by `plan.plan`.
"""

from dataclasses import replace

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.names import Role
from internvl_operator.api.scaling_spec import ScaledBy
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import STEPS_KEPT, RoleStatus, ScalingStep, Status
from internvl_operator.plan import failures
from internvl_operator.plan.decision import EventKind, EventNote, Plan, ScaleErrand
from internvl_operator.plan.observation import Observation, ScaleSeen, ServiceSeen
from internvl_operator.plan.replicas import is_external, number, scale_of, scaled_roles
from internvl_operator.plan.scaling_status import OPERATOR
from internvl_operator.render.cluster_objects import Manifest, Owner
from internvl_operator.render.scale_objects import render_scale, render_scale_status, scale_status
from internvl_operator.scaling import sentences
from internvl_operator.scaling.model import SIDES

EXTERNAL = "external"
"""Owner of a number that nobody has written yet."""
LOOK_AGAIN_S = 10.0
"""Pause before another try of what the API server did not take."""


def may_stand(service: ServiceSeen) -> bool:
    """Whether the service has InternVLScales, or may have some from before."""
    if service.deleting_since is not None:
        return False
    known = service.status or Status()
    return bool(scaled_roles(service.spec)) or any(known.roles.of(role).owner for role in SIDES)


def planned(plan: Plan, observation: Observation) -> Plan:
    """The plan with what is to be done and said. `observation` is the one with the spec as it was written."""
    spec = observation.service.spec
    if spec is None or not may_stand(observation.service):
        return plan
    old = observation.service.status or Status()
    told = {role: _told(role, spec, observation, old.roles.of(role)) for role in SIDES}
    roles = {role: plan.status.roles.of(role).model_copy(update=told[role]) for role in SIDES}
    status = plan.status.model_copy(
        update={
            "roles": plan.status.roles.model_copy(
                update={role.value: item for role, item in roles.items() if told[role]}
            )
        }
    )
    events = tuple(note for role in SIDES for note in _events(role, spec, old.roles.of(role), roles[role]))
    errand = _errand(observation, spec, status)
    timers = (plan.requeue_after_s, None if errand == ScaleErrand() else LOOK_AGAIN_S)
    trouble = "" if observation.scales is None else observation.scales.trouble
    return replace(
        plan,
        scales=errand,
        status=status,
        events=(*plan.events, *events),
        requeue_after_s=min((timer for timer in timers if timer is not None), default=None),
        why=(*plan.why, trouble) if trouble else plan.why,
    )


# --- what is said


def _told(
    role: Role, spec: InternVLServiceSpec, observation: Observation, old: RoleStatus
) -> dict[str, object]:
    """Fields of the role's status; none where the load decides."""
    if role not in scaled_roles(spec):
        # Until its object is gone the role keeps an owner, so that another process looks for the object too.
        is_unknown = observation.scales is not None and not observation.scales.is_readable
        return {"owner": old.owner or OPERATOR} if is_unknown or scale_of(observation, role) else {}
    if not is_external(spec, role):
        return {}
    target = number(observation, role)
    why = _why(role, spec, observation, target)
    return {
        "owner": _owner(scale_of(observation, role)),
        "target": target,
        "why": why,
        "capacity": None,
        "last_scaling": _steps(role, old, target, why, observation),
    }


def _owner(found: ScaleSeen | None) -> str:
    return EXTERNAL if found is None or not found.writer else found.writer


def _why(role: Role, spec: InternVLServiceSpec, observation: Observation, target: int) -> str:
    """One sentence about where the number comes from."""
    name, found = names.scale_object(observation.service.key, role), scale_of(observation, role)
    if observation.scales is None:
        text = f"spec.{role}.scaledBy External needs an API server, where others write the number"
        return f"{text}; {role} stays at {target}"
    if found is None or found.owner != ScaledBy.EXTERNAL:
        trouble = observation.scales.trouble
        return failures.shorten(
            f"{trouble or f'the InternVLScale {name} is being made'}; {role} stays at {target}"
        )
    who = f"{found.writer} wrote" if found.writer else "nobody has written another number than"
    text = f"{who} {found.replicas} into the InternVLScale {name}"
    side = spec.role(role)
    if target < found.replicas:
        return f"{text}, but spec.{role}.maxReplicas is {side.most_replicas}"
    if target > found.replicas:
        return f"{text}, but spec.{role}.minReplicas is {side.min_replicas}"
    return text


def _steps(
    role: Role, old: RoleStatus, target: int, why: str, observation: Observation
) -> tuple[ScalingStep, ...] | None:
    if old.target is None or old.target == target:
        return old.last_scaling
    text = failures.shorten(f"{sentences.head(role, old.target, target)}: {why}")
    step = ScalingStep(time=observation.now.replace(microsecond=0), before=old.target, to=target, why=text)
    return (step, *(old.last_scaling or ()))[:STEPS_KEPT]


def _events(role: Role, spec: InternVLServiceSpec, old: RoleStatus, new: RoleStatus) -> tuple[EventNote, ...]:
    """One for a change that is not in the stored status yet."""
    if not is_external(spec, role) or old.target is None or old.target == new.target or not new.last_scaling:
        return ()
    step = new.last_scaling[0]
    reason = Reason.SCALED_UP if step.to > step.before else Reason.SCALED_DOWN
    return (EventNote(kind=EventKind.NORMAL, reason=reason, message=step.why),)


# --- what is done


def _errand(observation: Observation, spec: InternVLServiceSpec, status: Status) -> ScaleErrand:
    """Nothing where there is no API server, or where it says no."""
    scales, service = observation.scales, observation.service
    if scales is None or not scales.is_readable:
        return ScaleErrand()
    owner, roles = Owner(service.key, service.uid), scaled_roles(spec)
    return ScaleErrand(
        objects=tuple(
            manifest for role in roles if (manifest := _object(observation, spec, owner, role)) is not None
        ),
        statuses=tuple(
            manifest
            for role in roles
            if (manifest := _status(observation, owner, role, status.roles.of(role))) is not None
        ),
        delete=tuple(
            found.name for role in SIDES if role not in roles and (found := scale_of(observation, role))
        ),
    )


def _object(observation: Observation, spec: InternVLServiceSpec, owner: Owner, role: Role) -> Manifest | None:
    """The role's object as it should be; None while it is so, or while one of its name is being deleted.

    A number that others own is never changed: where the rest of the object is put right, it is written as it stands.
    """
    scales, side, count = observation.scales, spec.role(role), number(observation, role)
    known = None if scales is None else scales.objects.get(names.scale_object(owner.key, role))
    if known is not None and known.deleting:
        return None
    found = scale_of(observation, role)
    is_theirs = found is not None and found.owner == side.scaled_by == ScaledBy.EXTERNAL
    is_ours = found is not None and (found.owner, found.replicas, found.decided) == (
        side.scaled_by,
        count,
        count,
    )
    if is_theirs or is_ours:
        return None
    keeps = known is not None and known.owner == side.scaled_by == ScaledBy.EXTERNAL
    replicas = known.replicas if known is not None and keeps else count
    return render_scale(owner, role, scaled_by=side.scaled_by, replicas=replicas)


def _status(observation: Observation, owner: Owner, role: Role, told: RoleStatus) -> Manifest | None:
    """The status of the role's object; None while it says the same, or while there is no object."""
    found = scale_of(observation, role)
    if found is None:
        return None
    running = told.ready
    if running is None:  # Ray cannot be asked
        running = 0 if found.status is None else found.status.replicas
    wanted = scale_status(owner, role, running=running, scaled_by=told.owner or OPERATOR)
    return None if wanted == found.status else render_scale_status(owner, role, wanted)
