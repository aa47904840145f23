"""The language side: prompt and feature rows in, a stream of text out. A plain class; `app` deploys it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.failures import FailureCode
from internvl_runtimes.contract.metrics import BESIDE_PREFILL, Stage
from internvl_runtimes.contract.serve_args import LanguageConfig
from internvl_runtimes.deployments.handles import next_before
from internvl_runtimes.deployments.in_flight import InFlight
from internvl_runtimes.deployments.loading import load_failures, open_artifact, open_checkpoint
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.deployments.model_bytes import ModelBytes
from internvl_runtimes.deployments.work import record_work
from internvl_runtimes.engines.base import (
    EngineFailed,
    EngineLoad,
    EnginePrompt,
    LanguageEngine,
    TokenStep,
)
from internvl_runtimes.preprocess.detokenizer import TextStream
from internvl_runtimes.preprocess.prompt import Prompter, TokenizerInvalid
from internvl_runtimes.preprocess.template import TemplateUnknown
from internvl_runtimes.protocol.handover import Chunk, Features, Finished, GenerateRequest, check_model

COALESCE_S = 0.025
"""Least time between two chunks of one answer: each item of a stream costs 1 to 2 ms of CPU on its way."""


@dataclass(frozen=True, slots=True)
class LoadedLanguage:
    """A model in memory; engines over it are cheap to make."""

    prompter: Prompter
    revision: str
    make_engine: Callable[[LanguageConfig], LanguageEngine]
    read: ModelBytes = field(default_factory=ModelBytes)


Load = Callable[[LanguageConfig], LoadedLanguage]


def load_language(config: LanguageConfig) -> LoadedLanguage:
    """Load tokenizer and decoder; blocking. Raises `ReplicaFailed` with the code that fits."""
    # Here and not above: the import of ONNX Runtime takes a third of a second that tests and others save.
    from internvl_runtimes.engines.onnxruntime_language.decoder import OnnxRuntimeDecoder
    from internvl_runtimes.engines.onnxruntime_language.engine import OnnxRuntimeLanguage
    from internvl_runtimes.engines.onnxruntime_language.scheduler import Limits

    began = time.perf_counter()
    checkpoint = open_checkpoint(config.model)
    artifact = open_artifact("language", checkpoint, config.artifact_stores)
    with load_failures(
        (TokenizerInvalid, FailureCode.MODEL_INVALID),
        (TemplateUnknown, FailureCode.MODEL_INVALID),
        (EngineFailed, FailureCode.ENGINE_FAILED),
    ):
        prompter = Prompter(checkpoint.tokenizer, checkpoint.config)
        decoder = OnnxRuntimeDecoder(artifact, threads=config.threads)

    def make_engine(limits: LanguageConfig) -> LanguageEngine:
        return OnnxRuntimeLanguage(
            decoder,
            limits=Limits(
                max_sequences=limits.max_sequences,
                max_waiting=limits.max_waiting,
                waiting_rows=limits.image_rows_limit,
            ),
            max_model_len=min(
                limits.max_model_len or checkpoint.config.language.max_position,
                checkpoint.config.language.max_position,
            ),
        )

    read = checkpoint.bytes_read(tokenizer=True, artifact=artifact)
    read.tell("language", checkpoint.path, seconds=time.perf_counter() - began)
    return LoadedLanguage(prompter, checkpoint.revision, make_engine, read)


@dataclass(slots=True)
class _Running:
    """An engine that takes requests, and how many it still has."""

    engine: LanguageEngine
    loaded: LoadedLanguage
    generation: str
    in_flight: InFlight = field(default_factory=InFlight)
    told: EngineLoad = field(default_factory=lambda: EngineLoad(0, 0, 0, 0, 0))
    """What of its work is in the metrics already."""

    async def retire(self) -> None:
        """Let the answers on it end, then stop it."""
        await self.in_flight.drained()
        await self.engine.__aexit__(None, None, None)


class LanguageModel:
    """Checks features, widens prompts, runs the engine, turns tokens into chunks of text."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        load: Load = load_language,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = recorder
        self._load = load
        self._clock = clock
        self._config: LanguageConfig | None = None
        self._running: _Running | None = None
        self._retiring: dict[asyncio.Task[None], _Running] = {}

    async def reconfigure(self, config: LanguageConfig) -> None:
        """Apply a configuration. Changed limits make a new engine over the same loaded model, no reload.

        The old engine finishes what it has and stops; new requests go to the new one. When loading fails the
        old one goes on answering, until Serve replaces this replica for having raised.

        Raises:
            ReplicaFailed: the checkpoint, the artifact or the engine cannot be loaded.
        """
        old, old_config = self._running, self._config
        if old is None or old_config is None or _loads_from(config) != _loads_from(old_config):
            loaded = await asyncio.to_thread(self._load, config)
            loaded.read.record(self._recorder, "language")
        elif _limits(config) == _limits(old_config):
            self._config, old.generation = config, config.generation
            return
        else:
            loaded = old.loaded
        with load_failures((EngineFailed, FailureCode.ENGINE_FAILED)):
            engine = await loaded.make_engine(config).__aenter__()
        self._config, self._running = config, _Running(engine, loaded, config.generation)
        if old is not None:
            retire = asyncio.get_running_loop().create_task(old.retire())
            self._retiring[retire] = old
            retire.add_done_callback(self._retired)

    async def generate(
        self, request: GenerateRequest, features: Features | None
    ) -> AsyncGenerator[Chunk, None]:
        """The answer as chunks: the first token at once, the last chunk has `finished`. Closing cancels.

        Raises:
            ModelDiffers: the request is for another model.
            FeaturesInvalid: the rows are not what they say they are, or of another revision.
            PromptTooLong, Overloaded, EngineFailed: as the engine says.
            DeadlinePassed: `deadline_s` is over.
        """
        assert self._running is not None and self._config is not None
        check_model(request.model, self._config.model.identity)
        running = self._running
        try:
            with running.in_flight.one():
                async with aclosing(self._answer(running, request, features)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        finally:
            self.record_load()

    async def _answer(
        self, running: _Running, request: GenerateRequest, features: Features | None
    ) -> AsyncGenerator[Chunk, None]:
        deadline = None if request.deadline_s is None else self._clock() + request.deadline_s
        prompt = _engine_prompt(running, request, features)
        prompter = running.loaded.prompter
        text = TextStream(prompter.tokenizer, request.sampling.stop)
        answer = _Answer(request, features, running, len(prompt.token_ids))
        visual = len(prompt.visual_positions)
        self._recorder.record(metrics.PROMPT_TOKENS_ARRIVED, visual, kind="visual")
        self._recorder.record(metrics.PROMPT_TOKENS_ARRIVED, answer.prompt_tokens - visual, kind="prompt")
        stops = frozenset[int]() if request.sampling.ignore_eos else prompter.stop_token_ids
        steps = running.engine.generate(prompt, sampling=request.sampling, stop_token_ids=stops)
        pending = ""
        pending_ids: list[int] = []
        shown_at: float | None = None
        try:
            while answer.reason is None:
                step = await next_before(steps, deadline, self._clock)
                answer.take(step, self._clock())
                pending += text.push(step.token_ids)
                pending_ids += step.token_ids
                if text.stopped:
                    answer.reason = "stop"
                if shown_at is None:
                    self._recorder.record(metrics.QUEUE_SECONDS, answer.wait_s, stage="language")
                    self.record_load()
                now = self._clock()
                if answer.reason is None and (shown_at is None or now - shown_at >= COALESCE_S):
                    yield Chunk(pending, tuple(pending_ids))
                    pending, pending_ids, shown_at = "", [], now
        finally:
            await steps.aclose()  # frees the slot at once, also when cancelled
        finished = answer.finished(self._clock())
        self._record(finished)
        yield Chunk(pending + text.finish(), tuple(pending_ids), finished)

    def check_health(self) -> None:
        """Raise when the engine cannot answer any more."""
        if self._running is not None:
            self._running.engine.check_health()

    @property
    def max_model_len(self) -> int:
        """Prompt and answer together, in tokens."""
        assert self._running is not None
        return self._running.engine.max_model_len

    def record_load(self) -> None:
        """Set the gauges: running and waiting sequences, KV bytes. Count what the engines did since the last time."""
        for retiring in self._retiring.values():
            self._count_work(retiring)
        if self._running is None or self._config is None:
            return
        load = self._count_work(self._running)
        self._recorder.record(metrics.BATCH_LIMIT, self._config.max_sequences, stage="language")
        self._recorder.record(metrics.RUNNING_SEQUENCES, load.running)
        self._recorder.record(metrics.QUEUE_DEPTH, load.waiting, stage="language")
        self._recorder.record(metrics.QUEUE_DEPTH, load.waiting_tokens, stage="prefill")
        self._recorder.record(metrics.KV_BYTES, load.kv_bytes_reserved, state="reserved")
        self._recorder.record(metrics.KV_BYTES, load.kv_bytes_used, state="used")

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._count_work(self._retiring.pop(task))

    def _count_work(self, running: _Running) -> EngineLoad:
        load, told = running.engine.load(), running.told
        running.told = load
        self._recorder.record(metrics.SEQUENCES_BEGUN, load.begun - told.begun)
        record_work(self._recorder, Stage.PREFILL, load.prefill.since(told.prefill))
        record_work(self._recorder, Stage.DECODE, load.decode.since(told.decode))
        beside = load.beside_prefill - told.beside_prefill
        self._recorder.record(metrics.SATURATED_WORK, beside, stage=BESIDE_PREFILL)
        return load

    def _record(self, finished: Finished) -> None:
        seconds = finished.seconds
        self._recorder.record(metrics.TOKENS, finished.prompt_tokens - finished.visual_tokens, kind="prompt")
        self._recorder.record(metrics.TOKENS, finished.visual_tokens, kind="visual")
        self._recorder.record(metrics.TOKENS, finished.completion_tokens, kind="output")
        self._recorder.record(metrics.STAGE_SECONDS, seconds["prefill"], stage="prefill")
        if finished.completion_tokens > 1:
            step_s = seconds["generate"] / (finished.completion_tokens - 1)
            self._recorder.record(metrics.STAGE_SECONDS, step_s, stage="decode_step")


@dataclass(slots=True)
class _Answer:
    """What is counted while one answer is made."""

    request: GenerateRequest
    features: Features | None
    running: _Running
    prompt_tokens: int
    tokens: int = 0
    wait_s: float = 0.0
    prefill_s: float = 0.0
    first_at: float | None = None
    reason: str | None = None

    def take(self, step: TokenStep, now: float) -> None:
        self.tokens += len(step.token_ids)
        if self.first_at is None:
            self.first_at, self.wait_s, self.prefill_s = now, step.wait_s, step.prefill_s
        self.reason = step.finish_reason

    def finished(self, now: float) -> Finished:
        assert self.reason is not None and self.first_at is not None
        images = self.features.images if self.features else ()
        return Finished(
            reason=self.reason,
            prompt_tokens=self.prompt_tokens,
            visual_tokens=sum(image.tokens for image in images),
            completion_tokens=self.tokens,
            tiles=sum(len(image.tokens_per_tile) for image in images),
            generation=self.running.generation,
            revision=self.running.loaded.revision,
            seconds={
                **(self.features.seconds if self.features else {}),
                "wait": self.wait_s,
                "prefill": self.prefill_s,
                "generate": now - self.first_at,
            },
            images=images,
        )


def _engine_prompt(running: _Running, request: GenerateRequest, features: Features | None) -> EnginePrompt:
    hidden_size = running.engine.hidden_size
    if features is None:
        tokens: tuple[int, ...] = ()
        rows = np.zeros((0, hidden_size), np.float32)
    else:
        features.check(
            hidden_size=hidden_size, revision=running.loaded.revision, image_count=request.image_count
        )
        tokens = tuple(image.tokens for image in features.images)
        rows = features.rows
    widened = running.loaded.prompter.widen(request.prompt_ids, tokens)
    return EnginePrompt(widened.ids, widened.visual_positions, rows)


def _loads_from(config: LanguageConfig) -> tuple[object, ...]:
    """What a loaded model depends on; the rest of the configuration is limits."""
    return (
        config.model.uri,
        config.model.revision,
        config.artifact_stores,
        config.engine,
        config.threads,
        config.attempt,
    )


def _limits(config: LanguageConfig) -> tuple[object, ...]:
    return (config.max_model_len, config.max_sequences, config.max_waiting, config.image_rows_limit)
