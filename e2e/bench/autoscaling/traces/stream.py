"""Traffic as streams: a rate over time, how bursty, and what is in a request. Scaled to a fleet, then drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from e2e.bench.autoscaling.requests import Floats, Ints, Requests, merged
from e2e.bench.autoscaling.site import TOKENS_PER_TILE, Site

MEAN_LOAD = 0.65
"""Share of a fleet that the mean load of a trace keeps busy, both sides together."""
SAMPLE = 20_000
MOST_PICTURES = 10
"""In one request; what has more is cut to so many."""

Content: TypeAlias = Callable[[np.random.Generator, int], tuple[Ints, Ints, Ints]]
"""(generator, number) -> tiles, prompt tokens with those of pictures, output tokens of so many requests."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one kind."""

    rate: Floats
    """Requests per second in each second; scaled as a whole to a fleet."""
    content: Content
    cv: float = 1.0
    """Coefficient of variation of the time between two requests, at a constant rate. 1: Poisson."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """One trace, not yet scaled."""

    streams: tuple[Stream, ...]
    note: str
    """Where it comes from: published, resampled, or fitted; with its licence."""

    @property
    def seconds(self) -> int:
        """Length."""
        return len(self.streams[0].rate)

    def requests(self, site: Site, *, replicas: int, seed: int) -> Requests:
        """Draw it for a fleet of so many replicas of both sides together."""
        rng = np.random.default_rng(seed)
        factor = MEAN_LOAD * replicas / sum(_load(stream, site, rng) for stream in self.streams)
        return merged(*(_draw(stream, factor, rng) for stream in self.streams))


def _load(stream: Stream, site: Site, rng: np.random.Generator) -> float:
    """Replicas of both sides that a stream keeps busy on the mean."""
    sample = Requests(np.zeros(SAMPLE), *stream.content(rng, SAMPLE))
    each = np.mean(sample.vision_s(site)) + np.mean(sample.language_s(site))
    return float(np.mean(stream.rate) * each)


def _draw(stream: Stream, factor: float, rng: np.random.Generator) -> Requests:
    at = arrivals(stream.rate * factor, stream.cv, rng)
    return Requests(at, *stream.content(rng, len(at)))


def arrivals(rate: Floats, cv: float, rng: np.random.Generator) -> Floats:
    """Times of a renewal process with Gamma gaps, its clock running at `rate` (requests per second, each second)."""
    expected = np.concatenate(([0.0], np.cumsum(rate)))
    total = float(expected[-1])
    shape = 1 / cv**2
    # The first gap of a renewal process that has always run is shorter; a random phase stands for that.
    drawn = int(total + 10 * cv * np.sqrt(total) + 100)
    ticks = np.cumsum(rng.gamma(shape, 1 / shape, drawn)) - rng.random()
    ticks = ticks[(ticks >= 0) & (ticks < total)]
    at: Floats = np.interp(ticks, expected, np.arange(len(expected)))
    return at


def pictures(
    count: Ints, tiles_each: Ints, text: Ints, tokens_per_tile: int = TOKENS_PER_TILE
) -> tuple[Ints, Ints]:
    """Tiles and prompt tokens of requests with so many pictures of so many tiles, and so much text."""
    tiles: Ints = np.minimum(count, MOST_PICTURES) * tiles_each
    return tiles, text + tiles * tokens_per_tile


def text_only(text: Ints, output: Ints) -> tuple[Ints, Ints, Ints]:
    """Requests without pictures."""
    return np.zeros(len(text), dtype=np.int64), text, output


def quantiles(points: list[tuple[float, float]], rng: np.random.Generator, n: int, *, least: int = 1) -> Ints:
    """Draw from a distribution given by (percentile, value), straight lines in log between; sorted before, for noise."""
    at = np.array([percentile for percentile, _ in points])
    value = np.sort(np.maximum([value for _, value in points], 0.5))
    drawn = np.exp(np.interp(rng.uniform(0, 100, n), at, np.log(value)))
    whole: Ints = np.maximum(np.rint(drawn), least).astype(np.int64)
    return whole
