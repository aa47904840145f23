"""Pictures to ask about, with the right answer."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from internvl_engines.nano import pictures, questions

SEVERAL_TILES = (3, 2)
SHAPE_TASKS = ("colour", "shape")
"""What the miniature answers best (its card): a wrong answer says something about what serves it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the picture it is about (if any) and the right answer where it is known."""

    title: str
    question: str
    picture: Path | None = None
    expected: str | None = None


def draw_questions(folder: Path, seed: int) -> list[Asked]:
    """Three questions, as a user might ask them: one tile, several tiles, text only."""
    rng = random.Random(seed)
    one = _about_a_picture(rng, "a drawn picture", pictures.SINGLE_GRID, folder / "picture.png", SHAPE_TASKS)
    several = _about_a_picture(
        rng, "a picture of several tiles", SEVERAL_TILES, folder / "tiles.png", SHAPE_TASKS
    )
    text = questions.ask_without_picture(rng)
    while text.task == "no picture":
        text = questions.ask_without_picture(rng)
    return [one, several, Asked("text only", text.text, expected=text.answer)]


def _about_a_picture(
    rng: random.Random, title: str, grid: tuple[int, int], path: Path, tasks: tuple[str, ...]
) -> Asked:
    while True:
        [scene] = questions.compose_for(tasks[0], rng, grid=grid)
        asked = questions.ask(scene, rng, count=1, tasks=tasks)
        if asked and asked[0].answer != "zero":  # right, and it convinces nobody
            pictures.draw(scene).save(path)
            return Asked(title, asked[0].text, path, asked[0].answer)
