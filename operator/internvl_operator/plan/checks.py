"""The checks, in the order in which they speak: small named functions, the first finding wins.

`WORLD_CHECKS` ask whether Ray can be worked with at all, `ROLE_CHECKS` how one role stands. `plan.plan` puts
their findings in order: world, failed roles, the write, roles under way, the probe.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from internvl_operator.api import labels, names
from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.plan import cluster_checks, failures
from internvl_operator.plan.backend import ray_home
from internvl_operator.plan.findings import Finding, progress
from internvl_operator.plan.observation import (
    DeploymentState,
    Observation,
    RaySeen,
    RayUnavailable,
    ReplicaState,
    WriteSeen,
)
from internvl_operator.plan.serving import RoleView
from internvl_operator.scaling.model import FIRST_START_S
from internvl_operator.settings import Settings

WorldCheck = Callable[[Observation, Settings], Finding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleInput:
    """What a role check sees."""

    view: RoleView
    ray: RaySeen
    observation: Observation
    is_woken: bool
    """It had no replica, by choice, and its first one starts."""


RoleCheck = Callable[[RoleInput], Finding | None]


# --- the world -------------------------------------------------------------------------------------------


def spec_invalid(observation: Observation, settings: Settings) -> Finding | None:
    """The spec did not parse."""
    del settings
    if observation.service.spec is not None:
        return None
    error = observation.service.spec_error or "the spec cannot be read"
    return Finding(
        reason=Reason.SPEC_INVALID,
        message=failures.shorten(f"{error}; what ran before is left as it is"),
    )


def address_missing(observation: Observation, settings: Settings) -> Finding | None:
    """Nobody names a Ray cluster."""
    if ray_home(observation.service, settings) is not None:
        return None
    return Finding(
        reason=Reason.BACKEND_ADDRESS_MISSING,
        message="no Ray cluster is known: set spec.backend.ray.address, or of the operator "
        "INTERNVL_OPERATOR_RAY_ADDRESS, or INTERNVL_OPERATOR_PODS_FILE for a cluster of the service's own",
    )


def pods_missing(observation: Observation, settings: Settings) -> Finding | None:
    """A field is about pods of the service's own, and the Ray cluster of the settings is somebody else's."""
    del settings
    spec = observation.service.spec
    if spec is None or spec.wants_pods is None or observation.cluster is not None:
        return None
    return Finding(reason=Reason.SPEC_INVALID, message=f"spec: {spec.wants_pods}")


def cluster_unfit(observation: Observation, settings: Settings) -> Finding | None:
    """What stands before the service's own Ray cluster, until it has a head that can be asked."""
    del settings
    cluster = observation.cluster
    if cluster is None:
        return None
    return (
        cluster_checks.name_too_long(observation)
        or cluster_checks.pool_unknown(observation)
        or cluster_checks.pod_patch_refused(observation)
        or cluster_checks.kubernetes_trouble(cluster)
        or cluster_checks.object_not_ours(observation, cluster)
        or cluster_checks.head_not_ready(observation, cluster)
    )


def not_observed(observation: Observation, settings: Settings) -> Finding | None:
    """This process has not asked the service's Ray address yet."""
    home = ray_home(observation.service, settings, observation.house)
    assert home is not None  # `address_missing` speaks before
    if observation.ray is not None and observation.ray.address == home.address:
        return None
    return progress(Reason.NOT_OBSERVED, f"Ray at {home.address} was not asked yet")


def ray_unavailable(observation: Observation, settings: Settings) -> Finding | None:
    """The Ray address gave no good answer."""
    del settings
    if not isinstance(observation.ray, RayUnavailable):
        return None
    reason = observation.ray.reason
    message = f"{observation.ray.message.rstrip('. ')}. {reason.action}"
    return Finding(reason=reason, message=failures.shorten(message))


def application_not_ours(observation: Observation, settings: Settings) -> Finding | None:
    """Somebody deployed an application by hand under one of our names."""
    del settings
    assert isinstance(observation.ray, RaySeen)  # `not_observed` and `ray_unavailable` speak before
    for name in names.all_applications(observation.service.key):
        application = observation.ray.applications.get(name)
        if application is not None and not application.declarative:
            return Finding(
                reason=Reason.APPLICATION_NOT_OURS,
                message=f"the Serve application {name} was deployed by hand; delete it "
                "(`serve.delete`), or give this service another name",
            )
    return None


WORLD_CHECKS: tuple[WorldCheck, ...] = (
    spec_invalid,
    address_missing,
    pods_missing,
    cluster_unfit,  # before Ray's own silence, which it explains
    not_observed,
    ray_unavailable,
    application_not_ours,
)


