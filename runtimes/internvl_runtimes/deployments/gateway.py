"""The gateway's work on one request: send it on, retry what was lost, give chunks back. No HTTP and no Ray here.

`http` turns it into OpenAI's wire form; `app` puts both into a Serve deployment. The gateway never waits for
vision: it hands the encoder's unresolved response to the language side, so the rows never pass through it.

A request belongs to one model. Sides that have another one refuse it, which happens while the model is changed:
it then goes to the stand-in beside them, and where there is none it waits and is tried again. A request that was
taken for the model before is made anew for the present one. So two models never work on one answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.failures import FailureCode
from internvl_runtimes.contract.probes import ProbeAnswer
from internvl_runtimes.contract.serve_args import GatewayConfig
from internvl_runtimes.deployments.admission import Admission, Admitted
from internvl_runtimes.deployments.arrivals import Answering, Arrivals
from internvl_runtimes.deployments.handles import (
    LanguageHandle,
    Lost,
    PendingFeatures,
    VisionHandle,
    next_before,
)
from internvl_runtimes.deployments.loading import load_failures, open_checkpoint
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.deployments.probe import Probe
from internvl_runtimes.preprocess.prompt import Prompter, TokenizerInvalid
from internvl_runtimes.preprocess.template import TemplateUnknown
from internvl_runtimes.protocol.handover import (
    Chunk,
    EncodeRequest,
    FeaturesInvalid,
    Finished,
    GenerateRequest,
    ModelDiffers,
    PictureUnreadable,
)
from internvl_runtimes.protocol.problems import RequestInvalid, RoleUnavailable

LOST_RETRIES = 3
"""How often a request is sent again after a replica, a node or its features were lost."""
INVALID_RETRIES = 1
"""How often features that fail their own checks are encoded again, before the request fails loudly."""
RETRY_PAUSE_S = 0.1
"""Doubles with each retry: time for Serve to notice that a replica is gone."""
HOLD_S = 0.5
"""Pause between two tries while the sides have another model than the request is for."""
DEADLINE_S = 300.0
"""Seconds for a whole request."""
THREAD_BYTES = 256 * 1024
"""Bodies above this are parsed in a thread, so that base64 and tokenizing hold up nobody's stream."""


def load_admission(config: GatewayConfig) -> Admission:
    """Checkpoint description and tokenizer; blocking, no weights. Raises `ReplicaFailed`."""
    began = time.perf_counter()
    checkpoint = open_checkpoint(config.model, hashed=False)
    with load_failures(
        (TokenizerInvalid, FailureCode.MODEL_INVALID), (TemplateUnknown, FailureCode.MODEL_INVALID)
    ):
        prompter = Prompter(checkpoint.tokenizer, checkpoint.config)
    read = checkpoint.bytes_read(tokenizer=True)
    read.tell("gateway", checkpoint.path, seconds=time.perf_counter() - began)
    return Admission(config, checkpoint.config, prompter, read)


