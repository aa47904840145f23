"""The data plane's metrics: what deployments record, and what the operator, dashboards, alerts and docs read.

Ray exports them from each node, under the names that `Metric.exported` gives, and adds the labels below. A replica
that is replaced has another name and so other series, which begin at zero: nothing has to be guessed from a value
that fell. Seconds are seconds, bytes are bytes.

Work is counted in the unit of its stage: tiles for vision, prompt and visual tokens for prefill, output tokens for
decode. It is counted four times on its way: when the gateway admits it, when it reaches a replica, when the engine
begins it, and when it is done. So one can tell what is asked from what is managed:

* what arrives: `*_ADMITTED`, at the gateway, which also runs while the other sides have no replica;
* what one answer costs: `WORK` of decode divided by `SEQUENCES_BEGUN`, not by what was admitted, else a rush looks
  like short answers;
* what a replica manages, per stage: `SATURATED_WORK` divided by `SATURATED_SECONDS` over the same window;
* how full a replica is: the rate of `SATURATED_SECONDS`, summed over its stages, from 0 to 1;
* what waits: `QUEUE_DEPTH` in the replicas, `AWAITED_TILES` before those of vision, and `AWAITED` wherever it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

PREFIX = "ray_"
"""Ray puts it before each name."""

APPLICATION_LABEL = "application"
"""Ray Serve's label: the application that the replica belongs to."""
DEPLOYMENT_LABEL = "deployment"
"""Ray Serve's label: the deployment within it."""
REPLICA_LABEL = "replica"
"""Ray Serve's label: the replica; no name is used twice."""

NOTHING = 1e-300
"""What a counter holds that has not counted yet. Ray exports no counter before its first addition and refuses to add
zero; this is lost in the first real one, and an absent series then means that nobody tells."""


class MetricKind(StrEnum):
    """Prometheus kind of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Unit(StrEnum):
    """What a value is a number of."""

    REQUESTS = "requests"
    TILES = "tiles"
    TOKENS = "tokens"
    SEQUENCES = "sequences"
    SECONDS = "seconds"
    BYTES = "bytes"
    REPORTS = "reports"
    WORK = "work"
    """Of the label `stage`: tiles, or tokens."""


class Role(StrEnum):
    """Which deployment records a metric."""

    GATEWAY = "gateway"
    VISION = "vision"
    LANGUAGE = "language"


class Stage(StrEnum):
    """A part of a replica whose speed is measured by itself."""

    VISION = "vision"
    PREFILL = "prefill"
    DECODE = "decode"


BESIDE_PREFILL = "beside_prefill"
"""As the stage of saturated work: output tokens decoded while sequences waited for prefill alone, with slots free.

