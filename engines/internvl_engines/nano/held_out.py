"""The questions of the evaluation: pictures, words and combinations that training never showed.

Training draws from integer seeds, this from names that start with ``held-out``. Of each task every third question
shows texts and pairs of colour and kind that are held out by name as well. Pure: the same arguments, the same question.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from internvl_engines.nano.pictures import Scene, random_grid
from internvl_engines.nano.questions import Question, ask, ask_without_picture, compose_for

_LONGEST_CONVERSATION = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one to four pictures, or about none."""

    question: Question
    scenes: tuple[Scene, ...] = ()
    history: tuple[Question, ...] = ()
    """The turns before; they count as answered rightly."""
    held_out: bool = False
    """Texts and pairs are held out by name too, not only by seed."""


def ask_held_out(task: str, *, seed: int, number: int) -> Asked:
    """Question ``number`` of a task."""
    rng = random.Random(f"held-out:{seed}:{task}:{number}")
    held_out = number % 3 == 0
    while True:  # now and then a picture has nothing with one answer
        scenes = compose_for(task, rng, grid=random_grid(rng), held_out=held_out)
        turns = ask(
            scenes,
            rng,
            count=_LONGEST_CONVERSATION if task == "turns" else 1,
            held_out=held_out,
            tasks=(task,),
        )
        last = max((place for place, turn in enumerate(turns) if turn.task == task), default=None)
        if last is not None:
            return Asked(turns[last], tuple(scenes), tuple(turns[:last]), held_out)


def ask_held_out_text(*, seed: int, number: int) -> Asked:
    """Question ``number`` without a picture."""
    return Asked(ask_without_picture(random.Random(f"held-out:{seed}:text:{number}")))
