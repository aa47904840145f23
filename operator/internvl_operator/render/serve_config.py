"""spec -> the two Serve applications of a service.

Only what a role depends on enters that role's deployment, so a change of one side leaves the bytes of the
other side as they were, and Serve leaves its replicas alone. What the gateway must know of both sides lies in
its own `user_config`, which Serve applies in place.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.spec import InternVLServiceSpec, RoleSpec
from internvl_operator.render.serve_schema import (
    RayActorOptions,
    ServeApplication,
    ServeDeployment,
    encode_json,
)
from internvl_runtimes.contract import serve_args
from internvl_runtimes.contract.serve_args import (
    ApplicationArgs,
    GatewayConfig,
    LanguageConfig,
    ModelSource,
    RoleConfig,
    VisionConfig,
)

HEALTH_CHECK_PERIOD_S = 2.0
HEALTH_CHECK_TIMEOUT_S = 3.0
"""Serve counts three timeouts in a row: a replica that hangs is seen after 2.2 + 3 x 3 s at the latest."""
DRAIN_WAIT_S = 0.5
DRAIN_TIMEOUT_S = 30.0
"""Time for streams to end before a replica is killed."""

VISION_ONGOING = 64
"""Requests inside one vision replica: enough for several full batches of tiles."""
GATEWAY_ONGOING = 512
SPARE_ONGOING = 16
"""Above the language side's own limit, so that its bounded queue refuses with 429, not Serve's."""
QUEUED_PER_CALLER = 256

GATEWAY_CPUS = 0.0
"""Reserves nothing: it forwards, and must fit beside two replicas on a laptop with two cores."""

_UNHASHED = ("generation", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where Ray puts the replicas of one role."""

    label_selector: Mapping[str, str] | None = None
    resources: Mapping[str, float] | None = None
    gpus: int | None = None
    max_surge_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a backend decides about the Serve configuration."""

    slots: Mapping[Role, Slot]
    route_prefix: str
    """Path of the service below Serve's HTTP address."""


def shared_site(key: ServiceKey, spec: InternVLServiceSpec) -> Site:
    """A Ray cluster that others use too: nodes by their pool's label, the service below its own path."""
    slots = {role: _pool_slot(spec.role(role)) for role in (Role.VISION, Role.LANGUAGE)}
    return Site(slots={**slots, Role.GATEWAY: Slot()}, route_prefix=names.route_prefix(key))


def stand_in_site(site: Site) -> Site:
    """Where the stand-in of a service runs: beside it. Its gateway, which only probes, takes no pod of its own."""
    language = site.slots[Role.LANGUAGE]
    return Site(
        slots={**site.slots, Role.GATEWAY: Slot(label_selector=language.label_selector)},
        route_prefix=names.stand_in_path(site.route_prefix),
    )


def _pool_slot(role: RoleSpec) -> Slot:
    selector = None if role.pool is None else {labels.POOL: role.pool}
    return Slot(label_selector=selector, gpus=role.gpus)


def render_applications(
    key: ServiceKey,
    spec: InternVLServiceSpec,
    site: Site,
    *,
    artifact_stores: tuple[str, ...] = (),
    attempts: Mapping[Role, int] | None = None,
    stands_in: bool = False,
) -> tuple[ServeApplication, ServeApplication]:
    """The vision application and the main application, in the order they are written.

    `attempts` raises a role's `attempt`; it enters neither the generation nor the other roles.
    `stands_in` gives the two applications of the service's stand-in, with one gateway.
    """
    wanted = attempts or {}
    model = ModelSource(uri=spec.model.seen_uri, revision=spec.model.revision, name=spec.model.served_name)
    shared = {"generation": "", "model": model, "artifact_stores": artifact_stores}
    vision = _vision(spec, shared, site.slots[Role.VISION])
    language = _language(spec, shared, site.slots[Role.LANGUAGE])
    vision_name, main_name = names.stand_ins(key) if stands_in else names.applications(key)
    if stands_in:
        site = stand_in_site(site)
    gateway = _gateway(spec, shared, site.slots[Role.GATEWAY], vision_name, 1 if stands_in else None)
    args = ApplicationArgs(service=str(key)).model_dump(mode="json")
    return (
        ServeApplication(
            name=vision_name,
            route_prefix=None,
            import_path=serve_args.BUILD_VISION,
            args=args,
            deployments=(_sealed(vision, wanted.get(Role.VISION, 0)),),
        ),
        ServeApplication(
            name=main_name,
            route_prefix=site.route_prefix,
            import_path=serve_args.BUILD_SERVICE,
            args=args,
            deployments=(
                _sealed(gateway, wanted.get(Role.GATEWAY, 0)),
                _sealed(language, wanted.get(Role.LANGUAGE, 0)),
            ),
        ),
    )


