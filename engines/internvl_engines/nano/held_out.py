"""The questions of the evaluation: pictures, words and combinations that training never showed.

Training draws from names that start with its seed and a stage, this from names that start with ``held-out``. For every
third question of a task texts and pairs of colour and kind that are held out by name may be drawn; ``Asked.held_out``
says where one was. Pure: the same arguments, the same question.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from internvl_engines.nano.pictures import Scene, held_out_pair, held_out_text, random_grid
from internvl_engines.nano.questions import Question, ask, ask_without_picture, compose_for
from internvl_engines.nano.scenes import HELD_OUT_PAIRS

_LONGEST_CONVERSATION = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one to four pictures, or about none."""

    question: Question
    scenes: tuple[Scene, ...] = ()
    history: tuple[Question, ...] = ()
    """The turns before; they count as answered rightly."""

    @property
    def held_out(self) -> bool:
        """Whether a picture shows, or the conversation names, a text or a pair that training never shows or names."""
        said = " ".join(f"{turn.text} {turn.answer}".lower() for turn in (*self.history, self.question))
        return (
            any(held_out_text(line.text) for scene in self.scenes for line in scene.prints)
            or any(held_out_pair(*shape.pair) for scene in self.scenes for shape in scene.shapes)
            or any(f"{colour} {kind}" in said for colour, kind in HELD_OUT_PAIRS)
        )


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
            return Asked(turns[last], tuple(scenes), tuple(turns[:last]))


def ask_held_out_text(*, seed: int, number: int) -> Asked:
    """Question ``number`` without a picture."""
    return Asked(ask_without_picture(random.Random(f"held-out:{seed}:text:{number}")))
