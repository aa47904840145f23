"""Random scenes: where shapes and prints lie, from a seeded generator.

Sizes are thought of in pixels of a tile, which is what the model sees, and put into pixels of the picture.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Literal

from internvl_engines.nano import prints
from internvl_engines.nano.prints import Print
from internvl_engines.nano.scenes import (
    COLOURS,
    COUNTABLE,
    HELD_OUT_PAIRS,
    KINDS,
    SEVERAL_GRIDS,
    SINGLE_GRID,
    TILE,
    UNNAMED_KINDS,
    Scene,
    Shape,
    held_out_pair,
)
from internvl_runtimes.preprocess.tiling import choose_grid

Subject = Literal["shapes", "print", "any"]
Area = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the picture."""

_BACKGROUNDS = (
    (255, 255, 255),
    (240, 240, 235),
    (225, 232, 240),
    (238, 228, 214),
    (205, 208, 210),
    (222, 238, 222),
)
_PRINT_SHARE = 0.3
_SHAPES = {1: 2, 2: 4, 3: 4, 4: 4, 5: 3, 6: 3, 7: 3, 8: 3}
_HEIGHTS_ONE_TILE, _HEIGHTS_SEVERAL, _HEIGHTS_LARGE = (17, 30), (14, 23), (23, 34)
_LARGE_PRINT, _PRINT_IN_ONE_TILE = 0.2, 0.5
_CROWDED_INTO_A_PART = 0.6
_TRIES = 60
_HEIGHTS_PAGE = (14, 24)
_UNNAMED_COLOURS = 0.7
"""Of the shapes in a picture that is partly named; the others have a colour with a name, and a kind without."""
_COLOUR_DISTANCE = 75.0
"""In RGB, of a colour without a name from all that have one, and from the backgrounds."""
_HELD_OUT_DISTANCE = 150.0
"""The same from the colours that training never shows on a shape of that kind."""


def compose(
    rng: random.Random,
    *,
    grid: tuple[int, int] = SINGLE_GRID,
    subject: Subject = "any",
    held_out: bool = False,
) -> Scene:
    """A random scene whose shapes and prints touch neither each other nor the border.

    Args:
        rng: the source of all randomness.
        grid: columns and rows of tiles; the picture gets that aspect ratio and about that many pixels.
        subject: ``shapes`` is one to eight shapes, ``print`` one or two prints and up to three shapes.
        held_out: every print is a held-out text and, in two of three scenes, a shape is a held-out pair.
            Without it, none is.
    """
    if subject == "any":
        subject = "print" if rng.random() < _PRINT_SHARE else "shapes"
    side = rng.uniform(0.75, 1.25) if grid == SINGLE_GRID else rng.uniform(0.95, 1.6)
    width, height = (max(64, round(TILE * side * part * rng.uniform(0.98, 1.02))) for part in grid)
    layout = _Layout(rng, width, height)
    if subject == "print":
        _add_prints(layout, held_out=held_out)
    count = rng.randint(0, 3) if layout.prints else rng.choices(list(_SHAPES), list(_SHAPES.values()))[0]
    if count:
        _add_shapes(
            layout, _shape_names(rng, count, held_out=held_out), side * TILE, several=grid != SINGLE_GRID
        )
    return Scene(width, height, rng.choice(_BACKGROUNDS), tuple(layout.shapes), grid, tuple(layout.prints))


def compose_page(rng: random.Random) -> Scene:
    """A picture of one tile full of print, to learn to read from: some fifteen characters instead of three.

    Nothing is asked about it, so texts may repeat their colours. Never a held-out text.
    """
    side = round(TILE * rng.uniform(0.75, 1.25))
    lines: list[Print] = []
    top = 3.0
    while top < side:
        height = round(rng.randint(*_HEIGHTS_PAGE) * side / TILE)
        text = prints.random_text(rng, held_out=False)
        wide, line = prints.text_width(text, height) / 2 + 3, height * 1.3
        if wide < side / 2 and top + line < side:
            x, y = rng.uniform(wide, side - wide), top + line / 2 + rng.uniform(0, 2)
            lines.append(Print(text, rng.choice(list(COLOURS)), x, y, height))
        top += line + rng.uniform(2, 6)
    return Scene(side, side, rng.choice(_BACKGROUNDS), (), SINGLE_GRID, tuple(lines))


