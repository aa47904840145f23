"""The two interfaces that engines implement and deployments call.

A vision engine is three synchronous functions over tiles; its caller runs them in a thread. A language engine
is a prompt in, a stream of tokens out; it owns its batching, so it is asynchronous.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from internvl_runtimes.protocol.handover import Sampling

Pixels = npt.NDArray[np.float32]
Rows = npt.NDArray[np.float32]


class EngineFailed(RuntimeError):
    """The engine refused its artifact, failed a step, or has stopped: what it was doing is in the message."""


@dataclass(frozen=True, slots=True)
class VisionGeometry:
    """Sizes of a vision side, by the letters of the shapes below."""

    tile_size: int
    """S: side of a tile in pixels."""
    patches: int
    """P: patches a tile."""
    patch_width: int
    """D: width of a patch."""
    hidden_size: int
    """H: width of a feature row, which is the language model's."""
    kept_tokens: int
    """K: rows of a tile that is kept."""
    compressed_tokens: int | None
    """C: rows of a tile that the router compresses; None for a model without a router."""


class VisionEngine(Protocol):
    """The vision tower, both projectors and the router of one checkpoint. Calls may come from any one thread."""

    @property
    def geometry(self) -> VisionGeometry:
        """Sizes that callers respect."""
        ...

    def encode(self, pixels: Pixels) -> Rows:
        """The ViT: float32 [N, 3, S, S] -> patches float32 [N, P, D]. Raises `EngineFailed`."""
        ...

    def compress_probability(self, patches: Rows) -> Rows:
        """The router: patches [N, P, D] -> float32 [N], p0. Only where `compressed_tokens` is not None."""
        ...

    def project(self, patches: Rows, *, compressed: bool) -> Rows:
        """One projector: patches [n, P, D] -> rows float32 [n, K or C, H]."""
        ...


@dataclass(frozen=True, slots=True)
class EnginePrompt:
    """A prompt as an engine takes it: token ids, and rows in place of some of their embeddings."""

    token_ids: npt.NDArray[np.int64]
    """int64 [T]: one image-context token for each visual row."""
    visual_positions: npt.NDArray[np.int64]
    """int64 [R], ascending: the tokens whose embedding is a visual row."""
    visual_rows: Rows
    """float32 [R, H]."""

    def __post_init__(self) -> None:
        """Refuse a prompt whose parts do not belong together."""
        if self.visual_rows.shape[:1] != self.visual_positions.shape:
            raise ValueError(
                f"{self.visual_rows.shape[0]} visual rows for {self.visual_positions.shape[0]} positions"
            )
        last = self.visual_positions.max(initial=-1)
        if last >= len(self.token_ids):
            raise ValueError(f"a visual row for position {last} of {len(self.token_ids)} tokens")


@dataclass(frozen=True, slots=True)
class TokenStep:
    """What one engine step gave one sequence."""

    token_ids: tuple[int, ...]
    """Usually one. The stop token is included when it ends the answer."""
    finish_reason: Literal["stop", "length"] | None = None
    """Set on the last step: a stop token, or `max_tokens` or the model's length reached."""
    wait_s: float = 0.0
    """Seconds the sequence waited for its slot."""
    prefill_s: float = 0.0
    """Seconds from slot to first token."""


@dataclass(frozen=True, slots=True)
class StageWork:
    """What one stage of an engine did since the start."""

    done: float = 0
    busy_s: float = 0.0
    saturated_done: float = 0
    """The part of it that was done while sequences waited which the engine could not take."""
    saturated_s: float = 0.0
    """Seconds of that."""

    def since(self, before: "StageWork") -> "StageWork":
        """What came on top of an earlier state."""
        return StageWork(
            self.done - before.done,
            self.busy_s - before.busy_s,
            self.saturated_done - before.saturated_done,
            self.saturated_s - before.saturated_s,
        )


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine is doing now: for metrics, admission and the autoscaler."""

    running: int
    waiting: int
    kv_bytes_reserved: int
    """Memory that the KV cache occupies now."""
    kv_bytes_used: int
    """The part of it that holds tokens of running sequences."""
    kv_bytes_limit: int
    """What the cache can grow to."""
    decode_steps: int = 0
    """Decode steps since the start."""
    waiting_tokens: int = 0
    """Prompt tokens of the sequences that wait for a slot."""
    begun: int = 0
    """Sequences that got a slot since the start."""
    prefill: StageWork = StageWork()
    """Prompt tokens, visual ones included."""
    decode: StageWork = StageWork()
    """Output tokens but the first of each answer, which its prefill gives."""
    beside_prefill: int = 0
    """Those of them that were decoded while sequences waited for prefill alone, since the start."""


class LanguageEngine(Protocol):
    """A language model with its own batching. `async with` starts and stops it."""

    @property
    def hidden_size(self) -> int:
        """H: width of a visual row."""
        ...

    @property
    def max_model_len(self) -> int:
        """Prompt and answer together, in tokens."""
        ...

    async def __aenter__(self) -> Self:
        """Start on the running event loop."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Stop; sequences in flight end with `EngineFailed`."""
        ...

    def generate(
        self, prompt: EnginePrompt, *, sampling: Sampling, stop_token_ids: frozenset[int]
    ) -> AsyncGenerator[TokenStep, None]:
        """The answer, step by step. Stop strings are the caller's affair; closing the iterator cancels.

        Raises (at the first step):
            PromptTooLong: prompt and `max_tokens` do not fit into `max_model_len`.
            Overloaded: the queue is full.
            EngineFailed: a step failed, or the engine has stopped.
        """
        ...

    def load(self) -> EngineLoad:
        """Figures of this moment."""
        ...

    def check_health(self) -> None:
        """Raise `EngineFailed` when the engine cannot answer any more and must be replaced."""
        ...
