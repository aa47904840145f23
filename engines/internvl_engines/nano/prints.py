"""Printed text: random letters and digits, where each character lies, and which texts training never shows.

Used by ``scenes`` and whatever draws or marks a scene. Nothing here knows of shapes or questions.
"""

from __future__ import annotations

import random
import string
import zlib
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

CHARACTERS = string.ascii_uppercase + string.digits
_LENGTHS = {1: 1, 2: 2, 3: 3, 4: 3, 5: 3}
LONGEST = max(_LENGTHS)
_CAPITAL = 0.7
"""Height of a capital in Pillow's own font, as a part of the font's size."""
_GAP = 0.1
"""Between two characters, as a part of their height: small print stays apart when it is resized."""
_STROKE = 0.35
"""Pixels around each line: Pillow's own font is too thin for tiles of 112 pixels."""
_HELD_OUT_PARTS = 8
_ALIKE = frozenset("0O")

Box = tuple[str, float, float, float, float]
"""A character and the box of its ink: left, top, right, bottom in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class Print:
    """An upright line of one to five characters: centre and height of a capital in pixels of the picture."""

    text: str
    colour: str
    x: float
    y: float
    height: float

    @property
    def characters(self) -> tuple[Box, ...]:
        """Where the ink of each character lies, in reading order."""
        size = font_size(self.height)
        left, baseline = self._start
        boxes: list[Box] = []
        for character in self.text:
            ink, advance = _measured(character, size)
            boxes.append((character, left + ink[0], baseline + ink[1], left + ink[2], baseline + ink[3]))
            left += advance
        return tuple(boxes)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of all its ink."""
        boxes = self.characters
        return (
            boxes[0][1],
            min(box[2] for box in boxes),
            boxes[-1][3],
            max(box[4] for box in boxes),
        )

    def draw(self, pen: ImageDraw.ImageDraw, fill: tuple[int, int, int]) -> None:
        """Write it with ``pen``."""
        size = font_size(self.height)
        left, baseline = self._start
        for character in self.text:
            pen.text(
                (left, baseline), character, fill=fill, font=_font(size), anchor="ls", stroke_width=_STROKE
            )
            left += _measured(character, size)[1]

    @property
    def _start(self) -> tuple[int, int]:
        # Whole pixels, so that the edges of the letters are as sharp as the font makes them.
        (first, *_), width = (
            _measured(self.text[0], font_size(self.height))[0],
            text_width(self.text, self.height),
        )
        return round(self.x - width / 2) - first, round(self.y + self.height / 2)


def held_out_text(text: str) -> bool:
    """Whether training never shows this text: one of eight, by its CRC-32."""
    return zlib.crc32(text.encode()) % _HELD_OUT_PARTS == 0


def random_text(rng: random.Random, *, held_out: bool) -> str:
    """One to five random characters, longer texts more often; all from one side of ``held_out_text``.

    Never only "0" and "O": nobody can tell one from the other without another character beside it.
    """
    length = rng.choices(list(_LENGTHS), list(_LENGTHS.values()))[0]
    while True:
        text = "".join(rng.choices(CHARACTERS, k=length))
        if held_out_text(text) == held_out and not set(text) <= _ALIKE:
            return text


def font_size(height: float) -> int:
    """The whole font size whose capitals are about ``height`` pixels high."""
    return round(height / _CAPITAL)


def text_width(text: str, height: float) -> int:
    """Pixels from the first ink of a text to the last."""
    measured = [_measured(character, font_size(height)) for character in text]
    return sum(advance for _, advance in measured[:-1]) + measured[-1][0][2] - measured[0][0][0]


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow has no scalable font here: install a Pillow built with FreeType")
    return font


@lru_cache(maxsize=4096)
def _measured(character: str, size: int) -> tuple[tuple[int, int, int, int], int]:
    """The ink's box about the pen's place on the baseline, and how far the pen goes on."""
    canvas = Image.new("L", (size * 3, size * 3))
    ImageDraw.Draw(canvas).text(
        (size, size * 2), character, fill=255, font=_font(size), anchor="ls", stroke_width=_STROKE
    )
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the character {character!r} has no ink: use one of {CHARACTERS}")
    left, top, right, bottom = box
    advance = round(_font(size).getlength(character) + size * _CAPITAL * _GAP)
    return (left - size, top - size * 2, right - size, bottom - size * 2), advance
