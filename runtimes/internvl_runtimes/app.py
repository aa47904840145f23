"""The Serve applications: the only module that decorates and binds. Named by the operator as import path.

What Serve does with it (Ray 2.60, seen on a real cluster):

* The classes here are looked up by name in a replica, not pickled by value: `serve.deployment` is applied
  inside the builders, so the module's names stay the plain classes.
* Heavy imports (ONNX Runtime, Pillow, tokenizers) happen in the constructor of the replica that needs them.
* A builder raises: the application is DEPLOY_FAILED at once, the message ends with the exception's text. No retry.
* `reconfigure` raises in a replica that starts (Serve calls it as a part of starting, so this is also what a
  constructor would do): a new replica is tried, three times for one wanted replica (`min(3 x replicas, 20)`),
  then the deployment is DEPLOY_FAILED. The deployment's message has the traceback after the first try.
* `reconfigure` raises in a running replica: the replica is stopped within half a second, old engine or not, and
  new ones are tried as above. The message has the traceback from the first moment.
* While an application has no replica, requests to it wait; once it is DEPLOY_FAILED or deleted they fail.
* A handle follows its application by name, also through deletion and re-creation.
* A client that goes away: the ingress coroutine is cancelled; closing the handle's generator cancels the replica's.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from internvl_runtimes.contract import CONTRACT_VERSION, pods
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.contract.metrics import Role
from internvl_runtimes.contract.serve_args import (
    GATEWAY_DEPLOYMENT,
    LANGUAGE_DEPLOYMENT,
    STAND_IN_SUFFIX,
    VISION_DEPLOYMENT,
    ApplicationArgs,
    GatewayConfig,
    LanguageConfig,
    VisionConfig,
)
from internvl_runtimes.protocol.handover import Chunk, EncodeRequest, Features, GenerateRequest

# Defaults for a hand-written Serve config; the operator's own config overrides them.
_VISION_ONGOING = 64
_LANGUAGE_ONGOING = 88
_GATEWAY_ONGOING = 512
_QUEUED = 256


class VisionReplica:
    """A replica of the vision side."""

    def __init__(self) -> None:
        from internvl_runtimes.deployments.metrics import RayRecorder
        from internvl_runtimes.deployments.vision_encoder import VisionEncoder

        self._recorder = RayRecorder(Role.VISION)
        self._encoder = VisionEncoder(self._recorder)
        self._reports: asyncio.Task[None] | None = None
        self._readiness: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply the operator's configuration."""
        from internvl_runtimes.deployments.loading import parse_config

        await self._encoder.reconfigure(parse_config(VisionConfig, user_config))
        self._readiness = self._readiness or _serve_readiness(_passes(self._encoder.check_health))
        self._reports = self._reports or _report(self._encoder.record_load, self._recorder.record_presence)

    async def encode(self, request: EncodeRequest) -> Features:
        """Encode one request's pictures."""
        return await self._encoder.encode(request)

    def check_health(self) -> None:
        """Serve replaces the replica when this raises three times in a row."""
        self._encoder.check_health()


class LanguageReplica:
    """A replica of the language side."""

    def __init__(self) -> None:
        from internvl_runtimes.deployments.language_model import LanguageModel
        from internvl_runtimes.deployments.metrics import RayRecorder

        self._recorder = RayRecorder(Role.LANGUAGE)
        self._model = LanguageModel(self._recorder)
        self._reports: asyncio.Task[None] | None = None
        self._readiness: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply the operator's configuration."""
        from internvl_runtimes.deployments.loading import parse_config

        await self._model.reconfigure(parse_config(LanguageConfig, user_config))
        self._readiness = self._readiness or _serve_readiness(_passes(self._model.check_health))
        self._reports = self._reports or _report(self._model.record_load, self._recorder.record_presence)

    async def generate(
        self, request: GenerateRequest, features: Features | None
    ) -> AsyncGenerator[Chunk, None]:
        """Stream one answer. The features arrive resolved: Ray fetched them before this was called."""
        generation = self._model.generate(request, features)
        try:
            async for chunk in generation:
                yield chunk
        finally:
            await generation.aclose()

    def check_health(self) -> None:
        """Serve replaces the replica when this raises three times in a row."""
        self._model.check_health()


