"""Azure's traces: multimodal requests of 2024 (only figures of them are at hand), and two services of 2023.

Azure/AzurePublicDataset, CC-BY-4.0. The multimodal trace is resampled from its digitised figures: how many requests with
and without pictures came in a minute lies, every 7.8 minutes, between two values that are known. `NumImages` there holds
only perfect squares and is taken to be the number squared; its authors have not confirmed that.
"""

import csv
import json
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from e2e.bench.autoscaling.requests import Floats, Ints
from e2e.bench.autoscaling.traces.stream import Stream, Traffic, pictures, quantiles, text_only

MULTIMODAL = "azure-lmm-2025-digitised"
TEXT = "azure-llm-2023"
BEGIN_HOUR = 0.0
"""Of the trace. The highest minute of the week, 452 requests with pictures, is in hour 20 and not in these four."""
TILES = 5
"""Of a picture: 896 x 896 with a thumbnail, 1,280 tokens; the median request with one picture has 1,100 to 1,400."""
IMAGE_CV = 2.0
TEXT_CV = 1.1
BLOCK_S = 300
"""Blocks that the hours of 2023 are put together from."""
SEED = 2023

Points: TypeAlias = list[tuple[float, float]]

TEXT_TOKENS: Points = [
    (0, 11),
    (5, 137),
    (25, 370),
    (50, 784),
    (75, 1456),
    (90, 3085),
    (95, 4156),
    (99, 14160),
]
IMAGE_OUTPUT: Points = [(0, 1), (5, 9), (25, 33), (50, 80), (75, 179), (90, 401), (95, 508), (99, 806)]
TEXT_OUTPUT: Points = [(0, 1), (5, 1), (25, 26), (50, 146), (75, 219), (90, 471), (95, 756), (99, 1323)]
PICTURES = ((1, 66.1), (2, 4.7), (3, 14.9), (4, 1.9), (5, 4.8), (6, 0.5), (7, 0.5), (10, 6.6))
"""(pictures in a request, percent); 10 and more together."""


