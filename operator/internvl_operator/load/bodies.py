"""Request bodies, made before they are due."""

import json
import random
from dataclasses import dataclass

from internvl_operator.load.pictures import VARIANTS, Pictures
from internvl_operator.load.shapes import Mix, Shape

_WORDS = (
    "the",
    "red",
    "box",
    "and",
    "a",
    "blue",
    "line",
    "near",
    "one",
    "small",
    "green",
    "dot",
    "on",
    "top",
    "of",
    "it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is the same in all requests."""

    model: str
    ignore_eos: bool = False
    """Let every answer have its full length. Not all servers take this."""


class Bodies:
    """Makes the body of each request: no two have the same text."""

    def __init__(self, asked: Asked, *, seed: int = 0) -> None:
        self._asked = asked
        self._chance = random.Random(seed)  # noqa: S311 - words, no secrets
        self._pictures = Pictures()
        self._made = 0

    def draw(self, mix: Mix) -> None:
        """Draw all pictures of a mix now, and not when the first requests are due."""
        for size in {size for sizes, share in mix.shares for size in sizes if share}:
            for number in range(VARIANTS):
                self._pictures.data_url(size, number)

    def make(self, shape: Shape) -> bytes:
        """The body of the next request, as JSON."""
        self._made += 1
        parts: list[object] = [
            {"type": "image_url", "image_url": {"url": self._pictures.data_url(size, self._made + index)}}
            for index, size in enumerate(shape.pictures)
        ]
        parts.append({"type": "text", "text": self._text(shape.prompt_tokens)})
        body: dict[str, object] = {
            "model": self._asked.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": shape.output_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._asked.ignore_eos:
            body["ignore_eos"] = True
        return json.dumps(body).encode()

    def _text(self, words: int) -> str:
        # The number first: what a server keeps of equal beginnings must not help it.
        return " ".join([str(self._made), *self._chance.choices(_WORDS, k=max(0, words - 1))])
