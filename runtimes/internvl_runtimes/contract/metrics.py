"""Names of the data plane's metrics: used by the deployments, dashboards, alerts and docs.

Ray exports them from each node with the prefix `ray_` (`ray_internvl_tiles_total`) and adds the tags
`deployment`, `replica` and `application`. Seconds are seconds, bytes are bytes; counters get `_total` from Ray.
"""

from dataclasses import dataclass
from enum import StrEnum


class MetricKind(StrEnum):
    """Prometheus kind of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without Ray's prefix, what it counts, and its own tags."""

    name: str
    kind: MetricKind
    description: str
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

REQUESTS = Metric("internvl_requests", MetricKind.COUNTER, "Requests by outcome.", ("outcome",))
ERRORS = Metric("internvl_errors", MetricKind.COUNTER, "Refused or failed requests by reason.", ("reason",))
TILES_ADMITTED = Metric(
    "internvl_tiles_admitted", MetricKind.COUNTER, "Tiles of admitted requests, counted from image headers."
)
PROMPT_TOKENS_ADMITTED = Metric(
    "internvl_prompt_tokens_admitted",
    MetricKind.COUNTER,
    "Prompt tokens of admitted requests, visual tokens at their upper bound.",
)
QUEUE_DEPTH = Metric("internvl_queue_depth", MetricKind.GAUGE, "Work waiting by stage.", ("stage",))
RUNNING_SEQUENCES = Metric("internvl_running_sequences", MetricKind.GAUGE, "Sequences that hold a KV slot.")
KV_BYTES = Metric("internvl_kv_bytes", MetricKind.GAUGE, "KV cache bytes: reserved and used.", ("state",))
TILES = Metric("internvl_tiles", MetricKind.COUNTER, "Tiles encoded.", ("rate",))
TOKENS = Metric("internvl_tokens", MetricKind.COUNTER, "Tokens by kind: prompt, visual, output.", ("kind",))
STAGE_SECONDS = Metric(
    "internvl_stage_seconds",
    MetricKind.HISTOGRAM,
    "Seconds that one request spent in a stage: queue, decode, encode, transfer, prefill, decode_step, total.",
    ("stage",),
    _SECONDS,
)
BYTES_HANDED_OVER = Metric(
    "internvl_handover_bytes", MetricKind.COUNTER, "Feature bytes handed from vision to language."
)
BATCH_TILES = Metric(
    "internvl_batch_tiles", MetricKind.HISTOGRAM, "Tiles in one engine call.", (), (1, 2, 4, 8, 16, 32, 64)
)
REENCODES = Metric("internvl_reencodes", MetricKind.COUNTER, "Features lost before use and encoded again.")
MODEL_BYTES_READ = Metric(
    "internvl_model_read_bytes",
    MetricKind.COUNTER,
    "Bytes of model files that loading a role read, each file once: description, weights (for the digest), artifact.",
    ("role", "what"),
)

ALL = (
    REQUESTS,
    ERRORS,
    TILES_ADMITTED,
    PROMPT_TOKENS_ADMITTED,
    QUEUE_DEPTH,
    RUNNING_SEQUENCES,
    KV_BYTES,
    TILES,
    TOKENS,
    STAGE_SECONDS,
    BYTES_HANDED_OVER,
    BATCH_TILES,
    REENCODES,
    MODEL_BYTES_READ,
)
