"""From answers to figures: exact answers by group, what the router cost, what it saved, and the goals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from internvl_engines.nano.tile_contents import TILE_CONTENTS, TileContent

WAYS = ("kept", "routed", "random", "compressed")
"""Every tile kept; as the router says; as many tiles drawn at random; every tile compressed."""
SIZES = ("1 tile", "2-6 tiles", "7-13 tiles", "over 13 tiles")
SEVERAL, OVERALL, TEXT_ONLY = "several tiles", "overall", "text only"
SEEN_WORDS, HELD_OUT_WORDS = "other seeds", "held-out words"
RESAMPLES = 10_000
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question, answered each way."""

    task: str
    question: str
    truth: str
    answers: tuple[str, ...]
    """In the order of ``WAYS``."""
    held_out: bool = False
    pictures: int = 0
    tiles: tuple[tuple[TileContent, bool], ...] = ()
    """Content of each tile, and whether the router compresses it."""
    kept_tokens: int = 0
    routed_tokens: int = 0

    def right(self, way: str) -> bool:
        """Whether the answer that way is exactly the right one."""
        return self.answers[WAYS.index(way)] == self.truth

    @property
    def groups(self) -> Iterator[str]:
        """The rows of the table that it counts in."""
        yield self.task
        if not self.pictures:
            yield TEXT_ONLY
            return
        count = len(self.tiles)
        yield SIZES[0 if count == 1 else 1 if count <= 6 else 2 if count <= 13 else 3]
        if count > 1:
            yield SEVERAL
        yield HELD_OUT_WORDS if self.held_out else SEEN_WORDS
        yield OVERALL


@dataclass(slots=True)
class Group:
    """Sums over the questions of one row."""

    asked: int = 0
    right: Counter[str] = field(default_factory=Counter)
    kept_tokens: int = 0
    routed_tokens: int = 0

    def percent(self, way: str) -> float:
        """Exact answers in percent."""
        return 100 * self.right[way] / self.asked

    @property
    def cut(self) -> float:
        """Visual tokens that the router saves, in percent."""
        return 100 * (1 - self.routed_tokens / self.kept_tokens) if self.kept_tokens else 0.0


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the verdict."""

    what: str
    value: float
    goal: str
    ok: bool

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON file."""
        return {"what": self.what, "value": round(self.value, 2), "goal": self.goal, "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Judgement:
    """All figures of one evaluation."""

    groups: dict[str, Group]
    compressed: dict[TileContent, tuple[int, int]]
    """By content: tiles that the router compresses, and tiles; requests of several tiles only."""
    loss: float
    """Kept minus routed, in points, over all questions with pictures."""
    loss_bound: float
    """95 % upper bound of it."""


def judge(outcomes: Sequence[Outcome], *, seed: int) -> Judgement:
    """Count; ``seed`` is that of the bootstrap."""
    groups: dict[str, Group] = {}
    for outcome in outcomes:
        for name in outcome.groups:
            group = groups.setdefault(name, Group())
            group.asked += 1
            group.right.update(way for way in WAYS if outcome.right(way))
            group.kept_tokens += outcome.kept_tokens
            group.routed_tokens += outcome.routed_tokens
    compressed: dict[TileContent, tuple[int, int]] = {}
    several = [outcome for outcome in outcomes if len(outcome.tiles) > 1]
    for content in TILE_CONTENTS:
        chosen = [route for outcome in several for what, route in outcome.tiles if what == content]
        if chosen:
            compressed[content] = sum(chosen), len(chosen)
    losses = [outcome.right("kept") - outcome.right("routed") for outcome in outcomes if outcome.pictures]
    loss, bound = paired_loss(losses, seed=seed)
    return Judgement(groups, compressed, loss, bound)


def paired_loss(losses: Sequence[int], *, seed: int) -> tuple[float, float]:
    """Mean loss and its bootstrap 95 % upper bound (percentile method), both in points.

    Args:
        losses: a question each: 1 lost, 0 the same, -1 won.
        seed: of the resampling.
    """
    count = len(losses)
    shares = [losses.count(value) / count for value in (1, 0, -1)]
    # Drawing `count` questions with replacement and counting the three values is one multinomial draw.
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=RESAMPLES)
    resampled = 100 * (drawn[:, 0] - drawn[:, 2]) / count
    return 100 * (shares[0] - shares[2]), float(np.percentile(resampled, 95))


def goals(judgement: Judgement, tasks: Iterable[str], *, router: bool) -> list[Goal]:
    """The verdict.

    Args:
        judgement: the figures.
        tasks: the picture tasks.
        router: whether the model has one; else its goals are left out.
    """
    groups = judgement.groups
    overall = groups[OVERALL]
    several = groups.get(SEVERAL, overall)  # a handful of questions may have none
    worst = min(tasks, key=lambda task: groups[task].percent("kept"))
    found = [
        _at_least("exact answers, every tile kept, percent", overall.percent("kept"), 95),
        _at_least(f"the same of the worst task ({worst})", groups[worst].percent("kept"), 85),
    ]
    if not router:
        return found
    return [
        *found,
        _at_least("visual tokens cut by the router, percent", overall.cut, 40),
        Goal(
            "95 % upper bound of what the router loses, points",
            judgement.loss_bound,
            "<= 1.5",
            judgement.loss_bound <= 1.5,
        ),
        _at_least(
            "a random router of equal budget is worse by, points, several tiles",
            several.percent("routed") - several.percent("random"),
            3,
        ),
        _at_least(
            "every tile compressed is worse by, points",
            overall.percent("routed") - overall.percent("compressed"),
            3,
        ),
    ]


def examples(outcomes: Iterable[Outcome]) -> dict[str, list[dict[str, str]]]:
    """Wrong answers: some of each task with every tile kept, and some that only the router got wrong."""
    found: dict[str, list[dict[str, str]]] = {}
    for outcome in outcomes:
        name = "lost by the router" if outcome.right("kept") else outcome.task
        if outcome.right("kept") and (not outcome.pictures or outcome.right("routed")):
            continue
        wrong = outcome.answers[WAYS.index("routed" if outcome.right("kept") else "kept")]
        several = found.setdefault(name, [])
        if len(several) < _EXAMPLES * (4 if outcome.right("kept") else 1):
            several.append({"question": outcome.question, "answer": wrong, "right": outcome.truth})
    return found


def _at_least(what: str, value: float, least: float) -> Goal:
    return Goal(what, value, f">= {least:g}", value >= least)