def _vision(spec: InternVLServiceSpec, shared: dict[str, Any], slot: Slot) -> ServeDeployment:
    config = VisionConfig(
        **shared,
        engine=spec.vision.engine,
        threads=spec.vision.threads,
        max_tiles_per_image=spec.vision.max_tiles_per_image,
    )
    return _deployment(
        Role.VISION,
        config,
        replicas=spec.vision.min_replicas,
        ongoing=VISION_ONGOING,
        options=_actor_options(spec.vision, slot),
        slot=slot,
        may_rest=spec.vision.may_rest,
    )


def _language(spec: InternVLServiceSpec, shared: dict[str, Any], slot: Slot) -> ServeDeployment:
    config = LanguageConfig(
        **shared,
        engine=spec.language.engine,
        threads=spec.language.threads,
        max_model_len=spec.language.max_model_len,
    )
    return _deployment(
        Role.LANGUAGE,
        config,
        replicas=spec.language.min_replicas,
        ongoing=config.max_sequences + config.max_waiting + SPARE_ONGOING,
        options=_actor_options(spec.language, slot),
        slot=slot,
        may_rest=spec.language.may_rest,
    )


def _gateway(
    spec: InternVLServiceSpec, shared: dict[str, Any], slot: Slot, vision_name: str, replicas: int | None
) -> ServeDeployment:
    config = GatewayConfig(
        **shared,
        vision_application=vision_name,
        max_tiles_per_image=spec.vision.max_tiles_per_image,
        max_model_len=spec.language.max_model_len,
    )
    return _deployment(
        Role.GATEWAY,
        config,
        replicas=replicas or spec.gateway.replicas,
        ongoing=GATEWAY_ONGOING,
        options=_options(slot, cpus=GATEWAY_CPUS),
        slot=slot,
    )


def _actor_options(role: RoleSpec, slot: Slot) -> RayActorOptions:
    # A pod's memory is Kubernetes' matter; Ray would count less of it than the pod has.
    memory = None if slot.resources else role.memory_bytes
    return _options(slot, cpus=float(role.cores), memory=memory)


def _options(slot: Slot, *, cpus: float, memory: int | None = None) -> RayActorOptions:
    return RayActorOptions(
        num_cpus=cpus,
        num_gpus=float(slot.gpus) if slot.gpus else None,
        memory=memory,
        resources=None if slot.resources is None else dict(slot.resources),
        label_selector=None if slot.label_selector is None else dict(slot.label_selector),
    )


def _deployment(
    role: Role,
    config: RoleConfig,
    *,
    replicas: int,
    ongoing: int,
    options: RayActorOptions,
    slot: Slot,
    may_rest: bool = False,
) -> ServeDeployment:
    return ServeDeployment(
        name=names.DEPLOYMENTS[role],
        num_replicas=replicas,
        may_rest=may_rest,
        max_ongoing_requests=ongoing,
        max_queued_requests=QUEUED_PER_CALLER,
        user_config=config.model_dump(mode="json", exclude_none=True),
        graceful_shutdown_wait_loop_s=DRAIN_WAIT_S,
        graceful_shutdown_timeout_s=DRAIN_TIMEOUT_S,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        ray_actor_options=options,
        max_surge_percent=slot.max_surge_percent,
    )


def _sealed(deployment: ServeDeployment, attempt: int) -> ServeDeployment:
    """Put in the generation, and the attempt that the generation does not depend on."""
    config = {**deployment.user_config, "generation": _generation(deployment), "attempt": attempt}
    return deployment.model_copy(update={"user_config": config})


def _generation(deployment: ServeDeployment) -> str:
    """Short hash of what a replica is made from: not how many there are or in which order they come, nor attempts."""
    facts = deployment.to_mapping()
    for key in ("num_replicas", "autoscaling_config", "max_surge_percent"):
        facts.pop(key, None)
    facts["user_config"] = {k: v for k, v in deployment.user_config.items() if k not in _UNHASHED}
    return hashlib.sha256(encode_json(facts).encode()).hexdigest()[:12]
