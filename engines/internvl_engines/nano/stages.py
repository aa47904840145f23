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
    steps: int
    """In a training of ``STEPS`` steps; a shorter or longer one scales all stages."""
    peak: float
    """Highest learning rate."""


STAGES = (
    # The vision side alone, by its own terms: a language model learns nothing from rows that mean nothing yet.
    Stage("see", 672, 1.5e-3),
    # The language model alone, on one-tile pictures, the vision side fixed. Tried with both moving: after
    # 1,000 steps it looked things up by kind and still never by colour; with fixed rows 200 steps bring both.
    Stage("speak", 864, 1e-3),
    # Both, one tile and several, both projectors.
    Stage("both", 864, 8e-4),
    # Once more from the full rate: what the first cosine left unlearnt, counting above all.
    Stage("both", 1300, 8e-4),
)
STEPS = sum(stage.steps for stage in STAGES)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to learn, and from which seed."""

    steps: int = STEPS
    seed: int = 0

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage of a step, and how much of it is done: 0 at its first step."""
        first = 0.0
        for stage in STAGES:
            width = stage.steps * self.steps / STEPS
            if step < first + width or stage is STAGES[-1]:
                return stage, (step - first) / width
            first += width
        raise AssertionError("the last stage has no end")

    def rate(self, step: int) -> float:
        """Learning rate: in each stage a linear warm-up, then a cosine down to a fiftieth of its peak."""
        stage, done = self.at(step)
        warm_up = min(1.0, (done * stage.steps * self.steps / STEPS + 1) / WARM_UP)
        return stage.peak * warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
