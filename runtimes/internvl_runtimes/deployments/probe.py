"""The semantic probe: does this service see, and does it speak?

Two drawn pictures go through vision, one of them on through language. That two pictures give different rows,
and that both sides have the same checkpoint, is what no health check of a replica can say. Called by `Gateway`.
"""

import asyncio
import io
import time
import uuid
from collections.abc import Callable
from contextlib import aclosing

import numpy as np
from PIL import Image, ImageDraw

from internvl_runtimes.contract.probes import ProbeAnswer, RoleAnswer
from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.handles import LanguageHandle, PendingFeatures, VisionHandle
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Picture
from internvl_runtimes.protocol.handover import (
    EncodeRequest,
    Features,
    Finished,
    GenerateRequest,
    Overloaded,
    Sampling,
)

SIDES_TIMEOUT_S = 6.0
"""Both sides are asked at once, each alone."""
TOGETHER_TIMEOUT_S = 4.0
"""Then one picture goes through both."""
REUSE_S = 1.0
_TOKENS = 4
_LEAST_DIFFERENCE = 1e-4
_QUESTION = "What is in the picture?"


class Probe:
    """At most one runs at a time; its answer is given to all who ask within a second."""

    def __init__(
        self,
        *,
        admission: Admission,
        vision: VisionHandle,
        language: LanguageHandle,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admission = admission
        self._vision = vision
        self._language = language
        self._clock = clock
        self._one = asyncio.Lock()
        self._last: tuple[float, bool, ProbeAnswer] | None = None  # when, whether it saw, its answer

    async def ask(self, *, sees: bool = True) -> ProbeAnswer:
        """Run, or wait for the one that runs, or reuse its answer. Never raises for a broken side.

        Without `sees` nothing is sent to vision, whose replica a picture would start.
        """
        async with self._one:
            if self._last is None or self._clock() - self._last[0] > REUSE_S or self._last[1] is not sees:
                answer = await self._run() if sees else await self._run_without_vision()
                self._last = (self._clock(), sees, answer)
            return self._last[2]

    async def _run_without_vision(self) -> ProbeAnswer:
        language, text = await self._speak(None)
        return ProbeAnswer(ok=language.ok, gateway=self._gateway(), language=language, text=text)

    def _gateway(self) -> RoleAnswer:
        return RoleAnswer(ok=True, generation=self._admission.config.generation)

    async def _run(self) -> ProbeAnswer:
        (vision, differ), (language, text) = await asyncio.gather(self._see(), self._speak(None))
        if vision.ok and language.ok:
            language, text = await self._see_and_speak(vision)
        return ProbeAnswer(
            ok=vision.ok and language.ok,
            gateway=self._gateway(),
            vision=vision,
            language=language,
            features_differ=differ,
            text=text,
        )

    async def _see(self) -> tuple[RoleAnswer, bool]:
        started = self._clock()
        pending: list[PendingFeatures] = []
        try:
            async with asyncio.timeout(SIDES_TIMEOUT_S):
                for image in (_disc(), _cross()):
                    pending.append(await self._vision.encode(_request(image)))  # noqa: PERF401  # cancelled below
                one, other = await asyncio.gather(*(each.resolve() for each in pending))
        except Exception as error:
            return self._broken(error, started, SIDES_TIMEOUT_S), False
        finally:
            for each in pending:
                each.cancel()
        differ = _differ(one, other)
        return (
            RoleAnswer(
                ok=differ,
                generation=one.generation,
                revision=one.revision,
                error="" if differ else "Two different pictures gave the same features.",
                seconds=self._clock() - started,
            ),
            differ,
        )

    async def _speak(
        self, features: PendingFeatures | None, timeout_s: float = SIDES_TIMEOUT_S
    ) -> tuple[RoleAnswer, str]:
        started = self._clock()
        parts: tuple[str | Picture, ...] = (_QUESTION,) if features is None else (PICTURE, _QUESTION)
        prompt = self._admission.prompter.prompt([Message("user", parts)])
        request = GenerateRequest(
            request_id=f"probe-{uuid.uuid4().hex}",
            prompt_ids=prompt.ids,
            image_count=prompt.image_count,
            sampling=Sampling(max_tokens=_TOKENS),
            deadline_s=timeout_s,
        )
        text, finished = "", None
        try:
            async with (
                asyncio.timeout(timeout_s),
                aclosing(self._language.generate(request, features)) as chunks,
            ):
                async for chunk in chunks:
                    text += chunk.text
                    finished = chunk.finished
        except Exception as error:
            return self._broken(error, started, timeout_s), text
        return _spoke(finished, self._clock() - started), text

    async def _see_and_speak(self, vision: RoleAnswer) -> tuple[RoleAnswer, str]:
        started = self._clock()
        try:
            features = await self._vision.encode(_request(_disc()))
        except Exception as error:
            return self._broken(error, started, TOGETHER_TIMEOUT_S), ""
        try:
            language, text = await self._speak(features, TOGETHER_TIMEOUT_S)
        finally:
            features.cancel()
        if language.ok and language.revision != vision.revision:
            mismatch = f"Language has revision {language.revision}, vision {vision.revision}."
            language = language.model_copy(update={"ok": False, "error": mismatch})
        return language, text

    def _broken(self, error: Exception, started: float, timeout_s: float) -> RoleAnswer:
        said = f"No answer within {timeout_s:.0f} s." if isinstance(error, TimeoutError) else str(error)
        return RoleAnswer(
            ok=False,
            error=said or type(error).__name__,
            busy=isinstance(error, TimeoutError | Overloaded),
            seconds=self._clock() - started,
        )


def _spoke(finished: Finished | None, seconds: float) -> RoleAnswer:
    if finished is None:
        return RoleAnswer(ok=False, error="The stream ended without an end.", seconds=seconds)
    return RoleAnswer(ok=True, generation=finished.generation, revision=finished.revision, seconds=seconds)


def _differ(one: Features, other: Features) -> bool:
    if not (np.isfinite(one.rows).all() and np.isfinite(other.rows).all()):
        return False
    return one.rows.shape != other.rows.shape or bool(
        np.abs(one.rows - other.rows).max(initial=0.0) > _LEAST_DIFFERENCE
    )


def _request(image: bytes) -> EncodeRequest:
    return EncodeRequest(f"probe-{uuid.uuid4().hex}", (image,))


def _disc() -> bytes:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill="red")
    return _png(image)


def _cross() -> bytes:
    image = Image.new("RGB", (64, 64), "navy")
    draw = ImageDraw.Draw(image)
    draw.line((8, 8, 56, 56), fill="yellow", width=8)
    draw.line((8, 56, 56, 8), fill="yellow", width=8)
    return _png(image)


def _png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()
