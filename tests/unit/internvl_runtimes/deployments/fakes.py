"""Deterministic stand-ins for engines, handles and clocks."""

import asyncio
import base64
import io
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_runtimes.contract.metrics import Metric
from internvl_runtimes.contract.serve_args import GatewayConfig, LanguageConfig, ModelSource, VisionConfig
from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.gateway import Gateway
from internvl_runtimes.engines.base import EngineLoad, EnginePrompt, Pixels, Rows, TokenStep, VisionGeometry
from internvl_runtimes.protocol.handover import (
    Chunk,
    EncodeRequest,
    Features,
    Finished,
    GenerateRequest,
    ImageFeatures,
    Sampling,
    features_digest,
)

TILE, HIDDEN, KEPT = 28, 4, 2
REVISION = "sha256:" + "ab" * 32
MODEL = ModelSource(uri="file:///models/tiny", name="tiny")
OTHER_MODEL = ModelSource(uri="file:///models/other", name="tiny")


def vision_config(**changes: Any) -> VisionConfig:
    return VisionConfig(**{"generation": "v1", "model": MODEL, **changes})


def language_config(**changes: Any) -> LanguageConfig:
    return LanguageConfig(**{"generation": "l1", "model": MODEL, **changes})


def gateway_config(**changes: Any) -> GatewayConfig:
    return GatewayConfig(
        **{"generation": "g1", "model": MODEL, "vision_application": "a.b.vision", **changes}
    )


def png(colour: str = "red", size: tuple[int, int] = (TILE, TILE)) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return held.getvalue()


def data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


class Recorded:
    """A recorder that keeps everything."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, dict[str, str]]] = []

    def record(self, metric: Metric, value: float = 1.0, **tags: str) -> None:
        assert set(tags) == set(metric.tags)
        self.values.append((metric.name, value, tags))

    def total(self, metric: Metric, **tags: str) -> float:
        return sum(v for name, v, t in self.values if name == metric.name and tags.items() <= t.items())


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class FakeVision:
    """Rows that hold the mean of the tile's pixels, so that another picture gives other rows."""

    geometry = VisionGeometry(TILE, 4, 3, HIDDEN, KEPT, None)

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.before: Callable[[], None] = lambda: None

    def encode(self, pixels: Pixels) -> Rows:
        self.before()
        self.batches.append(len(pixels))
        means = pixels.mean(axis=(1, 2, 3), keepdims=True).reshape(-1, 1, 1)
        return np.broadcast_to(means, (len(pixels), 4, 3)).astype(np.float32)

    def compress_probability(self, patches: Rows) -> Rows:
        raise AssertionError("a model without a router")

    def project(self, patches: Rows, *, compressed: bool) -> Rows:
        return np.repeat(patches[:, :KEPT, :1], HIDDEN, axis=2)


class FakeLanguage:
    """Says a given list of tokens, one a step; a hook before each lets a test move the clock or wait."""

    hidden_size, max_model_len = HIDDEN, 64

    def __init__(self, tokens: Iterable[int]) -> None:
        self.tokens = list(tokens)
        self.prompts: list[EnginePrompt] = []
        self.open = self.closed = 0
        self.started = self.stopped = False
        self.before_step: Callable[[int], Any] = lambda index: None

    async def __aenter__(self) -> "FakeLanguage":
        self.started = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopped = True

    async def generate(
        self, prompt: EnginePrompt, *, sampling: Sampling, stop_token_ids: frozenset[int]
    ) -> AsyncGenerator[TokenStep, None]:
        self.prompts.append(prompt)
        self.open += 1
        try:
            for index, token in enumerate(self.tokens):
                waiting = self.before_step(index)
                if waiting is not None:
                    await waiting
                last = index == len(self.tokens) - 1 or token in stop_token_ids
                yield TokenStep((token,), "stop" if last else None, 0.5, 0.25)
                if last:
                    return
        finally:
            self.open -= 1
            self.closed += 1

    def load(self) -> EngineLoad:
        return EngineLoad(self.open, 0, 10, 5, 20)

    def check_health(self) -> None:
        pass


