"""spec -> the two Serve applications of a service.

Only what a role depends on enters that role's deployment, so a change of one side leaves the bytes of the
other side as they were, and Serve leaves its replicas alone. What the gateway must know of both sides lies in
its own `user_config`, which Serve applies in place.
"""

import hashlib
from collections.abc import Mapping
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


def render_applications(
    key: ServiceKey,
    spec: InternVLServiceSpec,
    *,
    artifact_stores: tuple[str, ...] = (),
    attempts: Mapping[Role, int] | None = None,
) -> tuple[ServeApplication, ServeApplication]:
    """The vision application and the main application, in the order they are written.

    `attempts` raises a role's `attempt`; it enters neither the generation nor the other roles.
    """
    wanted = attempts or {}
    model = ModelSource(uri=spec.model.uri, revision=spec.model.revision, name=spec.model.served_name)
    shared = {"generation": "", "model": model, "artifact_stores": artifact_stores}
    vision = _vision(spec, shared)
    language = _language(spec, shared)
    gateway = _gateway(key, spec, shared)
    args = ApplicationArgs(service=str(key)).model_dump(mode="json")
    return (
        ServeApplication(
            name=names.vision_application(key),
            route_prefix=None,
            import_path=serve_args.BUILD_VISION,
            args=args,
            deployments=(_sealed(vision, wanted.get(Role.VISION, 0)),),
        ),
        ServeApplication(
            name=names.main_application(key),
            route_prefix=names.route_prefix(key),
            import_path=serve_args.BUILD_SERVICE,
            args=args,
            deployments=(
                _sealed(gateway, wanted.get(Role.GATEWAY, 0)),
                _sealed(language, wanted.get(Role.LANGUAGE, 0)),
            ),
        ),
    )


def _vision(spec: InternVLServiceSpec, shared: dict[str, Any]) -> ServeDeployment:
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
        options=_actor_options(spec.vision),
    )


def _language(spec: InternVLServiceSpec, shared: dict[str, Any]) -> ServeDeployment:
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
        options=_actor_options(spec.language),
    )


def _gateway(key: ServiceKey, spec: InternVLServiceSpec, shared: dict[str, Any]) -> ServeDeployment:
    config = GatewayConfig(
        **shared,
        vision_application=names.vision_application(key),
        max_tiles_per_image=spec.vision.max_tiles_per_image,
        max_model_len=spec.language.max_model_len,
    )
    return _deployment(
        Role.GATEWAY,
        config,
        replicas=1,
        ongoing=GATEWAY_ONGOING,
        options=RayActorOptions(num_cpus=GATEWAY_CPUS),
    )


def _actor_options(role: RoleSpec) -> RayActorOptions:
    return RayActorOptions(
        num_cpus=float(role.cores),
        memory=role.memory_bytes,
        label_selector=None if role.pool is None else {labels.POOL: role.pool},
    )


def _deployment(
    role: Role, config: RoleConfig, *, replicas: int, ongoing: int, options: RayActorOptions
) -> ServeDeployment:
    return ServeDeployment(
        name=names.DEPLOYMENTS[role],
        num_replicas=replicas,
        max_ongoing_requests=ongoing,
        max_queued_requests=QUEUED_PER_CALLER,
        user_config=config.model_dump(mode="json", exclude_none=True),
        graceful_shutdown_wait_loop_s=DRAIN_WAIT_S,
        graceful_shutdown_timeout_s=DRAIN_TIMEOUT_S,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        ray_actor_options=options,
    )


def _sealed(deployment: ServeDeployment, attempt: int) -> ServeDeployment:
    """Put in the generation, and the attempt that the generation does not depend on."""
    config = {**deployment.user_config, "generation": _generation(deployment), "attempt": attempt}
    return deployment.model_copy(update={"user_config": config})


def _generation(deployment: ServeDeployment) -> str:
    """Short hash of what a replica is made from: all but the number of replicas, attempts and itself."""
    facts = deployment.to_mapping()
    del facts["num_replicas"]
    facts["user_config"] = {k: v for k, v in deployment.user_config.items() if k not in _UNHASHED}
    return hashlib.sha256(encode_json(facts).encode()).hexdigest()[:12]
