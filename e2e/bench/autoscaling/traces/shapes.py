"""Traffic made up to show one thing each. Every shape comes once in each half, so that tuning sees it."""

import numpy as np

from e2e.bench.autoscaling.requests import Ints
from e2e.bench.autoscaling.traces.stream import Stream, Traffic, pictures, quantiles, text_only

TEXT_POINTS: list[tuple[float, float]] = [(0, 20), (50, 200), (95, 1500), (100, 4000)]
OUTPUT_POINTS: list[tuple[float, float]] = [(0, 5), (50, 120), (95, 400), (100, 1000)]
LONG_OUTPUT: list[tuple[float, float]] = [(0, 100), (50, 600), (95, 1500), (100, 3000)]
STEP_AT = 0.45
"""Where in each half the step is."""
COMPRESSED = 64
"""Visual tokens of a tile that the Flash router compressed."""


def smooth(seconds: int) -> Traffic:
    """Both kinds of requests swing by a third in two hours, Poisson."""
    wave = 1 + 0.33 * np.sin(2 * np.pi * np.arange(seconds) / (seconds / 2))
    return Traffic((Stream(wave, picture_requests), Stream(wave, text_requests)), "made up: slow waves")


def step(seconds: int) -> Traffic:
    """Ten times the load for twenty minutes, from one second to the next."""
    rate = np.ones(seconds)
    for begin in _halves(seconds, STEP_AT):
        rate[begin : begin + 1200] = 10
    return Traffic((Stream(rate, picture_requests), Stream(rate, text_requests)), "made up: x10 for 20 min")


def flash_crowd(seconds: int) -> Traffic:
    """Nothing, then everybody for ten minutes, thrice in each half."""
    rate = np.zeros(seconds)
    for share in (0.15, 0.45, 0.75):
        for begin in _halves(seconds, share):
            rate[begin : begin + 600] = np.linspace(1, 0.3, 600)
    return Traffic(
        (Stream(rate, picture_requests), Stream(rate, text_requests)),
        "made up: 10 min of crowd, then nothing",
    )


def swings(seconds: int) -> Traffic:
    """Fifteen minutes of only pictures, fifteen of only text, with a minute between."""
    position = (np.arange(seconds) % 1800) / 60
    picture = np.clip(np.minimum(position, 15 - position), 0, 1)
    text = np.clip(np.minimum(position - 15, 30 - position), 0, 1)
    return Traffic(
        (Stream(picture, picture_requests), Stream(5 * text, text_requests)), "made up: pictures, then text"
    )


def parted(seconds: int) -> Traffic:
    """Both sides' work parts: pictures whose tiles are compressed (vision), and long answers (language), in turns."""
    wave = np.sin(2 * np.pi * np.arange(seconds) / 3600)
    return Traffic(
        (
            Stream(np.maximum(1 + 0.8 * wave, 0), _compressed_pictures),
            Stream(2 * np.maximum(1 - 0.8 * wave, 0), _long_answers),
        ),
        "made up: compressed pictures against long answers, in opposite waves of an hour",
    )


def picture_requests(rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Ints]:
    """One picture mostly, of 2 to 13 tiles."""
    count = rng.choice([1, 2, 4], n, p=[0.85, 0.1, 0.05])
    tiles_each = rng.choice([1, 3, 5, 7, 13], n, p=[0.15, 0.3, 0.3, 0.15, 0.1])
    tiles, prompt = pictures(count, tiles_each, quantiles(TEXT_POINTS, rng, n))
    return tiles, prompt, quantiles(OUTPUT_POINTS, rng, n)


def text_requests(rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Ints]:
    """Short questions."""
    return text_only(quantiles(TEXT_POINTS, rng, n), quantiles(OUTPUT_POINTS, rng, n))


def _compressed_pictures(rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Ints]:
    tiles, prompt = pictures(np.ones(n, dtype=np.int64), np.full(n, 13), np.full(n, 30), COMPRESSED)
    return tiles, prompt, quantiles([(0, 1), (50, 8), (100, 30)], rng, n)


def _long_answers(rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Ints]:
    return text_only(quantiles(TEXT_POINTS, rng, n), quantiles(LONG_OUTPUT, rng, n))


def _halves(seconds: int, share: float) -> tuple[int, int]:
    half = seconds // 2
    return int(share * half), half + int(share * half)
