"""The stages of training internvl-nano: what is learnt when, for how many steps, how fast. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

StageName = Literal[
    "see", "read", "look", "spell", "speak", "find", "settle", "both", "mpo", "vico", "router"
]

WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; what it does stands in the file of its name in ``stages``."""

    name: StageName
    steps: int
    """In a whole training; ``Schedule.share`` shortens all stages alike."""
    peak: float
    """Highest learning rate."""
    tower_rate: float = 1.0
    """The vision tower's learning rate, as a part of the others'."""


STAGES = (
    # The vision side alone, by its own terms: a language model learns nothing from rows that mean nothing yet.
    Stage("see", 700, 1.5e-3),
    # The same on pages full of print: after the stage before it names half of the characters.
    Stage("read", 700, 1e-3),
    # The language model alone looks things up by colour and by kind; all else rests on that.
    Stage("look", 250, 1e-3),
    # The same for what is printed.
    Stage("spell", 250, 1e-3),
    # The language model alone, the vision side fixed: a step costs less than two thirds of one of both.
    # Tried with both moving: after 1,000 steps it looked things up by kind and still never by colour; with fixed
    # rows 200 steps bring both.
    Stage("speak", 1150, 1e-3),
    # The language model alone, for what lies beside what and print in tiles. Tried before ``speak``: what ``look`` had taught was
    # unlearnt, and 300 steps of ``speak`` did not bring it back.
    Stage("find", 250, 7e-4),
    # The language model alone, all tasks together once more.
    Stage("settle", 1200, 6e-4),
    # Both sides, slowly. Tried with 4e-4, and with 7e-4 and the tower a tenth as fast: the vision side unlearnt, from
    # 96 to 91 % of the characters, and the loss of the answers rose from 0.10 to 0.18, and from 0.21 to 0.32.
    Stage("both", 200, 1e-4, tower_rate=0.1),
    # Preferences, from here on with the small rates of a model that knows its work.
    Stage("mpo", 80, 2e-5),
    # Consistency of both resolutions with the model before it. Tried with 350 steps at 4e-4: answers from compressed
    # tiles gained a point, those from kept ones lost two.
    Stage("vico", 300, 1e-4),
    # The router alone.
    Stage("router", 300, 1e-3),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How much to learn, and from which seed."""

    share: float = 1.0
    """Of each stage's steps: tests take a thousandth."""
    seed: int = 0

    def steps(self, stage: Stage) -> int:
        """Steps of a stage, at least one."""
        return max(1, round(stage.steps * self.share))

    def rate(self, stage: Stage, step: int) -> float:
        """Learning rate: a linear warm-up, then a cosine down to a fiftieth of the stage's peak."""
        steps = self.steps(stage)
        warm_up = min(1.0, (step + 1) / max(1, min(WARM_UP, steps // 5)))
        return stage.peak * warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def stage_named(name: str) -> Stage:
    """The stage of that name.

    Raises:
        KeyError: there is none.
    """
    return {stage.name: stage for stage in STAGES}[name]  # type: ignore[index]


def stage_before(stage: Stage) -> Stage | None:
    """The stage whose weights this one begins with; None: it begins with random ones."""
    place = STAGES.index(stage)
    return STAGES[place - 1] if place else None
