"""What the decision about replicas is made from: bounds of the spec, numbers that stand, and the load.

Pure; called by `reconcile.scaler`, once a round and service.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from internvl_operator.api import names
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.pods import PodSettings
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.plan import failures
from internvl_operator.plan.observation import (
    ApplicationSeen,
    DeploymentSeen,
    DeploymentState,
    LoadSeen,
    RaySeen,
    ReplicaState,
    ServiceSeen,
)
from internvl_operator.plan.replicas import decided_roles, is_external, is_probed, kept
from internvl_operator.plan.serving import deployed_entry, is_adopted
from internvl_operator.render.groups import pool_of
from internvl_operator.render.serve_schema import encode_json, replicas_of
from internvl_operator.scaling.model import (
    SIDES,
    Observation,
    Settings,
    SideSeen,
    SideSettings,
    WorkKind,
)

_FAILING = (DeploymentState.UNHEALTHY, DeploymentState.DEPLOY_FAILED)
_MIXED = (DeploymentState.UPDATING, DeploymentState.DEPLOY_FAILED)
"""Running replicas may still be of the configuration before."""
_WORK = ("engine", "threads", "max_batch_tiles", "max_model_len", "max_sequences")
"""Keys of `user_config` by which a replica is faster or slower, beside the model."""
_PLACE = ("num_cpus", "num_gpus", "resources", "label_selector")
"""Keys of `ray_actor_options` by which it is. In pods, the selector stands for all that a pod is made from."""


def scaling_observation(
    service: ServiceSeen, ray: RaySeen, load: LoadSeen, gpus: Mapping[Role, int], now: datetime
) -> Observation | None:
    """How both sides stand. None while Serve holds no configuration of a side: there is nothing to change yet."""
    spec = service.spec
    sides: dict[Role, SideSeen] = {}
    for role in decided_roles(spec):
        application = ray.applications.get(names.application(service.key, role))
        target = _target(service, ray, role)
        if application is None or target is None:
            return None
        deployment = application.deployments.get(DEPLOYMENTS[role])
        sides[role] = SideSeen(
            load=load.loads.get(role),
            unknown=load.unknown,
            target=target,
            ready=0 if deployment is None else len(deployment.running),
            healthy=deployment is None or not _is_failing(deployment),
            is_woken=target == 0 and _is_started(deployment),
            kept=kept(service, role, standing=target, now=now),
            is_probed=role is Role.LANGUAGE
            and is_probed(service, now),  # of vision only requests are counted
            replica=_replica(application, DEPLOYMENTS[role]),
        )
    others = () if spec is None else tuple(role for role in SIDES if role not in sides)
    return Observation(
        sides=sides,
        elsewhere_gpus=sum(gpus[role] * _elsewhere(service, ray, role) for role in others),
    )


def _target(service: ServiceSeen, ray: RaySeen, role: Role) -> int | None:
    """Replicas that Serve's configuration asks for."""
    application = ray.applications.get(names.application(service.key, role))
    config = None if application is None else application.config
    return replicas_of(deployed_entry(config, DEPLOYMENTS[role]))


def _elsewhere(service: ServiceSeen, ray: RaySeen, role: Role) -> int:
    """Replicas of a side that is not decided about: a fixed number, or what somebody else has asked for."""
    assert service.spec is not None
    standing = _target(service, ray, role) if is_external(service.spec, role) else None
    return service.spec.replicas(role) if standing is None else standing


def _replica(application: ApplicationSeen, name: str) -> str:
    """Short hash of what makes a replica faster or slower: not how many there are, nor names or memory.

    Empty while replicas of the configuration before may work beside those of this one, and where Serve shows none.
    """
    deployment, entry = application.deployments.get(name), deployed_entry(application.config, name)
    config, options = _mapping(entry.get("user_config")), _mapping(entry.get("ray_actor_options"))
    if deployment is None or deployment.status in _MIXED or not is_adopted(deployment, config):
        return ""
    if any(replica.state == ReplicaState.STOPPING for replica in deployment.replicas):
        return ""
    model = _mapping(config.get("model"))
    facts = {
        "model": [model.get("uri"), model.get("revision")],
        "work": {key: config[key] for key in _WORK if key in config},
        "place": {key: options[key] for key in _PLACE if key in options},
    }
    return hashlib.sha256(encode_json(facts).encode()).hexdigest()[:12]


def _mapping(value: object) -> Mapping[str, Any]:
    """A part of what Serve gave, which anybody may have written."""
    return value if isinstance(value, Mapping) else {}


def _is_started(deployment: DeploymentSeen | None) -> bool:
    """Whether Serve is starting a replica by itself, for a request that came.

    For a moment after none was written Serve still shows the number before, and HEALTHY. One that it has started tells
    its load.
    """
    return (
        deployment is not None
        and deployment.target_replicas > 0
        and deployment.status in (DeploymentState.UPSCALING, *_FAILING)
    )


def _is_failing(deployment: DeploymentSeen) -> bool:
    """Whether its newest replicas cannot start, for now."""
    message = deployment.message
    return deployment.status in _FAILING or bool(
        failures.start_failure(message) or failures.unscheduled(message)
    )


def gpus_of(spec: InternVLServiceSpec, offer: PodSettings | None) -> Mapping[Role, int]:
    """GPUs of one replica, by side: what the spec says, else the pool."""
    return {role: _gpus(role, spec, offer) for role in SIDES}


def _gpus(role: Role, spec: InternVLServiceSpec, offer: PodSettings | None) -> int:
    wanted = spec.role(role)
    pool = None if offer is None else pool_of(wanted, offer)
    if wanted.gpus is not None:
        return wanted.gpus
    return 0 if pool is None else pool.gpus


def scaling_settings(
    spec: InternVLServiceSpec, gpus: Mapping[Role, int], now: datetime, *, quiet_s: float
) -> Settings:
    """What the spec says, with the schedules that are open now, and the operator's quiet window."""
    return Settings(
        sides={role: _side(role, spec, gpus[role], now) for role in decided_roles(spec)},
        max_gpus=spec.scaling.max_gpus,
        idle_s=spec.scaling.idle_s,
        first_token_s=spec.scaling.objectives.first_token_s,
        quiet_s=quiet_s,
    )


def _side(role: Role, spec: InternVLServiceSpec, gpus: int, now: datetime) -> SideSettings:
    side = spec.role(role)
    floor, why = max(_floors(role, spec, now), default=(0, ""))
    return SideSettings(
        minimum=side.min_replicas,
        maximum=side.most_replicas,
        floor=floor,
        floor_why=why,
        gpus=gpus,
        capacity=_stated(spec).get(role, {}),
    )


def _floors(role: Role, spec: InternVLServiceSpec, now: datetime) -> list[tuple[int, str]]:
    """What each schedule that is open wants of the role."""
    wanted = ((item.vision if role is Role.VISION else item.language, item) for item in spec.scaling.schedule)
    return [
        (count, f"the schedule {item.cron!r}")
        for count, item in wanted
        if count is not None and item.is_open(now)
    ]


def _stated(spec: InternVLServiceSpec) -> Mapping[Role, Mapping[WorkKind, float]]:
    vision, language = spec.vision.capacity, spec.language.capacity
    found: dict[Role, Mapping[WorkKind, float]] = {}
    if vision is not None:
        found[Role.VISION] = {WorkKind.TILES: vision.tiles_per_second}
    if language is not None:
        found[Role.LANGUAGE] = {
            WorkKind.PROMPT_TOKENS: language.prompt_tokens_per_second,
            WorkKind.OUTPUT_TOKENS: language.output_tokens_per_second,
        }
    return found