def multimodal(folder: Path, seconds: int) -> Traffic:
    """Requests with and without pictures do not correlate; their work does, since pictures are most of prefill.

    Raises:
        FileNotFoundError: the figures are not in this folder.
    """
    with (folder / MULTIMODAL / "arrivals_per_min.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if all(row.values())]
    cdfs = json.loads((folder / MULTIMODAL / "cdfs.json").read_text())
    rng = np.random.default_rng(SEED)
    image_content = partial(_image_content, _points(cdfs["output_tokens_cdf_image_requests"]))
    text_content = partial(
        _text_content,
        _points(cdfs["input_tokens_cdf_text_requests"]),
        _points(cdfs["output_tokens_cdf_text_requests"]),
    )
    return Traffic(
        (
            Stream(_minutes(rows, "image", seconds, rng), image_content, IMAGE_CV),
            Stream(_minutes(rows, "text", seconds, rng), text_content, TEXT_CV),
        ),
        "Azure LMM 2024, resampled from digitised figures, hours 0 to 4 (CC-BY-4.0, derived)",
    )


def multimodal_fitted(seconds: int) -> Traffic:
    """Made from the published statistics: minutes of pictures spread log-uniformly 1:30, of text 1:2.5, independent."""
    rng = np.random.default_rng(SEED)
    minutes = seconds // 60 + 1
    image = np.exp(rng.uniform(np.log(7), np.log(200), minutes))
    image[rng.random(minutes) < 0.01] = 430
    text = np.exp(rng.uniform(np.log(35), np.log(85), minutes))
    return Traffic(
        (
            Stream(np.repeat(image, 60)[:seconds] / 60, partial(_image_content, IMAGE_OUTPUT), IMAGE_CV),
            Stream(
                np.repeat(text, 60)[:seconds] / 60, partial(_text_content, TEXT_TOKENS, TEXT_OUTPUT), TEXT_CV
            ),
        ),
        "fitted to the statistics of Azure LMM 2024: the figures were not given",
    )


def bursts(folder: Path, seconds: int) -> Traffic:
    """Pictures come as Azure's code completions did (CV 13), text as its conversations.

    Raises:
        FileNotFoundError: the traces are not in this folder.
    """
    code = _arrivals(folder / TEXT / "AzureLLMInferenceTrace_code.csv")
    conversations = _arrivals(folder / TEXT / "AzureLLMInferenceTrace_conv.csv")
    rng = np.random.default_rng(SEED)
    return Traffic(
        (
            Stream(_blocks(code, seconds, rng), partial(_image_content, IMAGE_OUTPUT)),
            Stream(_blocks(conversations, seconds, rng), partial(_text_content, TEXT_TOKENS, TEXT_OUTPUT)),
        ),
        "Azure LLM 2023, requests in each second, blocks of 5 min put together anew (CC-BY-4.0, derived)",
    )


def bursts_fitted(seconds: int) -> Traffic:
    """Made from the published statistics: seconds to a minute of 4 to 10 times the mean rate, minutes of little."""
    rng = np.random.default_rng(SEED)
    rate = np.full(seconds, 0.4)
    at = 0.0
    while at < seconds:
        begin, length = int(at), int(rng.uniform(5, 60))
        rate[begin : begin + length] += rng.uniform(4, 10)
        at += length + rng.exponential(240)
    return Traffic(
        (
            Stream(rate, partial(_image_content, IMAGE_OUTPUT), cv=2.0),
            Stream(np.full(seconds, 2.0), partial(_text_content, TEXT_TOKENS, TEXT_OUTPUT), TEXT_CV),
        ),
        "fitted to the statistics of Azure LLM 2023: the traces were not given",
    )


def _image_content(output: Points, rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Ints]:
    shares = np.array([percent for _, percent in PICTURES])
    count = rng.choice([number for number, _ in PICTURES], n, p=shares / shares.sum())
    text = np.minimum(quantiles(TEXT_TOKENS, rng, n), 2_000)
    tiles, prompt = pictures(count, np.full(n, TILES), text)
    return tiles, prompt, quantiles(output, rng, n)


def _text_content(
    prompt: Points, output: Points, rng: np.random.Generator, n: int
) -> tuple[Ints, Ints, Ints]:
    return text_only(quantiles(prompt, rng, n), quantiles(output, rng, n))


def _points(cdf: list[list[float]]) -> Points:
    return [(percentile, value) for percentile, value in cdf]


def _minutes(rows: list[dict[str, str]], name: str, seconds: int, rng: np.random.Generator) -> Floats:
    """Requests per second: each minute log-uniform between the two known values, which gives the published mean."""
    hours = np.array([float(row["hours_since_2024-10-15T12:00Z"]) for row in rows])
    minutes = BEGIN_HOUR + np.arange(seconds // 60 + 1) / 60
    least = np.interp(minutes, hours, [float(row[f"{name}_min"]) for row in rows])
    most = np.interp(minutes, hours, [float(row[f"{name}_max"]) for row in rows])
    low, high = np.log(np.maximum(least, 1)), np.log(np.maximum(most, 1))
    per_minute = np.exp(low + (high - low) * rng.random(len(minutes)))
    rate: Floats = np.repeat(per_minute / 60, 60)[:seconds]
    return rate


def _arrivals(path: Path) -> Floats:
    """Seconds since the first request. Lines have seven digits of a second and end in CRLF."""
    with path.open(newline="") as file:
        stamps = [row["TIMESTAMP"].strip()[:26] for row in csv.DictReader(file)]
    at = np.array(stamps, dtype="datetime64[us]").astype(np.int64) / 1e6
    since: Floats = at - at[0]
    return since


def _blocks(at: Floats, seconds: int, rng: np.random.Generator) -> Floats:
    per_second = np.bincount(at.astype(np.int64)).astype(np.float64)
    begins = rng.integers(0, len(per_second) - BLOCK_S, seconds // BLOCK_S + 1)
    rate: Floats = np.concatenate([per_second[begin : begin + BLOCK_S] for begin in begins])[:seconds]
    return rate
