"""The handles of `handles` over Ray Serve, and the one place that knows Ray's exceptions.

Imported by `app` in a gateway replica only.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ray import exceptions as ray_errors
from ray import serve
from ray.serve import exceptions as serve_errors
from ray.serve.handle import DeploymentHandle

from internvl_runtimes.contract.serve_args import LANGUAGE_DEPLOYMENT, VISION_DEPLOYMENT
from internvl_runtimes.deployments.garbage import CycleCollector
from internvl_runtimes.deployments.handles import Lost, PendingFeatures
from internvl_runtimes.protocol.handover import Chunk, EncodeRequest, Features, GenerateRequest, Overloaded
from internvl_runtimes.protocol.problems import RoleUnavailable


class RayFeatures:
    """An unresolved response of the vision side."""

    def __init__(self, response: Any) -> None:
        self.response: Any = response  # a DeploymentResponse[Features]

    @property
    def is_queued(self) -> bool:
        """Whether no replica has taken it yet. Serve's public methods wait for that, so its future is asked."""
        return not self.response._replica_result_future.done()

    def cancel(self) -> None:
        """Stop the encode if it is not done."""
        _cancel(self.response)

    async def resolve(self) -> Features:
        """Fetch the rows."""
        try:
            features: Features = await self.response
            return features
        except Exception as error:
            raise translate(error, role="vision") from error


class _Deployment:
    """A deployment of another application, looked up when first needed.

    The handle follows the application by name, so it also finds replicas of one that was deleted and made anew.
    """

    def __init__(self, name: str, application: str) -> None:
        self._name = name
        self._application = application
        self._handle: DeploymentHandle[Any] | None = None

    async def handle(self) -> DeploymentHandle[Any]:
        """Raises `RoleUnavailable` when there is no such application."""
        if self._handle is None:
            try:
                # In a thread: it asks Serve's controller and blocks.
                self._handle = await asyncio.to_thread(
                    serve.get_deployment_handle, self._name, self._application
                )
            except (serve_errors.RayServeException, KeyError) as error:  # KeyError: there is no such name
                raise RoleUnavailable(f"No application {self._application} with {self._name}.") from error
        return self._handle


class RayVision:
    """The vision application of that name."""

    def __init__(self, application: str) -> None:
        self._deployment = _Deployment(VISION_DEPLOYMENT, application)

    async def encode(self, request: EncodeRequest) -> RayFeatures:
        """Start an encode. Raises `RoleUnavailable` when there is no such application."""
        handle = await self._deployment.handle()
        return RayFeatures(handle.encode.remote(request))


class RayLanguage:
    """The language deployment of the same application."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle.options(stream=True)
        self._cycles = CycleCollector()

    async def generate(
        self, request: GenerateRequest, features: PendingFeatures | None
    ) -> AsyncGenerator[Chunk, None]:
        """Start a generation; the features are passed on unresolved."""
        unresolved = features.response if isinstance(features, RayFeatures) else None
        chunks: Any = self._handle.generate.remote(request, unresolved)
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            # Passed on unresolved, the features fail here too, with the vision side's own error.
            role = "language" if unresolved is None else "vision or language"
            raise translate(error, role=role) from error
        finally:
            _cancel(chunks)
            if unresolved is not None:
                self._cycles.request_ended()


class RayLanguageOf:
    """The language deployment of the application of that name."""

    def __init__(self, application: str) -> None:
        self._deployment = _Deployment(LANGUAGE_DEPLOYMENT, application)
        self._language: RayLanguage | None = None

    async def generate(
        self, request: GenerateRequest, features: PendingFeatures | None
    ) -> AsyncGenerator[Chunk, None]:
        """Start a generation. Raises `RoleUnavailable` when there is no such application."""
        if self._language is None:
            self._language = RayLanguage(await self._deployment.handle())
        async with aclosing(self._language.generate(request, features)) as chunks:
            async for chunk in chunks:
                yield chunk


def _cancel(response: Any) -> None:
    # A response that never reached a replica raises here what its awaiting raised already.
    with contextlib.suppress(Exception):
        response.cancel()


def translate(error: Exception, *, role: str) -> Exception:
    """What an exception of Ray or Serve is to the gateway.

    An exception of a replica's own code comes back as it was raised there. Everything else of Ray's (actor
    died, object or node lost, worker crashed, ...) is `Lost`: the request is not to blame.
    """
    if isinstance(error, serve_errors.BackPressureError):
        return Overloaded(f"Too many requests wait for {role}.", error.retry_after_s or 1.0)
    if isinstance(error, serve_errors.DeploymentUnavailableError):
        return RoleUnavailable(f"The {role} side cannot be deployed; the service's status says why.")
    if isinstance(error, serve_errors.ReplicaUnavailableError):
        return Lost(f"{role}: {type(error).__name__}")
    if isinstance(error, serve_errors.RayServeException) and isinstance(error.__cause__, ray_errors.RayError):
        # The language side's router, where the replica died whose response was passed on unresolved.
        return translate(error.__cause__, role=role)
    if isinstance(error, ray_errors.RayTaskError):
        cause = error.cause
        if isinstance(cause, Exception) and not isinstance(cause, ray_errors.RayTaskError):
            return translate(cause, role=role)
        return error
    if isinstance(error, ray_errors.RayError):
        return Lost(f"{role}: {type(error).__name__}")
    return error
