"""What is simulated: the speeds of a replica of each side, how long it takes to start, and what a user was promised.

The speeds are those of NVIDIA A100s, for which most was published. A tile of InternViT-300M is 0.724 TFLOP and one of
InternViT-6B 11.94 TFLOP (dimensions of the released checkpoints); 45 % of the peak of 312 TFLOPS is assumed for the tower.
"""

from dataclasses import dataclass, replace

TOKENS_PER_TILE = 256
"""Visual tokens of a tile that no router compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a replica comes and goes, in seconds."""

    pod_s: float
    """From the order until its process begins: scheduling, and an image that is there."""
    cold_s: float
    """From its process until it answers: libraries, weights, warm-up."""
    drain_s: float
    """How long one that leaves is still paid for, beyond the work it had begun."""

    @property
    def total_s(self) -> float:
        """From the order until it answers."""
        return self.pod_s + self.cold_s


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionReplica:
    """One replica of the vision encoder: one request's tiles after the other, at a constant speed.

    The tower is limited by arithmetic from a batch of one or two tiles on, so a larger batch is no faster.
    """

    gpus: int
    tiles_per_s: float
    start: Start


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageReplica:
    """One replica of the language model: continuous batching with chunked prefill.

    A step takes `step_s + sequence_s * n` with n running sequences and makes one token of each. A prefill is cut into
    chunks, each of which makes its step longer; so a prefill slows the answers, and the answers slow it.
    """

    gpus: int
    prompt_tokens_per_s: float
    """Prefill alone."""
    step_s: float
    sequence_s: float
    sequences: int
    """Most at once; a request waits for a free one before its prefill."""
    chunk_tokens: int
    start: Start

    @property
    def output_tokens_per_s(self) -> float:
        """Tokens of all sequences together, in a full batch, while no prefill runs."""
        return self.sequences / (self.step_s + self.sequence_s * self.sequences)

    @property
    def chunk_s(self) -> float:
        """Seconds that a chunk of a prefill adds to its step."""
        return self.chunk_tokens / self.prompt_tokens_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What counts as attained."""

    first_token_s: float = 1.0
    """Most that a first token may come later than on an empty service with a replica of each side."""
    inter_token_s: float = 0.100
    """Most seconds between tokens, mean over an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One pair of models on its hardware."""

    name: str
    title: str
    vision: VisionReplica
    language: LanguageReplica
    objectives: Objectives = Objectives()
    encode_s_per_tile: float = 0.0
    """Not 0: coupled. The language replicas encode too, and all they have stands still meanwhile."""

    @property
    def is_coupled(self) -> bool:
        """Whether one kind of replica does both."""
        return self.encode_s_per_tile > 0


LIGHT = Site(
    name="light",
    title="InternViT-300M and an 8B language model, one A100 each",
    # 312 x 0.45 / 0.724 = 194 tiles/s
    vision=VisionReplica(gpus=1, tiles_per_s=194.0, start=Start(pod_s=5, cold_s=20, drain_s=2)),
    # 16.4 GFLOP a token at 45 % of the peak: 8,560 tokens/s. 16.4 GB of weights at 2 TB/s: 8 ms, and 4 ms of overhead.
    language=LanguageReplica(
        gpus=1,
        prompt_tokens_per_s=8_560.0,
        step_s=0.012,
        sequence_s=0.00015,
        sequences=128,
        chunk_tokens=512,
        start=Start(pod_s=10, cold_s=170, drain_s=20),
    ),
)

HEAVY = Site(
    name="heavy",
    title="InternViT-6B on one A100, a 32B language model on four",
    # 312 x 0.45 / 11.94 = 11.8 tiles/s
    vision=VisionReplica(gpus=1, tiles_per_s=11.8, start=Start(pod_s=5, cold_s=20, drain_s=2)),
    # InternVL3.5, table 18: eight A100s are full at 6,500 to 7,500 visual tokens/s. Weights 16 GB a GPU: 8 ms, and 10 ms.
    language=LanguageReplica(
        gpus=4,
        prompt_tokens_per_s=3_500.0,
        step_s=0.018,
        sequence_s=0.00015,
        sequences=96,
        chunk_tokens=256,
        start=Start(pod_s=10, cold_s=170, drain_s=20),
    ),
)

SITES = {site.name: site for site in (LIGHT, HEAVY)}


def coupled(site: Site, *, sharded: bool) -> Site:
    """The same hardware with one kind of replica that encodes and answers.

    Args:
        site: whose language replicas get the vision tower.
        sharded: the ideal, all GPUs of a replica encode together without loss. Otherwise one of them encodes and the
            others wait, as measured: InternViT under tensor parallelism 2 / 4 / 8 took 492 / 466 / 524 ms
            (SGLang's encoder disaggregation, lm-sys blog 2026-01-12).
    """
    gpus = site.language.gpus if sharded else 1
    return replace(
        site,
        name=f"{site.name}-coupled-{'ideal' if sharded else 'measured'}",
        encode_s_per_tile=1 / (site.vision.tiles_per_s * gpus),
    )