How many they are says nothing of what decode manages. Their steps' seconds are prefill's.
"""


class Input(StrEnum):
    """What a request holds: the two classes wait for different things."""

    TEXT = "text"
    PICTURES = "pictures"


_RECORDED_BY: Mapping[str, Role] = {
    **{role.value: role for role in Role},
    Stage.PREFILL: Role.LANGUAGE,
    Stage.DECODE: Role.LANGUAGE,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without Ray's prefix, what it counts, who records it, and its own labels."""

    name: str
    kind: MetricKind
    unit: Unit
    description: str
    roles: tuple[Role, ...]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Own labels, each with all its values; no values where they are a closed list elsewhere."""
    boundaries: tuple[float, ...] = ()
    """Upper edges of a histogram's buckets."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of its own labels."""
        return tuple(self.labels)

    @property
    def exported(self) -> str:
        """The name that a scrape of a Ray node shows; a histogram's without `_bucket`, `_sum` and `_count`."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is MetricKind.COUNTER else ''}"

    def series(self, role: Role) -> Iterator[dict[str, str]]:
        """The label values, where they are known beforehand, that a replica of that role records."""
        if role in self.roles:
            for values in product(*self.labels.values()):
                if all(_RECORDED_BY.get(value, role) is role for value in values):
                    yield dict(zip(self.labels, values, strict=True))


_EVERY_ROLE = tuple(Role)
_SIDES = (Role.VISION, Role.LANGUAGE)
_SIDE = {"stage": ("vision", "language")}
_STAGE = {"stage": tuple(Stage)}
_INPUT = {"input": tuple(Input)}
_KIND = {"kind": ("prompt", "visual")}

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
_BETWEEN_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)

# What arrives, at the gateway.

REQUESTS_ADMITTED = Metric(
    "internvl_requests_admitted",
    MetricKind.COUNTER,
    Unit.REQUESTS,
    "Requests admitted, once each: what is sent again after a loss does not count.",
    (Role.GATEWAY,),
    _INPUT,
)
TILES_ADMITTED = Metric(
    "internvl_tiles_admitted",
    MetricKind.COUNTER,
    Unit.TILES,
    "Tiles of admitted requests, counted from image headers.",
    (Role.GATEWAY,),
)
PROMPT_TOKENS_ADMITTED = Metric(
    "internvl_prompt_tokens_admitted",
    MetricKind.COUNTER,
    Unit.TOKENS,
    "Prompt tokens of admitted requests; visual tokens as if no tile were compressed.",
    (Role.GATEWAY,),
    _KIND,
)
OUTPUT_TOKENS_ADMITTED = Metric(
    "internvl_output_tokens_admitted",
    MetricKind.COUNTER,
    Unit.TOKENS,
    "Tokens that the answers of admitted requests may have at most.",
    (Role.GATEWAY,),
)
AWAITED = Metric(
    "internvl_awaited",
    MetricKind.GAUGE,
    Unit.REQUESTS,
    "Admitted requests whose first token has not come: wherever they wait, also while a side has no replica.",
    (Role.GATEWAY,),
    _INPUT,
)
AWAITED_TILES = Metric(
    "internvl_awaited_tiles",
    MetricKind.GAUGE,
    Unit.TILES,
    "Tiles of admitted requests that no vision replica has taken: all are full, or there is none.",
    (Role.GATEWAY,),
)

# What the caller sees, at the gateway.

REQUESTS = Metric(
    "internvl_requests",
    MetricKind.COUNTER,
    Unit.REQUESTS,
    "Requests by outcome.",
    (Role.GATEWAY,),
    {"outcome": ("ok", "refused", "failed", "cancelled")},
)
ERRORS = Metric(
    "internvl_errors",
    MetricKind.COUNTER,
    Unit.REQUESTS,
    "Refused or failed requests by reason: the code of the error that the caller got.",
    (Role.GATEWAY,),
    {"reason": ()},
)
TIME_TO_FIRST_TOKEN = Metric(
    "internvl_time_to_first_token_seconds",
    MetricKind.HISTOGRAM,
    Unit.SECONDS,
    "Seconds from admission to the first piece of the answer, lost attempts included.",
    (Role.GATEWAY,),
    _INPUT,
    _FIRST_TOKEN_SECONDS,
)
BETWEEN_TOKENS = Metric(
    "internvl_inter_token_seconds",
    MetricKind.HISTOGRAM,
    Unit.SECONDS,
    "Seconds between two pieces of an answer, divided by the tokens of the later one; one observation a piece.",
    (Role.GATEWAY,),
    {},
    _BETWEEN_SECONDS,
)
REENCODES = Metric(
    "internvl_reencodes",
    MetricKind.COUNTER,
    Unit.REQUESTS,
    "Features lost before use and encoded again.",
    (Role.GATEWAY,),
)

# What a replica of either side has before it.

REPLICA_START = Metric(
    "internvl_replica_start_seconds",
    MetricKind.GAUGE,
    Unit.SECONDS,
    "Unix time at which the replica was made: its counters began at zero then.",
    _EVERY_ROLE,
)
REPORTS = Metric(
    "internvl_replica_reports",
    MetricKind.COUNTER,
    Unit.REPORTS,
    "Times that the replica told its load, once a second, also at rest: while it stands still, Ray has reported nothing.",
    _EVERY_ROLE,
)
BATCH_LIMIT = Metric(
    "internvl_batch_limit",
    MetricKind.GAUGE,
    Unit.WORK,
    "What one replica works on together at most: tiles of one engine call, or sequences.",
    _SIDES,
    _SIDE,
)
QUEUE_DEPTH = Metric(
    "internvl_queue_depth",
    MetricKind.GAUGE,
    Unit.WORK,
    "What waits in a replica: tiles for room or for the engine (vision), sequences for a slot (language), their prompt "
    "tokens (prefill).",
    _SIDES,
    {"stage": ("vision", "language", "prefill")},
)
QUEUE_SECONDS = Metric(
    "internvl_queue_seconds",
    MetricKind.HISTOGRAM,
    Unit.SECONDS,
    "Seconds that one request waited in a replica before its engine began it.",
    _SIDES,
    _SIDE,
    _SECONDS,
)
RUNNING_SEQUENCES = Metric(
    "internvl_running_sequences",
    MetricKind.GAUGE,
    Unit.SEQUENCES,
    "Sequences that hold a KV slot.",
    (Role.LANGUAGE,),
)
KV_BYTES = Metric(
    "internvl_kv_bytes",
    MetricKind.GAUGE,
    Unit.BYTES,
    "KV cache bytes: reserved and used.",
    (Role.LANGUAGE,),
    {"state": ("reserved", "used")},
)
TILES_ARRIVED = Metric(
    "internvl_tiles_arrived",
    MetricKind.COUNTER,
    Unit.TILES,
    "Tiles of requests that reached a vision replica, also of those that it refused.",
    (Role.VISION,),
)
TILES_BEGUN = Metric(
    "internvl_tiles_begun",
    MetricKind.COUNTER,
    Unit.TILES,
    "Tiles that the engine began.",
    (Role.VISION,),
)
PROMPT_TOKENS_ARRIVED = Metric(
    "internvl_prompt_tokens_arrived",
    MetricKind.COUNTER,
    Unit.TOKENS,
    "Prompt tokens of requests that reached a language replica, also of those that it refused; visual tokens as encoded.",
    (Role.LANGUAGE,),
    _KIND,
)
SEQUENCES_BEGUN = Metric(
    "internvl_sequences_begun",
    MetricKind.COUNTER,
    Unit.SEQUENCES,
    "Sequences that got a slot.",
    (Role.LANGUAGE,),
)

# What a replica does and what it manages.

WORK = Metric(
    "internvl_work",
    MetricKind.COUNTER,
    Unit.WORK,
    "Work done by stage: tiles encoded, prompt and visual tokens prefilled, output tokens decoded (the first of an "
    "answer comes with its prefill).",
    _SIDES,
    _STAGE,
)
BUSY_SECONDS = Metric(
    "internvl_busy_seconds",
    MetricKind.COUNTER,
    Unit.SECONDS,
    "Seconds that the engine worked, by stage.",
    _SIDES,
    _STAGE,
)
SATURATED_WORK = Metric(
    "internvl_saturated_work",
    MetricKind.COUNTER,
    Unit.WORK,
    "The part of the work that was done while more waited than the engine could take. While slots are free, that is "
    "prefill's; what is decoded meanwhile is told as beside_prefill.",
    _SIDES,
    {"stage": (*Stage, BESIDE_PREFILL)},
)
SATURATED_SECONDS = Metric(
    "internvl_saturated_seconds",
    MetricKind.COUNTER,
    Unit.SECONDS,
    "Seconds during which more waited than the engine could take, by stage; prefill and decode share them when all "
    "slots are taken, else they are prefill's.",
    _SIDES,
    _STAGE,
)

# What one request took.

TILES = Metric(
    "internvl_tiles",
    MetricKind.COUNTER,
    Unit.TILES,
    "Tiles handed over, by what the router chose: keep, or compress.",
    (Role.VISION,),
    {"rate": ("keep", "compress")},
)
TOKENS = Metric(
    "internvl_tokens",
    MetricKind.COUNTER,
    Unit.TOKENS,
    "Tokens of finished answers by kind: prompt, visual, output.",
    (Role.LANGUAGE,),
    {"kind": ("prompt", "visual", "output")},
)
STAGE_SECONDS = Metric(
    "internvl_stage_seconds",
    MetricKind.HISTOGRAM,
    Unit.SECONDS,
    "Seconds that one request spent in a stage: decode, encode, transfer, prefill, decode_step (a token), total.",
    _EVERY_ROLE,
    {"stage": ("decode", "encode", "transfer", "prefill", "decode_step", "total")},
    _SECONDS,
)
BATCH_TILES = Metric(
    "internvl_batch_tiles",
    MetricKind.HISTOGRAM,
    Unit.TILES,
    "Tiles in one engine call.",
    (Role.VISION,),
    {},
    (1, 2, 4, 8, 16, 32, 64),
)
BYTES_HANDED_OVER = Metric(
    "internvl_handover_bytes",
    MetricKind.COUNTER,
    Unit.BYTES,
    "Feature bytes handed from vision to language.",
    (Role.VISION,),
)
MODEL_BYTES_READ = Metric(
    "internvl_model_read_bytes",
    MetricKind.COUNTER,
    Unit.BYTES,
    "Bytes of model files that loading a role read, each file once: description, weights (for the digest), artifact.",
    _EVERY_ROLE,
    {"role": tuple(Role), "what": ("description", "weights", "artifact")},
)

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric, in the order above."""
