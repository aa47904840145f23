"""ServeGen's day of a multimodal service: smooth, and both sides' work correlates.

Alibaba, github.com/alibaba/ServeGen, data/multimodal/mm-image, Apache-2.0: 35 clients of Qwen-VL, rates and gaps of each in
144 windows of ten minutes, contents in four of six hours. What is in a request is drawn independently (ServeGen's own
sampler uses one number for text, pictures and answer, which correlates their ranks perfectly).
"""

import ast
import csv
import json
from functools import partial
from pathlib import Path

import numpy as np

from e2e.bench.autoscaling.requests import Ints
from e2e.bench.autoscaling.site import TOKENS_PER_TILE
from e2e.bench.autoscaling.traces.stream import Stream, Traffic, pictures, quantiles

FOLDER = "servegen-mm-image"
WINDOW_S = 600
BEGIN_S = 8 * 3600
"""08:00: the hours in which the day's rate rises most."""
CONTENT_S = 6 * 3600


def published(folder: Path, seconds: int) -> Traffic:
    """The trace, from `BEGIN_S` on.

    Raises:
        FileNotFoundError: it is not in this folder.
    """
    paths = sorted((folder / FOLDER).glob("chunk-*-trace.csv"))
    if not paths:
        raise FileNotFoundError(f"no chunk-*-trace.csv in {folder / FOLDER}")
    streams = []
    for path in paths:
        with path.open() as file:
            rows = [row for row in csv.reader(file) if BEGIN_S <= float(row[0]) < BEGIN_S + seconds]
        rates = np.repeat([float(row[1]) for row in rows], WINDOW_S)[:seconds]
        if not np.any(rates):
            continue
        gaps = [float(row[2]) for row in rows if float(row[1]) > 0]
        contents = json.loads(Path(str(path).replace("-trace.csv", "-dataset.json")).read_text())
        window = contents[str(BEGIN_S // CONTENT_S * CONTENT_S)]
        streams.append(Stream(rates, partial(_content, _distributions(window)), cv=float(np.mean(gaps))))
    return Traffic(tuple(streams), "ServeGen mm-image, 08:00 on, resampled from its client pool (Apache-2.0)")


def fitted(seconds: int) -> Traffic:
    """Made from its published statistics: a rate that rises by half over hours, gaps of CV 2.2, lengths by quantiles."""
    hour = np.arange(seconds) / 3600
    rate = 1 + 0.25 * np.sin(2 * np.pi * (hour - 1) / 8)
    return Traffic(
        (Stream(rate, _fitted_content, cv=2.2),), "fitted to ServeGen's statistics: the trace was not given"
    )


def _distributions(
    window: dict[str, str],
) -> dict[str, tuple[Ints, np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    """Each is a Python dict in a string, {value: probability}."""
    read = {name: ast.literal_eval(text) for name, text in window.items() if text}
    return {
        name: (np.array(list(pdf), dtype=np.int64), np.array(list(pdf.values())) / sum(pdf.values()))
        for name, pdf in read.items()
    }


def _content(
    of: dict[str, tuple[Ints, np.ndarray[tuple[int], np.dtype[np.float64]]]], rng: np.random.Generator, n: int
) -> tuple[Ints, Ints, Ints]:
    def draw(name: str) -> Ints:
        values, shares = of[name]
        return rng.choice(values, n, p=shares)

    tiles_each = np.maximum(np.rint(draw("image_tokens") / TOKENS_PER_TILE), 1).astype(np.int64)
    tiles, prompt = pictures(draw("image_count"), tiles_each, draw("text_tokens"))
    return tiles, np.maximum(prompt, 1), np.maximum(draw("output_tokens"), 1)


def _fitted_content(rng: np.random.Generator, n: int) -> tuple[Ints, Ints, Ints]:
    count = rng.choice([0, 1, 2, 3, 4, 9], n, p=[0.006, 0.798, 0.066, 0.076, 0.041, 0.013])
    tiles_each = rng.choice([1, 2, 4, 5], n, p=[0.3, 0.4, 0.2, 0.1])
    text = quantiles([(0, 5), (50, 106), (90, 1914), (100, 6000)], rng, n)
    output = quantiles([(0, 5), (50, 100), (95, 336), (99, 587), (100, 2000)], rng, n)
    tiles, prompt = pictures(count, tiles_each, text)
    return tiles, prompt, output
