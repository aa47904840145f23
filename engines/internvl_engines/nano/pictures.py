"""Pictures of coloured shapes, drawn from a seed: what internvl-nano is trained on and asked about.

Used by training and evaluation, and by tests and the demo, which draw with fresh seeds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

TILE = 112

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 30, 35),
    "green": (25, 150, 55),
    "blue": (35, 75, 215),
    "yellow": (245, 210, 25),
    "orange": (245, 130, 20),
    "purple": (130, 40, 165),
    "black": (25, 25, 25),
}
KINDS = ("circle", "square", "triangle", "star", "cross", "diamond")
_BACKGROUNDS = (
    (255, 255, 255),
    (240, 240, 235),
    (225, 232, 240),
    (238, 228, 214),
    (205, 208, 210),
    (222, 238, 222),
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
    """One shape: centre and radius in pixels of the picture, angle in degrees."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows; ``draw`` turns it into pixels."""

    width: int
    height: int
    background: tuple[int, int, int]
    shapes: tuple[Shape, ...]
    grid: tuple[int, int]
    """Columns and rows of tiles that the picture was laid out for."""

    def of_kind(self, kind: str) -> tuple[Shape, ...]:
        """All shapes of a kind."""
        return tuple(shape for shape in self.shapes if shape.kind == kind)

    def of_colour(self, colour: str) -> tuple[Shape, ...]:
        """All shapes of a colour."""
        return tuple(shape for shape in self.shapes if shape.colour == colour)

    @property
    def smallest_in_thumbnail(self) -> float:
        """Radius of the smallest shape, in pixels of a one-tile thumbnail, along its narrower side."""
        scale = TILE / max(self.width, self.height)
        return min(shape.radius for shape in self.shapes) * scale


def compose(rng: random.Random, *, grid: tuple[int, int] = SINGLE_GRID) -> Scene:
    """A random scene of one to six shapes that neither touch each other nor the border.

    Args:
        rng: the source of all randomness.
        grid: columns and rows of tiles; the picture gets that aspect ratio and about that many pixels.
    """
    side = rng.uniform(0.75, 1.25) if grid == SINGLE_GRID else rng.uniform(0.95, 1.6)
    width, height = (max(64, round(TILE * side * part * rng.uniform(0.98, 1.02))) for part in grid)
    count = rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6))
    large = 0.30 if count <= 2 else 0.24 if count <= 4 else 0.19
    low = TILE * side * 0.085
    high = max(low * 1.2, min(width, height) * large)
    if grid != SINGLE_GRID and rng.random() < 0.4:
        high = TILE * side * 0.16  # small in the whole: the kind is legible only in the tiles
    # Few kinds and colours a picture, so that counts above one and unique colours both occur.
    kinds = rng.sample(KINDS, rng.randint(1, 4)) if rng.random() < 0.6 else list(KINDS)
    colours = rng.sample(list(COLOURS), rng.randint(2, 4)) if rng.random() < 0.6 else list(COLOURS)
    shapes: list[Shape] = []
    while len(shapes) < count:
        radius = rng.uniform(low, high)
        place = _free_place(rng, width, height, radius, shapes)
        if place is None:
            if shapes:
                break
            high = max(low, high * 0.8)
            continue
        shapes.append(Shape(rng.choice(kinds), rng.choice(colours), *place, radius, rng.uniform(-12, 12)))
    return Scene(width, height, rng.choice(_BACKGROUNDS), tuple(shapes), grid)


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, with smooth edges."""
    zoom = 2
    canvas = Image.new("RGB", (scene.width * zoom, scene.height * zoom), scene.background)
    pen = ImageDraw.Draw(canvas)
    for shape in scene.shapes:
        _draw_shape(pen, shape, zoom)
    return canvas.resize((scene.width, scene.height), Image.Resampling.BOX)


def random_grid(rng: random.Random, *, single: float = 0.5) -> tuple[int, int]:
    """One tile with probability ``single``, else one of the larger grids, smaller ones more often."""
    if rng.random() < single:
        return SINGLE_GRID
    weights = [1 / (columns * rows) for columns, rows in SEVERAL_GRIDS]
    return rng.choices(SEVERAL_GRIDS, weights)[0]


def _free_place(
    rng: random.Random, width: int, height: int, radius: float, taken: Sequence[Shape]
) -> tuple[float, float] | None:
    margin = radius * 1.08 + 1
    if 2 * margin >= min(width, height):
        return None
    for _ in range(60):
        x, y = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
        if all(math.hypot(x - other.x, y - other.y) > (radius + other.radius) * 1.12 + 2 for other in taken):
            return x, y
    return None


def _draw_shape(pen: ImageDraw.ImageDraw, shape: Shape, zoom: int) -> None:
    fill = COLOURS[shape.colour]
    if shape.kind == "circle":
        r = shape.radius * 0.92 * zoom
        x, y = shape.x * zoom, shape.y * zoom
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    else:
        pen.polygon([(x * zoom, y * zoom) for x, y in _outline(shape)], fill=fill)


def _outline(shape: Shape) -> list[tuple[float, float]]:
    turn = math.radians(shape.angle)
    points = _UNIT_OUTLINES[shape.kind]
    cos, sin = math.cos(turn), math.sin(turn)
    return [
        (shape.x + shape.radius * (x * cos - y * sin), shape.y + shape.radius * (x * sin + y * cos))
        for x, y in points
    ]


def _ring(count: int, radii: Sequence[float]) -> list[tuple[float, float]]:
    steps = [(math.tau * index / count - math.tau / 4, radii[index % len(radii)]) for index in range(count)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle, radius in steps]


_ARM = 0.3
_UNIT_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": _ring(3, [1.0]),
    "star": _ring(10, [1.0, 0.42]),
    "diamond": [(0, -1), (0.72, 0), (0, 1), (-0.72, 0)],
    "cross": [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
}  # fmt: skip