# --- one role --------------------------------------------------------------------------------------------


def not_written(given: RoleInput) -> Finding | None:
    """Serve does not hold the wanted configuration; what it says is about another one."""
    if given.view.is_current:
        return None
    return progress(Reason.DEPLOYING, "the configuration is being written to Ray Serve", given.view.role)


def not_adopted(given: RoleInput) -> Finding | None:
    """Serve holds the wanted configuration, but its deployment still acts on the one before."""
    if given.view.is_adopted:
        return None
    return failing_until_shown_otherwise(given) or progress(
        Reason.DEPLOYING, f"{given.view.role}: Ray Serve is taking up the new configuration", given.view.role
    )


def failure_reported(given: RoleInput) -> Finding | None:
    """A replica or the builder said what is wrong, in a form that we know."""
    view = given.view
    known = failures.known_failure(view.texts)
    if known is None or view.is_complete:
        return None
    reason, message = known
    return Finding(reason=reason, message=f"{view.role}: {message}", role=view.role)


def pods_in_trouble(given: RoleInput) -> Finding | None:
    """Kubernetes cannot start a pod of the role."""
    view, cluster = given.view, given.observation.cluster
    selector = view.wanted.ray_actor_options.label_selector or {}
    if cluster is None or view.is_complete or labels.GROUP_OF_PODS not in selector:
        return None
    group = selector[labels.GROUP_OF_PODS]
    name = names.ray_cluster(given.observation.service.key, given.observation.house)
    found = cluster_checks.role_pods_in_trouble(cluster, group, view.role)
    if found is None and not any(pod.group == group for pod in cluster.pods):
        found = cluster_checks.pods_refused(cluster, name, view.role)
    has_no_room = found is not None and found.reason is Reason.INSUFFICIENT_RESOURCES
    return None if has_no_room and _was_just_woken(given) else found


def pool_not_found(given: RoleInput) -> Finding | None:
    """No living node has the label of the role's pool."""
    view, pools = given.view, given.ray.node_pools
    selector = view.wanted.ray_actor_options.label_selector or {}
    if labels.POOL not in selector or pools is None or selector[labels.POOL] in pools or view.is_complete:
        return None
    pool = selector[labels.POOL]
    offered = ", ".join(sorted(pools)) or "none"
    return Finding(
        reason=Reason.POOL_NOT_FOUND,
        message=f"{view.role}: no Ray node has the label {labels.POOL}={pool} (pools there: {offered}); start "
        f"one with `ray start --labels={labels.POOL}={pool}`, or correct spec.{view.role}.pool",
        role=view.role,
    )


def no_room(given: RoleInput) -> Finding | None:
    """A replica waits for a node, for so long that Serve says so."""
    view = given.view
    if view.deployment is None or view.is_complete:
        return None
    waiting = any(
        replica.state == ReplicaState.STARTING and replica.node_id is None
        for replica in view.deployment.replicas
    )
    wanted = failures.unscheduled(view.deployment.message)
    if not waiting or wanted is None or given.observation.cluster is not None or _was_just_woken(given):
        return None
    gpus = ", gpus" if view.wanted.ray_actor_options.num_gpus else ""
    number = _number_field(view.role, given.observation)
    return Finding(
        reason=Reason.INSUFFICIENT_RESOURCES,
        message=f"{view.role}: no Ray node has room for a replica, which wants {wanted}; lower "
        f"spec.{view.role}.cpu{gpus}, memory or {number}, or add a node",
        role=view.role,
    )


def _number_field(role: Role, observation: Observation) -> str:
    """The field by which a user asks for fewer replicas of a role."""
    spec = observation.service.spec
    if role is Role.GATEWAY:
        return "replicas"
    return "minReplicas" if spec is None or spec.role(role).max_replicas is None else "maxReplicas"


def start_failed(given: RoleInput) -> Finding | None:
    """Replicas do not start, or the application could not be built, for a reason that we do not know."""
    view = given.view
    if view.is_complete:
        return None
    cause = failures.start_failure(view.texts)
    if cause is None and view.has_given_up:
        cause = failures.last_line(view.texts)
    if cause is None:
        return None
    return Finding(
        reason=Reason.REPLICA_FAILED,
        message=f"{view.role}: replicas do not start: {cause}",
        role=view.role,
    )