def compose_partly_named(rng: random.Random) -> Scene:
    """A picture of one tile with shapes of which one property has no name, to learn to tell the other by itself.

    Nothing is asked about it. Tried without: of colours and kinds that were never seen together, one row in five named
    its kind too weakly to be found by it; of others one in twenty-five.
    """
    side = round(TILE * rng.uniform(0.75, 1.25))
    layout = _Layout(rng, side, side)
    names: list[tuple[str, str]] = []
    for _ in range(rng.randint(3, 8)):
        if rng.random() < _UNNAMED_COLOURS:
            kind = rng.choice(KINDS)
            names.append((_unnamed_colour(rng, kind), kind))
        else:
            names.append((rng.choice(list(COLOURS)), rng.choice(UNNAMED_KINDS)))
    _add_shapes(layout, names, side, several=False)
    return Scene(side, side, rng.choice(_BACKGROUNDS), tuple(layout.shapes), SINGLE_GRID)


def _unnamed_colour(rng: random.Random, kind: str) -> str:
    held_out = [rgb for colour, rgb in COLOURS.items() if held_out_pair(colour, kind)]
    while True:
        found = tuple(rng.randrange(256) for _ in range(3))
        if all(
            math.dist(found, rgb) > _COLOUR_DISTANCE for rgb in (*COLOURS.values(), *_BACKGROUNDS)
        ) and all(math.dist(found, rgb) > _HELD_OUT_DISTANCE for rgb in held_out):
            return "#{:02x}{:02x}{:02x}".format(*found)


def random_grid(rng: random.Random, *, single: float = 0.5) -> tuple[int, int]:
    """One tile with probability ``single``, else one of the larger grids, smaller ones more often."""
    if rng.random() < single:
        return SINGLE_GRID
    weights = [1 / (columns * rows) for columns, rows in SEVERAL_GRIDS]
    return rng.choices(SEVERAL_GRIDS, weights)[0]


@dataclass(slots=True)
class _Layout:
    """A picture that is being filled."""

    rng: random.Random
    width: int
    height: int
    shapes: list[Shape] = field(default_factory=list)
    prints: list[Print] = field(default_factory=list)

    @property
    def whole(self) -> Area:
        return 0, 0, self.width, self.height

    @property
    def tile_area(self) -> Area:
        """One of the picture's tiles."""
        columns, rows = self.tiles
        column, row = self.rng.randrange(columns), self.rng.randrange(rows)
        wide, high = self.width / columns, self.height / rows
        return column * wide, row * high, (column + 1) * wide, (row + 1) * high

    @property
    def part(self) -> Area:
        """A random part of the picture, so that other tiles stay empty."""
        wide, high = (
            length * self.rng.uniform(0.4, 0.8) if length > 1.3 * TILE else length
            for length in (self.width, self.height)
        )
        left, top = self.rng.uniform(0, self.width - wide), self.rng.uniform(0, self.height - high)
        return left, top, left + wide, top + high

    @property
    def tiles(self) -> tuple[int, int]:
        """Columns and rows that the picture is cut into."""
        grid = choose_grid(self.width, self.height, min_tiles=1, max_tiles=12, tile_size=TILE)
        return grid.columns, grid.rows

    def place_shape(self, area: Area, radius: float) -> tuple[float, float] | None:
        """A free place for a shape's centre."""
        margin = radius * 1.08 + 1
        left, top, right, bottom = area[0] + margin, area[1] + margin, area[2] - margin, area[3] - margin
        if left >= right or top >= bottom:
            return None
        for _ in range(_TRIES):
            x, y = self.rng.uniform(left, right), self.rng.uniform(top, bottom)
            if all(
                math.hypot(x - other.x, y - other.y) > (radius + other.radius) * 1.12 + 2
                for other in self.shapes
            ) and all(_distance(line, x, y) > radius * 1.08 + 3 for line in self.prints):
                return x, y
        return None

    def place_print(self, area: Area, text: str, colour: str, height: int) -> Print | None:
        """The text at a free place."""
        wide, high = prints.text_width(text, height) / 2 + 3, height / 2 + height * 0.15 + 3
        left, top, right, bottom = area[0] + wide, area[1] + high, area[2] - wide, area[3] - high
        if left >= right or top >= bottom:
            return None
        for _ in range(_TRIES):
            line = Print(text, colour, self.rng.uniform(left, right), self.rng.uniform(top, bottom), height)
            if all(_apart(line, other) for other in self.prints):
                return line
        return None


