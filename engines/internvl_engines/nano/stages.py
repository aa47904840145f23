"""The stages of training internvl-nano: what is learnt, for how many steps, how fast. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

StageName = Literal["see", "speak", "both"]

WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the training."""

    name: StageName
    share: float
    """Of all steps."""
    peak: float
    """Highest learning rate."""


STAGES = (
    # The vision side alone, by its own terms: a language model learns nothing from rows that mean nothing yet.
    Stage("see", 0.34, 1.5e-3),
    # The language model alone, on one-tile pictures, the vision side fixed. Tried with both moving: after
    # 1,000 steps it looked things up by kind and still never by colour; with fixed rows 200 steps bring both.
    Stage("speak", 0.25, 1.2e-3),
    # Both, one tile and several, both projectors.
    Stage("both", 0.41, 1e-3),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to learn, and from which seed."""

    steps: int = 4400
    seed: int = 0

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage of a step, and how far it is: 0 at its first step."""
        first = 0.0
        for stage in STAGES:
            width = stage.share * self.steps
            if step < first + width or stage is STAGES[-1]:
                return stage, (step - first) / width
            first += width
        raise AssertionError("the last stage has no end")

    def rate(self, step: int) -> float:
        """Learning rate: in each stage a linear warm-up, then a cosine down to a fiftieth of its peak."""
        stage, done = self.at(step)
        warm_up = min(1.0, (done * stage.share * self.steps + 1) / WARM_UP)
        return stage.peak * warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
