"""Solutions step by step, some steps wrong: what the reward variant learns to tell apart. Pure.

A step is wrong when what it says is not true of the picture, whatever comes before or after it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from internvl_engines.nano.pictures import COLOURS, KINDS, Scene, compose
from internvl_engines.nano.questions import NUMBERS, Question, ask
from internvl_engines.nano.wordings import plural

_TASKS = ("colour", "shape", "count")
_MOST_STEPS = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and whether it is true."""

    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Solution:
    """Statements about the picture, then the answer."""

    scene: Scene
    question: Question
    steps: tuple[Step, ...]


def random_solution(rng: random.Random, *, held_out: bool = False) -> Solution:
    """A solution about a picture of one tile; half of its steps are wrong."""
    while True:
        scene = compose(rng, subject="shapes", held_out=held_out)
        if asked := ask(scene, rng, count=1, held_out=held_out, tasks=_TASKS):
            question = asked[0]
            break
    statements = [
        rng.choice((_existence, _number))(scene, rng, right=rng.random() < 0.5)
        for _ in range(rng.randint(1, _MOST_STEPS))
    ]
    right = rng.random() < 0.5
    answer = question.answer if right else question.near_miss
    return Solution(scene, question, (*statements, Step(f"The answer is {answer}.", right)))


def _existence(scene: Scene, rng: random.Random, *, right: bool) -> Step:
    shown = {(shape.colour, shape.kind) for shape in scene.shapes}
    if right:
        colour, kind = rng.choice(sorted(shown))
    else:
        near = {(colour, kind) for colour, _ in shown for kind in KINDS}
        near |= {(colour, kind) for _, kind in shown for colour in COLOURS}
        colour, kind = rng.choice(sorted(near - shown))
    return Step(f"I see a shape that is {colour}: a {kind}.", right)


def _number(scene: Scene, rng: random.Random, *, right: bool) -> Step:
    kind = rng.choice(sorted({shape.kind for shape in scene.shapes}))
    count = len(scene.of_kind(kind))
    if not right:
        count = rng.choice([other for other in (count - 1, count + 1) if 0 <= other < len(NUMBERS)])
    return Step(f"The number of {plural(kind)} is {NUMBERS[count]}.", right)
