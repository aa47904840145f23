"""Questions with known answers, asked of a service that scales."""

import random
from dataclasses import dataclass

import httpx
from PIL import Image

from e2e.demo.pictures import SHAPE_TASKS
from e2e.scaling.world import World
from internvl_engines.nano import pictures, questions
from tests.local.service.world import chat


@dataclass(frozen=True, slots=True)
class Known:
    """A question and its right answer."""

    question: str
    answer: str
    picture: Image.Image | None = None


def about_a_picture(seed: int) -> Known:
    """About a fresh picture of one tile. The model knows 95 % of them, and guessing finds a third."""
    rng = random.Random(seed)
    while True:
        scene = pictures.compose(rng, grid=pictures.SINGLE_GRID, subject="shapes")
        asked = questions.ask(scene, rng, count=1, tasks=SHAPE_TASKS)
        if asked:
            return Known(asked[0].text, asked[0].answer, pictures.draw(scene))


def without_a_picture(seed: int) -> Known:
    """About numbers or the model itself, or about a picture that is not there."""
    asked = questions.ask_without_picture(random.Random(seed))
    return Known(asked.text, asked.answer)


def ask(world: World, question: str, picture: Image.Image | None = None) -> str:
    """The answer, whatever else goes on."""
    url = f"{world.status['url']}/v1/chat/completions"
    reply = httpx.post(url, json=chat(question, picture), timeout=290)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"]).strip()


def is_right(world: World, known: Known) -> bool:
    """Whether the service answers rightly."""
    return ask(world, known.question, known.picture) == known.answer