def _add_prints(layout: _Layout, *, held_out: bool) -> None:
    rng = layout.rng
    columns, rows = layout.tiles
    several = columns * rows > 1
    heights = _HEIGHTS_SEVERAL if several else _HEIGHTS_ONE_TILE
    for number, colour in enumerate(rng.sample(list(COLOURS), rng.choice((1, 1, 2)))):
        line = None
        while line is None:
            low, high = _HEIGHTS_LARGE if several and rng.random() < _LARGE_PRINT else heights
            scale = layout.height / rows / TILE
            height = round(rng.randint(low, high if number == 0 else (low + high) // 2) * scale)
            area = layout.tile_area if several and rng.random() < _PRINT_IN_ONE_TILE else layout.whole
            line = layout.place_print(area, prints.random_text(rng, held_out=held_out), colour, height)
        layout.prints.append(line)


def _shape_names(rng: random.Random, count: int, *, held_out: bool) -> list[tuple[str, str]]:
    # Few kinds and colours a picture, so that counts above one and unique colours both occur.
    pairs: list[tuple[str, str]] = []
    while not pairs:
        kinds = rng.sample(KINDS, rng.choice((1, 1, 2, 3, 4, 6)))
        colours = rng.sample(list(COLOURS), rng.choice((1, 2, 3, 4, 5, len(COLOURS))))
        pairs = [
            (colour, kind)
            for colour in colours
            for kind in kinds
            if held_out or not held_out_pair(colour, kind)
        ]
    chosen = rng.choices(pairs, k=count)
    if held_out and rng.random() < 2 / 3:
        chosen[rng.randrange(count)] = rng.choice(sorted(HELD_OUT_PAIRS))
    return chosen


def _add_shapes(layout: _Layout, names: list[tuple[str, str]], side: float, *, several: bool) -> None:
    rng = layout.rng
    area = layout.part if several and rng.random() < _CROWDED_INTO_A_PART else layout.whole
    space = min(area[2] - area[0], area[3] - area[1])
    count = len(names)
    large = 0.30 if count <= 2 else 0.24 if count <= 4 else 0.19 if count <= 6 else 0.17
    low = side * 0.085
    high = max(low * 1.2, space * large)
    if several and rng.random() < 0.4:
        high = side * 0.16  # small in the whole: the kind is legible only in the tiles
    elif several and rng.random() < 0.7:
        low = max(low, COUNTABLE * 1.05 * max(layout.width, layout.height) / TILE)
        high = max(high, low * 1.2)
    for colour, kind in names:
        place = None
        for _ in range(4):
            radius = rng.uniform(low, high)
            place = layout.place_shape(area, radius)
            if place is not None:
                layout.shapes.append(Shape(kind, colour, *place, radius, rng.uniform(-12, 12)))
                break
            high = max(low * 1.05, high * 0.75)
    if not layout.shapes and not layout.prints:
        _add_shapes(layout, names, side, several=False)


def _distance(line: Print, x: float, y: float) -> float:
    left, top, right, bottom = line.box
    return math.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom))


def _apart(line: Print, other: Print) -> bool:
    gap = max(line.height, other.height) * 0.5
    left, top, right, bottom = line.box
    return (
        left - gap > other.box[2]
        or other.box[0] - gap > right
        or top - gap > other.box[3]
        or other.box[1] - gap > bottom
    )
