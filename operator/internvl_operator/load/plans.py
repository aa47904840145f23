"""When which request goes out: by a rate, or as a trace says. Nothing is kept of what went out."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from internvl_operator.load.shapes import Mix, Shape

Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One request and its moment."""

    at_s: float
    """Seconds after the start."""
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A load that a user describes in numbers."""

    per_s: float
    duration_s: float
    mix: Mix
    prompt_tokens: int
    output_tokens: int
    arrivals: Arrivals = "poisson"
    seed: int = 0


def plan_rate(rate: Rate) -> Iterator[Planned]:
    """Requests at a mean rate: at random moments as from many independent callers, or evenly."""
    chance = random.Random(rate.seed)  # noqa: S311 - a plan that can be repeated
    at_s = 0.0
    for number in count(1):
        at_s = number / rate.per_s if rate.arrivals == "constant" else at_s + chance.expovariate(rate.per_s)
        if at_s > rate.duration_s:
            return
        yield Planned(at_s, Shape(rate.prompt_tokens, rate.output_tokens, rate.mix.draw(chance)))
