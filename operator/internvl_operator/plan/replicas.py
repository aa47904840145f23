"""How many replicas each role has: what the spec says, or what the load or somebody else decided last.

`sized` puts these numbers into the spec, so that everything that is rendered and compared has them. Where nothing was
decided yet, or decisions are only recommended, the number stays that stands. Called by `plan.plan`.
"""

from dataclasses import replace
from datetime import datetime

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionStatus, ConditionType
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.scaling_spec import ScaledBy, ScalingMode
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import RolloutStage, Status
from internvl_operator.plan.observation import Observation, RaySeen, ScaleSeen, ServiceSeen
from internvl_operator.plan.serving import deployed_entry, rested
from internvl_operator.render.serve_schema import replicas_of
from internvl_operator.scaling.model import SIDES

REMEMBERED_S = 45.0
"""A probe is no load, but Serve remembers it for 30 s, and would start a replica once more for it."""
_PROVES_OWN = (RolloutStage.HANDOVER, RolloutStage.IN_PLACE)
"""Stages in which replicas that clients are sent to are to be proven, which needs some."""


def scaled_roles(spec: InternVLServiceSpec | None) -> tuple[Role, ...]:
    """The roles whose number is not fixed."""
    return () if spec is None else tuple(role for role in SIDES if spec.role(role).is_scaled)


def decided_roles(spec: InternVLServiceSpec | None) -> tuple[Role, ...]:
    """Those whose number follows the load."""
    return tuple(role for role in scaled_roles(spec) if not is_external(spec, role))


def is_external(spec: InternVLServiceSpec | None, role: Role) -> bool:
    """Whether the number is taken from the role's InternVLScale."""
    return spec is not None and spec.role(role).scaled_by is ScaledBy.EXTERNAL


def sized(observation: Observation) -> Observation:
    """The observation of a service whose spec asks for the numbers that are to be: each fixed."""
    spec = observation.service.spec
    roles = scaled_roles(spec)
    if spec is None or not roles:
        return observation
    asked = spec.with_replicas({role: number(observation, role) for role in roles})
    return replace(observation, service=replace(observation.service, spec=asked))


def number(observation: Observation, role: Role) -> int:
    """Replicas of a role that is scaled, within the spec's bounds.

    One whose number is only recommended has at least one: nobody would write it when a request comes.
    """
    spec, decided = observation.service.spec, observation.scaling
    assert spec is not None  # `scaled_roles` found the role there
    side = spec.role(role)
    acts = spec.scaling.mode is ScalingMode.AUTO
    wanted = decided.sides[role].target if acts and decided is not None and role in decided.sides else None
    if is_external(spec, role):
        found = scale_of(observation, role)
        wanted = found.replicas if found is not None and found.owner == ScaledBy.EXTERNAL else None
    stands = standing(observation, role)
    wanted = stands if wanted is None else wanted
    rests = acts and not kept(observation.service, role, standing=stands, now=observation.now)
    return min(max(wanted, side.min_replicas, 0 if rests else 1), side.most_replicas)


def kept(service: ServiceSeen, role: Role, *, standing: int, now: datetime) -> str:
    """Why a side that may rest has at least one replica whatever its load is, as the end of a sentence; else empty.

    Without language nothing can be probed. So it goes only when what stands has passed its probe without vision, and
    comes back for another model or Ray cluster that is to be proven. An edit waits until a request has woken it.
    """
    status = service.status
    if status is None or status.probe is None:
        return "the first probe needs one"
    if role is not Role.LANGUAGE:
        return ""
    if status.rollout is not None and (standing or status.rollout.stage in _PROVES_OWN):
        return "one is kept for the rollout that is under way"
    if not standing:
        return ""
    is_news = status.observed_generation != service.generation
    if is_news or not (_has_passed(status) and rested(status)):
        return "one is kept until language has passed its probe without vision"
    return f"one is kept for {REMEMBERED_S:.0f} s after a probe" if is_probed(service, now) else ""


def is_probed(service: ServiceSeen, now: datetime) -> bool:
    """Whether a probe is under way, as far as the status tells, or passed just now."""
    status = service.status
    if status is None or status.probe is None or not _has_passed(status):
        return True
    return 0 <= (now - status.probe.time).total_seconds() < REMEMBERED_S


def _has_passed(status: Status) -> bool:
    passed = status.condition(ConditionType.PROBE_PASSED)
    return passed is not None and passed.status is ConditionStatus.TRUE


def scale_of(observation: Observation, role: Role) -> ScaleSeen | None:
    """The role's InternVLScale, if it stands and belongs to this very service."""
    service, scales = observation.service, observation.scales
    found = None if scales is None else scales.objects.get(names.scale_object(service.key, role))
    return found if found is not None and found.service_uid == service.uid and not found.deleting else None


def standing(observation: Observation, role: Role) -> int:
    """Replicas that Serve's configuration asks for; where it has none, those that were wanted last."""
    service = observation.service
    held = _held(observation, role)
    if held is not None:
        return held
    return 0 if service.status is None else service.status.roles.of(role).desired


def _held(observation: Observation, role: Role) -> int | None:
    ray = observation.ray
    if not isinstance(ray, RaySeen):
        return None
    application = ray.applications.get(names.application(observation.service.key, role))
    config = None if application is None else application.config
    return replicas_of(deployed_entry(config, DEPLOYMENTS[role]))
