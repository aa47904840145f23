"""What a picture shows, as plain values: shapes and prints, and which pairs training never shows.

Used by everything about pictures and questions. No pixels and no randomness here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from internvl_engines.nano.prints import Print

TILE = 112
COUNTABLE = 6.0
"""Every shape that is to be counted has at least this radius in the thumbnail, in pixels."""

# No colour is a lighter version of another: thin print is lighter than its colour.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 30, 35),
    "green": (25, 150, 55),
    "blue": (35, 75, 215),
    "yellow": (245, 210, 25),
    "orange": (245, 130, 20),
    "purple": (130, 40, 165),
    "black": (25, 25, 25),
    "pink": (240, 70, 165),
    "brown": (125, 75, 30),
    "cyan": (40, 190, 215),
}
KINDS = ("circle", "square", "triangle", "star", "cross", "diamond")
UNNAMED_KINDS = ("bar", "corner", "arrow")
"""Of shapes that nobody asks about: see ``composing.compose_partly_named``."""
PAIRS = tuple((colour, kind) for colour in COLOURS for kind in KINDS)
"""Every shape there can be, as colour and kind."""
HELD_OUT_PAIRS = frozenset(
    {
        ("red", "star"),
        ("green", "triangle"),
        ("blue", "cross"),
        ("orange", "diamond"),
        ("pink", "square"),
        ("cyan", "circle"),
    }
)

# Width and height in tiles; the sizes that make one tile, and the larger ones that make several.
SINGLE_GRID = (1, 1)
SEVERAL_GRIDS = (
    (2, 1),
    (1, 2),
    (2, 2),
    (3, 1),
    (1, 3),
    (3, 2),
    (2, 3),
    (3, 3),
    (4, 2),
    (2, 4),
    (4, 3),
    (3, 4),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: centre and radius in pixels of the picture, angle in degrees.

    A colour without a name is written as "#rrggbb".
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float

    @property
    def pair(self) -> tuple[str, str]:
        """Colour and kind."""
        return self.colour, self.kind

    @property
    def name(self) -> str:
        """Colour and kind in words, as in "red star"."""
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows; ``pictures.draw`` turns it into pixels."""

    width: int
    height: int
    background: tuple[int, int, int]
    shapes: tuple[Shape, ...]
    grid: tuple[int, int]
    """Columns and rows of tiles that the picture was laid out for."""
    prints: tuple[Print, ...] = ()

    def of_kind(self, kind: str) -> tuple[Shape, ...]:
        """All shapes of a kind."""
        return tuple(shape for shape in self.shapes if shape.kind == kind)

    def of_colour(self, colour: str) -> tuple[Shape, ...]:
        """All shapes of a colour."""
        return tuple(shape for shape in self.shapes if shape.colour == colour)

    def of_pair(self, colour: str, kind: str) -> tuple[Shape, ...]:
        """All shapes of a colour and a kind."""
        return tuple(shape for shape in self.shapes if shape.pair == (colour, kind))

    @property
    def print_colours(self) -> frozenset[str]:
        """Colours of the prints."""
        return frozenset(line.colour for line in self.prints)

    @property
    def countable(self) -> bool:
        """Whether every shape is large enough in the thumbnail to be counted there."""
        return self.smallest_in_thumbnail >= COUNTABLE

    @property
    def smallest_in_thumbnail(self) -> float:
        """Radius of the smallest shape, in pixels of a one-tile thumbnail, along its narrower side.

        Infinite without shapes.
        """
        scale = TILE / max(self.width, self.height)
        return min((shape.radius for shape in self.shapes), default=math.inf) * scale


def held_out_pair(colour: str, kind: str) -> bool:
    """Whether training never shows or names this shape."""
    return (colour, kind) in HELD_OUT_PAIRS