@dataclass(frozen=True, slots=True)
class Sides:
    """Vision and language that belong together."""

    vision: VisionHandle
    language: LanguageHandle


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a configured gateway works with."""

    admission: Admission
    own: Sides
    stand_in: Sides | None
    probe: Probe


class Gateway:
    """Admits, sends on, retries. One event loop."""

    def __init__(
        self,
        *,
        vision: Callable[[str], VisionHandle],
        language: LanguageHandle,
        stand_in: Callable[[str], Sides | None] = lambda _: None,
        recorder: Recorder,
        load: Callable[[GatewayConfig], Admission] = load_admission,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make a gateway that still wants a configuration.

        Args:
            vision: handle of the vision application of that name.
            language: handle of the language side.
            stand_in: sides of the stand-in of the service with the vision application of that name, whether or
                not they are there; None where there never is one.
            recorder: where measurements go.
            load: how a configuration becomes an admission.
            clock: seconds, monotonic.
            pause: how to wait between retries.
        """
        self._vision_of = vision
        self._language = language
        self._stand_in_of = stand_in
        self._recorder = recorder
        self._load = load
        self._clock = clock
        self._pause = pause
        self._ready: _Ready | None = None
        self._arrivals = Arrivals(recorder, clock)

    async def reconfigure(self, config: GatewayConfig) -> None:
        """Apply a configuration. Requests in flight keep the one they began with. Raises `ReplicaFailed`."""
        admission = await asyncio.to_thread(self._load, config)
        admission.read.record(self._recorder, "gateway")
        own = Sides(self._vision_of(config.vision_application), self._language)
        stand_in = self._stand_in_of(config.vision_application)
        probe = Probe(admission=admission, vision=own.vision, language=own.language, clock=self._clock)
        self._ready = _Ready(admission, own, stand_in, probe)

    @property
    def is_ready(self) -> bool:
        """Whether this gateway is configured and its tokenizer loaded. Nothing about the other sides."""
        return self._ready is not None

    @property
    def admission(self) -> Admission:
        """The limits in force. Raises `RoleUnavailable` before the first configuration."""
        return self._configured().admission

    async def probe(self, *, sees: bool = True) -> ProbeAnswer:
        """The semantic probe of both sides, or of language alone."""
        return await self._configured().probe.ask(sees=sees)

    async def admit(self, body: bytes) -> Admitted:
        """Check a request body and count what it will cost. Raises as `Admission.admit`."""
        admission = self.admission
        if len(body) > THREAD_BYTES:
            admitted = await asyncio.to_thread(admission.admit, body)
        else:
            admitted = admission.admit(body)
        self._arrivals.admitted(admitted)
        return admitted

    def record_load(self) -> None:
        """Set the gauges: what waits for its first token, and for a vision replica."""
        self._arrivals.record_load()

    async def answer(self, admitted: Admitted, request_id: str) -> AsyncGenerator[Chunk, None]:
        """The answer's chunks; the last has `finished`, with `transfer` and `total` among its seconds.

        Closing it cancels the generation and the encode. Before the first chunk, what was lost is sent again.

        Raises:
            RoleUnavailable: a side stays lost or has another model, or was lost in the middle of the answer.
            FeaturesInvalid: the features failed their checks twice.
            RequestInvalid, PromptTooLong, Overloaded, DeadlinePassed: as the sides say.
        """
        with self._arrivals.answering(admitted) as answering:
            async with aclosing(self._answer(answering, request_id)) as chunks:
                async for chunk in chunks:
                    answering.piece(chunk)
                    yield chunk

    async def _answer(self, answering: Answering, request_id: str) -> AsyncGenerator[Chunk, None]:
        admitted = answering.admitted
        started = self._clock()
        deadline = started + DEADLINE_S
        lost = invalid = 0
        refusal: Exception | None = None  # of the service's own sides: then the stand-in is asked
        while True:
            ready = self._configured()
            if admitted.model != ready.admission.config.model.identity:
                admitted = await asyncio.to_thread(ready.admission.admit_chat, admitted.chat)
            sides = ready.own if refusal is None or ready.stand_in is None else ready.stand_in
            began, first_at = self._clock(), None
            try:
                async with aclosing(
                    self._attempt(sides, admitted, answering, request_id, deadline)
                ) as chunks:
                    async for chunk in chunks:
                        first_at = first_at or self._clock()
                        yield self._timed(chunk, started, began, first_at)
                return
            except PictureUnreadable as error:
                param = admitted.image_params[error.index]
                raise RequestInvalid(
                    f"{param}: {error.message}.", param=param, code="invalid_image"
                ) from error
            except FeaturesInvalid:
                invalid += 1
                if first_at is not None or invalid > INVALID_RETRIES:
                    raise
            except (ModelDiffers, RoleUnavailable) as error:
                if first_at is not None:
                    raise
                if refusal is None and ready.stand_in is not None:
                    refusal = error
                    continue
                if isinstance(refusal or error, RoleUnavailable):
                    raise (refusal or error) from error
                if self._clock() + HOLD_S >= deadline:
                    raise RoleUnavailable("The service's model is being changed.") from error
                refusal = None
                await self._pause(HOLD_S)
                continue
            except Lost as error:
                lost += 1
                if first_at is not None:
                    raise RoleUnavailable("A replica was lost in the middle of the answer.") from error
                if lost > LOST_RETRIES or self._clock() >= deadline:
                    raise RoleUnavailable(f"Lost {lost} times, last: {error}") from error
            refusal = None
            if admitted.images:
                self._recorder.record(metrics.REENCODES)
            await self._pause(RETRY_PAUSE_S * 2 ** (lost + invalid - 1))

    async def _attempt(
        self, sides: Sides, admitted: Admitted, answering: Answering, request_id: str, deadline: float
    ) -> AsyncGenerator[Chunk, None]:
        features: PendingFeatures | None = None
        try:
            if admitted.images:
                encode = EncodeRequest(request_id, admitted.images, model=admitted.model)
                features = answering.features = await sides.vision.encode(encode)
            request = GenerateRequest(
                request_id=request_id,
                prompt_ids=admitted.prompt.ids,
                image_count=admitted.prompt.image_count,
                sampling=admitted.sampling,
                deadline_s=max(0.0, deadline - self._clock()),
                model=admitted.model,
            )
            async with aclosing(sides.language.generate(request, features)) as chunks:
                while True:
                    try:
                        yield await next_before(chunks, deadline, self._clock)
                    except StopAsyncIteration:
                        return
        finally:
            answering.features = None
            if features is not None:
                features.cancel()

    def _timed(self, chunk: Chunk, started: float, began: float, first_at: float) -> Chunk:
        """Add to the last chunk what only the gateway can measure.

        Lost attempts before the one that `began` last count in `total` only.
        """
        if chunk.finished is None:
            return chunk
        seconds = dict(chunk.finished.seconds)
        until_first = ("queue", "decode", "encode", "wait", "prefill")
        now = self._clock()
        # What is left of the time to the first chunk: hops between processes and the hand-over of the rows. No more than
        # is left of all: while the first chunk is on its way the next ones are generated.
        left_until_first = first_at - began - sum(seconds.get(stage, 0.0) for stage in until_first)
        seconds["transfer"] = max(0.0, min(left_until_first, now - began - sum(seconds.values())))
        seconds["total"] = now - started
        for stage in ("transfer", "total"):
            self._recorder.record(metrics.STAGE_SECONDS, seconds[stage], stage=stage)
        finished: Finished = replace(chunk.finished, seconds=seconds)
        return replace(chunk, finished=finished)

    def _configured(self) -> _Ready:
        if self._ready is None:
            raise RoleUnavailable("This gateway has no configuration yet.")
        return self._ready
