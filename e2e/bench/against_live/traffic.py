"""The requests of the comparison: as a trace for `internvl load`, and as what the simulator serves."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from e2e.bench.autoscaling.requests import Requests

OUTPUT_TOKENS = 48
WORDS = 8
PICTURES = "2*448x448"
SEED = 20261122


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the load: seconds, and requests per second."""

    seconds: float
    pictures_per_s: float
    text_per_s: float


@dataclass(frozen=True, slots=True)
class Kind:
    """What one request is, as the replicas counted it."""

    tiles: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    at: float
    has_pictures: bool


def drawn(phases: Sequence[Phase], *, seed: int = SEED) -> list[Arrival]:
    """Poisson arrivals, the first at 0, as a replay has it."""
    chance, found, begin = random.Random(seed), [], 0.0
    for phase in phases:
        for has_pictures, rate in ((True, phase.pictures_per_s), (False, phase.text_per_s)):
            at = begin + chance.expovariate(rate)
            while at < begin + phase.seconds:
                found.append(Arrival(at, has_pictures))
                at += chance.expovariate(rate)
        begin += phase.seconds
    found.sort(key=lambda arrival: arrival.at)
    return [Arrival(arrival.at - found[0].at, arrival.has_pictures) for arrival in found]


def spaced(count: int, pause_s: float, *, pictures: Sequence[bool]) -> list[Arrival]:
    """Evenly, with and without pictures in turn."""
    return [Arrival(number * pause_s, pictures[number % len(pictures)]) for number in range(count)]


def write_trace(arrivals: Sequence[Arrival], file: Path) -> Path:
    """As lines that `internvl load --trace` reads."""
    with file.open("w", encoding="utf-8") as lines:
        for arrival in arrivals:
            line: dict[str, object] = {
                "at": round(arrival.at, 4),
                "prompt_tokens": WORDS,
                "output_tokens": OUTPUT_TOKENS,
            }
            if arrival.has_pictures:
                line["pictures"] = PICTURES
            lines.write(json.dumps(line) + "\n")
    return file


def requests_of(arrivals: Sequence[Arrival], pictures: Kind, text: Kind) -> Requests:
    """The same for the simulator."""
    kinds = [pictures if arrival.has_pictures else text for arrival in arrivals]
    return Requests(
        at=np.array([arrival.at for arrival in arrivals]),
        tiles=np.array([kind.tiles for kind in kinds]),
        prompt_tokens=np.array([kind.prompt_tokens for kind in kinds]),
        output_tokens=np.full(len(arrivals), OUTPUT_TOKENS),
    )