class GatewayReplica:
    """A replica of the gateway, the ingress of the main application."""

    def __init__(self, language: DeploymentHandle[Any]) -> None:
        from internvl_runtimes.deployments.gateway import Gateway, Sides
        from internvl_runtimes.deployments.metrics import RayRecorder
        from internvl_runtimes.deployments.ray_handles import RayLanguage, RayLanguageOf, RayVision
        from internvl_runtimes.deployments.readiness import ProxyCheck

        self._recorder = RayRecorder(Role.GATEWAY)
        application = serve.get_replica_context().app_name
        self._stands_in = application.endswith(STAND_IN_SUFFIX)
        other_language = RayLanguageOf(f"{application}{STAND_IN_SUFFIX}")
        self._gateway = Gateway(
            vision=RayVision,
            language=RayLanguage(language),
            stand_in=lambda vision: Sides(RayVision(f"{vision}{STAND_IN_SUFFIX}"), other_language),
            recorder=self._recorder,
        )
        self._proxy = ProxyCheck("127.0.0.1", pods.HTTP_PORT)
        self._reports: asyncio.Task[None] | None = None
        self._readiness: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply the operator's configuration."""
        from internvl_runtimes.deployments.loading import parse_config

        await self._gateway.reconfigure(parse_config(GatewayConfig, user_config))
        self._reports = self._reports or _report(self._gateway.record_load, self._recorder.record_presence)
        if not self._stands_in:  # then it has no pod of its own to speak for
            self._readiness = self._readiness or _serve_readiness(self._is_ready)

    async def _is_ready(self) -> bool:
        return self._gateway.is_ready and await self._proxy.passes()

    def __serve_build_asgi_app__(self) -> Any:  # Serve's name
        """The HTTP side; Serve calls this once after the constructor."""
        from internvl_runtimes.deployments.http import GatewayHttp

        log = logging.getLogger("ray.serve").error
        return GatewayHttp(self._gateway, self._recorder, log=log, says_request_id=False)


def build_vision(args: dict[str, Any]) -> Application:
    """The vision application: one deployment, no route."""
    _check(args)
    deploy = serve.deployment(
        name=VISION_DEPLOYMENT, max_ongoing_requests=_VISION_ONGOING, max_queued_requests=_QUEUED
    )
    return deploy(VisionReplica).bind()


def build_service(args: dict[str, Any]) -> Application:
    """The main application: the gateway (ingress) and the language model."""
    _check(args)
    deploy_language = serve.deployment(
        name=LANGUAGE_DEPLOYMENT, max_ongoing_requests=_LANGUAGE_ONGOING, max_queued_requests=_QUEUED
    )
    deploy_gateway = serve.deployment(name=GATEWAY_DEPLOYMENT, max_ongoing_requests=_GATEWAY_ONGOING)
    language = deploy_language(LanguageReplica).bind()
    return deploy_gateway(serve.ingress()(GatewayReplica)).bind(language)


def _report(*records: Callable[[], None]) -> asyncio.Task[None]:
    from internvl_runtimes.deployments.reporting import report_forever

    return asyncio.get_running_loop().create_task(report_forever(*records))


def _serve_readiness(is_ready: Callable[[], Awaitable[bool]]) -> asyncio.Task[None] | None:
    """In a pod of the operator's: tell the kubelet whether this replica takes requests."""
    from internvl_runtimes.deployments.readiness import ReadinessServer

    port = os.environ.get(pods.READY_PORT_VARIABLE)
    if not port:
        return None
    server = ReadinessServer(is_ready, host="0.0.0.0", port=int(port))  # noqa: S104 - inside a pod
    return asyncio.get_running_loop().create_task(server.run())


def _passes(check_health: Callable[[], None]) -> Callable[[], Awaitable[bool]]:
    async def passes() -> bool:
        try:
            check_health()
        except Exception:  # what Serve takes for ill, whatever it is
            return False
        return True

    return passes


def _check(args: dict[str, Any]) -> None:
    from internvl_runtimes.deployments.loading import parse_config

    # Before the rest is parsed: another version may have other arguments.
    wanted = args.get("contract")
    if wanted != CONTRACT_VERSION:
        raise ReplicaFailed(
            FailureCode.RUNTIME_VERSION_MISMATCH,
            f"The operator speaks version {wanted} of the contract, the runtime on this Ray cluster version "
            f"{CONTRACT_VERSION}: install the runtime of the operator's version on every Ray node.",
        )
    parse_config(ApplicationArgs, args)