def unhealthy(given: RoleInput) -> Finding | None:
    """Replicas died or do not answer Serve's health checks."""
    view = given.view
    is_unhealthy = view.deployment is not None and view.deployment.status == DeploymentState.UNHEALTHY
    if not is_unhealthy or view.rests:
        return None
    return Finding(
        reason=Reason.REPLICA_UNHEALTHY,
        message=f"{view.role}: {_count(view)}; Serve replaces those that died or fail their health checks",
        role=view.role,
    )


def held_unhealthy(views: Sequence[RoleView], waking: Collection[Role]) -> Finding | None:
    """Replicas of the configuration that Serve holds died, which answer until the wanted one may be written."""
    for view in views:
        shown = view.deployment
        if shown is None or view.stands_at_zero or view.role in waking:
            continue
        if view.running and shown.status != DeploymentState.UNHEALTHY:
            continue
        return Finding(
            reason=Reason.REPLICA_UNHEALTHY,
            message=f"{view.role}: of the replicas that answer until the new ones do, {len(view.running)} of "
            f"{shown.target_replicas} run; Serve replaces those that died or fail their health checks",
            role=view.role,
        )
    return None


def failing_until_shown_otherwise(given: RoleInput) -> Finding | None:
    """A retry is under way: the last failure stays true until the role runs or says something else."""
    view, status = given.view, given.observation.service.status
    kind = CONDITIONS.get(view.role)
    if view.deployed_attempt == 0 or view.is_serving or status is None or kind is None:
        return None
    known = status.condition(kind)
    is_same = status.roles.of(view.role).generation == view.generation
    if not is_same or known is None or known.reason not in _REPORTED_BY_REPLICAS:
        return None
    return Finding(reason=known.reason, message=known.message, role=view.role)


def deploying(given: RoleInput) -> Finding | None:
    """Not all replicas run yet."""
    view = given.view
    if view.is_complete:
        return None
    if view.deployment is None:
        return progress(Reason.DEPLOYING, f"{view.role}: Ray Serve is building the application", view.role)
    return progress(Reason.DEPLOYING, f"{view.role}: {_count(view)}", view.role)


def _was_just_woken(given: RoleInput) -> bool:
    """Whether the side had no replica, and its first one has had no time to start: its node may be on its way."""
    view, status = given.view, given.observation.service.status
    kind = CONDITIONS.get(view.role)
    known = None if status is None or kind is None else status.condition(kind)
    if known is None or not given.is_woken:
        return False
    if known.status is ConditionStatus.TRUE:
        return True
    past_s = (given.observation.now - known.last_transition_time).total_seconds()
    return 0 <= past_s < FIRST_START_S[view.role]


def _count(view: RoleView) -> str:
    wanted = view.wanted.num_replicas
    if view.updated > wanted:
        return f"{view.updated} replicas run, {wanted} wanted; the others end their requests first"
    return f"{view.updated} of {wanted} replicas run"


CONDITIONS = {Role.VISION: ConditionType.VISION_READY, Role.LANGUAGE: ConditionType.LANGUAGE_READY}
"""Conditions of single roles; the gateway has none of its own."""

_REPORTED_BY_REPLICAS = (*failures.REASONS.values(), Reason.RUNTIME_MISSING, Reason.REPLICA_FAILED)

ROLE_CHECKS: tuple[RoleCheck, ...] = (
    not_written,
    not_adopted,  # from here on, what Serve says is about the wanted configuration
    failure_reported,  # the replica's own words are the best
    pods_in_trouble,  # Kubernetes' words before Ray's
    pool_not_found,  # before Serve's general complaint about resources
    no_room,
    start_failed,
    unhealthy,
    failing_until_shown_otherwise,
    deploying,
)


# --- the write -------------------------------------------------------------------------------------------


def write_finding(write: WriteSeen | None) -> Finding | None:
    """Why what has to be written is not written yet; None while nothing is known about it."""
    if write is None:
        return None
    if write.error is not None:
        return Finding(reason=write.reason, message=failures.shorten(f"{write.error}; it is tried again"))
    if write.waiting_for is not None:
        return progress(
            Reason.WAITING_FOR_OTHER_BUILD,
            f"the write waits until the Serve application {write.waiting_for} is built",
        )
    return None


def world_finding(observation: Observation, settings: Settings) -> Finding | None:
    """The first of WORLD_CHECKS that speaks."""
    found = (check(observation, settings) for check in WORLD_CHECKS)
    return next((item for item in found if item is not None), None)


def role_finding(given: RoleInput) -> Finding | None:
    """The first of ROLE_CHECKS that speaks."""
    return next((item for check in ROLE_CHECKS if (item := check(given)) is not None), None)