def features(
    *images: ImageFeatures, revision: str = REVISION, fill: float = 1.0, generation: str = "v1"
) -> Features:
    """Consistent features for those pictures."""
    rows = np.full((sum(image.tokens for image in images), HIDDEN), fill, np.float32)
    digest = features_digest(rows, images, revision)
    seconds = {"queue": 0.1, "decode": 0.2, "encode": 0.3}
    return Features("r", rows, images, revision, generation, digest, seconds)


class FakePending:
    """An encode under way."""

    def __init__(self, outcome: Features | Exception) -> None:
        self.outcome = outcome
        self.is_queued = False
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    async def resolve(self) -> Features:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class FakeSides:
    """Both handles. Each generation follows the next script: chunks, then perhaps an exception."""

    def __init__(self, *scripts: list[Chunk | Exception], endless: bool = False) -> None:
        self.scripts = list(scripts)
        self.encodes: list[EncodeRequest] = []
        self.pending: list[FakePending] = []
        self.generations: list[tuple[GenerateRequest, Any]] = []
        self.closed = 0
        self.endless = endless
        self.encode_outcome: Callable[[EncodeRequest], Features | Exception] = lambda request: features(
            *(ImageFeatures(1, 1, (KEPT,)) for _ in request.images),
            fill=float(sum(request.images[0]) % 97),
        )

    async def encode(self, request: EncodeRequest) -> FakePending:
        self.encodes.append(request)
        self.pending.append(FakePending(self.encode_outcome(request)))
        return self.pending[-1]

    async def generate(self, request: GenerateRequest, pending: Any) -> AsyncGenerator[Chunk, None]:
        self.generations.append((request, pending))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            for item in script:
                if isinstance(item, Exception):
                    raise item
                yield item
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


def answer(text: str = "red", **changes: Any) -> list[Chunk | Exception]:
    """A script that says `text` in two chunks and ends."""
    finished = Finished(
        **{
            "reason": "stop",
            "prompt_tokens": 9,
            "visual_tokens": 2,
            "completion_tokens": 3,
            "tiles": 1,
            "generation": "l1",
            "revision": REVISION,
            "seconds": {
                "queue": 0.1,
                "decode": 0.2,
                "encode": 0.3,
                "wait": 0.0,
                "prefill": 0.1,
                "generate": 0.4,
            },
            **changes,
        }
    )
    return [Chunk(text[:1], (1,)), Chunk(text[1:], (2, 3), finished)]


def checkpoint_config() -> CheckpointConfig:
    """A model of tiny tiles: 28 pixels, 2x2 patches, one token a tile after shuffling."""
    return CheckpointConfig.model_validate(
        {
            "vision_config": {
                "hidden_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "intermediate_size": 8,
                "image_size": TILE,
                "patch_size": 14,
                "norm_type": "layer_norm",
                "qk_normalization": False,
                "qkv_bias": True,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-6,
            },
            "llm_config": {
                "model_type": "qwen3",
                "hidden_size": HIDDEN,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "num_key_value_heads": 1,
                "head_dim": 4,
                "intermediate_size": 8,
                "vocab_size": 400,
                "max_position_embeddings": 512,
                "hidden_act": "silu",
                "rms_norm_eps": 1e-6,
                "rope_theta": 10000,
                "tie_word_embeddings": True,
                "attention_bias": False,
            },
            "downsample_ratio": 0.5,
            "ps_version": "v2",
            "select_layer": -1,
            "template": "internvl2_5",
            "system_message": "You see.",
            "min_dynamic_patch": 1,
            "max_dynamic_patch": 12,
            "dynamic_image_size": True,
            "use_thumbnail": True,
        }
    )


class GatewaySetting:
    """A gateway over fake sides, with a clock that only tests move, and what it records."""

    def __init__(self, admission: Admission, sides: FakeSides) -> None:
        self.sides, self.clock, self.recorded = sides, Clock(), Recorded()
        self.gateway = Gateway(
            vision=lambda _: sides,
            language=sides,
            recorder=self.recorded,
            load=lambda _: admission,
            clock=self.clock,
            pause=self.clock.pause,
        )
