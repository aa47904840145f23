"""Measures internvl-nano on this machine as a `Site` of the simulator: one replica of each side, each with its share of a core.

Speeds are what the replicas count themselves: the stages' metrics, of which the operator learns too. Nothing here comes
from the run that the simulator is compared with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from e2e.bench.against_live.traffic import OUTPUT_TOKENS, Arrival, Kind, spaced, write_trace
from e2e.bench.autoscaling.site import LanguageReplica, Site, Start, VisionReplica
from e2e.scaling.counters import Counters, read_counters
from e2e.scaling.replica_watch import LANGUAGE, VISION, ReplicaWatch
from e2e.scaling.world import World
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Stage
from internvl_runtimes.contract.serve_args import LanguageConfig

CORES = {VISION: 0.15, LANGUAGE: 0.15}
"""Of one replica: three of each side leave a core for all that is not simulated, which a gateway alone takes a third of."""
PLENTY = 1.0
"""Cores of the side that is not measured."""
LOAD_S, PER_S = 16.0, 100.0
"""Of each load; what is over the bound in flight is not sent."""
SEQUENCES: int = LanguageConfig.model_fields["max_sequences"].default
CHUNK_TOKENS = 512
"""Prefill of one step: `engines.onnxruntime_language`."""
REPORTED_S = 2.5
"""After so long what happened stands on the nodes' pages."""
_DEADLINE_S = 90.0
_PICTURES, _TEXTS, _BOTH = (
    spaced(int(LOAD_S * PER_S), 1 / PER_S, pictures=kinds) for kinds in ((True,), (False,), (True, False))
)
_COUNTED = (
    metrics.TILES_ADMITTED,
    metrics.PROMPT_TOKENS_ARRIVED,
    metrics.WORK,
    metrics.BUSY_SECONDS,
    metrics.SATURATED_WORK,
    metrics.SATURATED_SECONDS,
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured."""

    site: Site
    pictures: Kind
    text: Kind
    pictures_beside_s: float
    """Seconds of a first token that are no replica's work: gateway, proxy, Ray, and the caller's own."""
    text_beside_s: float

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one load came to."""

    before: Counters
    after: Counters
    figures: dict[str, Any]

    def moved(self, metric: metrics.Metric, stage: Stage) -> float:
        return self.after.since(self.before, metric, stage)

    def speed(self, work: metrics.Metric, seconds: metrics.Metric, stage: Stage) -> float:
        lasted_s = self.moved(seconds, stage)
        if lasted_s <= 0:
            raise ValueError(f"{stage} has told no {seconds.exported}: the load did not fill its replica")
        return self.moved(work, stage) / lasted_s

    def first_token_s(self, kind: str) -> float:
        return float(self.figures["seconds_by"][f"first token, {kind}"]["p50"])


def calibrate(world: World, watch: ReplicaWatch) -> Calibration:
    """Measure; the service stands with one replica of each side, and does so again at the end.

    Raises:
        ValueError: a load did not fill the replica that it is to measure.
    """
    watch.limit(LANGUAGE, PLENTY)
    full_vision = _load(world, _PICTURES, in_flight=4)
    watch.limit(LANGUAGE, CORES[LANGUAGE])
    with_pictures = _load(world, _PICTURES, in_flight=1)
    without = _load(world, _TEXTS, in_flight=1)
    watch.limit(VISION, PLENTY)
    full_language = _load(world, _BOTH, in_flight=SEQUENCES + 4)
    watch.limit(VISION, CORES[VISION])
    site = _site(full_vision, with_pictures, without, full_language, _starts(world, watch))
    pictures, text = _kind(with_pictures), _kind(without)
    return Calibration(
        site=site,
        pictures=pictures,
        text=text,
        pictures_beside_s=max(with_pictures.first_token_s("pictures") - _alone_s(site, pictures), 0.0),
        text_beside_s=max(without.first_token_s("text") - _alone_s(site, text), 0.0),
    )


def _load(world: World, arrivals: Sequence[Arrival], *, in_flight: int) -> _Loaded:
    ray = world.installation.ray
    before = read_counters(ray, _COUNTED)
    trace = write_trace(arrivals, world.folder / "calibration.jsonl")
    figures = world.replay(trace, "--ignore-eos", "--most-in-flight", str(in_flight)).ended()
    time.sleep(REPORTED_S)
    return _Loaded(before, read_counters(ray, _COUNTED), figures)


def _kind(loaded: _Loaded) -> Kind:
    """What one of its requests was."""
    answered = loaded.figures["requests"]["answered"]
    tiles, tokens = (
        loaded.after.since(loaded.before, metric)
        for metric in (metrics.TILES_ADMITTED, metrics.PROMPT_TOKENS_ARRIVED)
    )
    return Kind(round(tiles / answered), round(tokens / answered))


def _site(
    full_vision: _Loaded,
    with_pictures: _Loaded,
    without: _Loaded,
    full_language: _Loaded,
    starts: dict[str, Start],
) -> Site:
    """Decoding is measured under both kinds of requests: a token costs more where the context of its batch is longer."""
    alone = (with_pictures, without)
    one_s = fmean(1 / load.speed(metrics.WORK, metrics.BUSY_SECONDS, Stage.DECODE) for load in alone)
    full_s = SEQUENCES / full_language.speed(metrics.SATURATED_WORK, metrics.SATURATED_SECONDS, Stage.DECODE)
    sequence_s = max((full_s - one_s) / (SEQUENCES - 1), 0.0)
    return Site(
        name="nano",
        title=f"internvl-nano, {CORES[VISION]:g} of a core each",
        vision=VisionReplica(
            gpus=1,
            tiles_per_s=full_vision.speed(metrics.SATURATED_WORK, metrics.SATURATED_SECONDS, Stage.VISION),
            start=starts[VISION],
        ),
        language=LanguageReplica(
            gpus=1,
            prompt_tokens_per_s=with_pictures.speed(metrics.WORK, metrics.BUSY_SECONDS, Stage.PREFILL),
            step_s=one_s - sequence_s,
            sequence_s=sequence_s,
            sequences=SEQUENCES,
            chunk_tokens=CHUNK_TOKENS,
            start=starts[LANGUAGE],
        ),
    )


def _alone_s(site: Site, kind: Kind) -> float:
    """Seconds of the replicas' work before a first token, while nothing else is there."""
    return kind.tiles / site.vision.tiles_per_s + kind.prompt_tokens / site.language.prompt_tokens_per_s


def _starts(world: World, watch: ReplicaWatch) -> dict[str, Start]:
    """One side after the other gets a second replica, and loses it again."""
    found = {}
    for role, deployment in (("vision", VISION), ("language", LANGUAGE)):
        came = _change(world, watch, role, deployment, 2)
        went = _change(world, watch, role, deployment, 1)
        found[deployment] = Start(pod_s=0.0, cold_s=came, drain_s=went)
    return found


def _change(world: World, watch: ReplicaWatch, role: str, deployment: str, replicas: int) -> float:
    ordered = time.time()
    world.resize(role, replicas)
    world.wait(
        lambda: watch.first(deployment, replicas, since=ordered) is not None,
        f"{deployment} has {replicas}",
        within_s=_DEADLINE_S,
    )
    at = watch.first(deployment, replicas, since=ordered)
    assert at is not None
    return at - ordered


def mean_output_s(site: Site) -> float:
    """Seconds of a full language replica in one answer."""
    return OUTPUT_TOKENS / site.language.output_tokens_per_s
