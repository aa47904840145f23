"""Pictures of coloured shapes and printed text, drawn from a seed: what internvl-nano is trained on and asked about.

Used by training and evaluation, and by tests and the demo, which draw with fresh seeds. The whole vocabulary
of scenes can be had from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw

from internvl_engines.nano.composing import Subject, compose, random_grid
from internvl_engines.nano.prints import Print, held_out_text
from internvl_engines.nano.scenes import (
    COLOURS,
    KINDS,
    SEVERAL_GRIDS,
    SINGLE_GRID,
    TILE,
    Scene,
    Shape,
    held_out_pair,
)

__all__ = [
    "COLOURS",
    "KINDS",
    "SEVERAL_GRIDS",
    "SINGLE_GRID",
    "TILE",
    "Print",
    "Scene",
    "Shape",
    "Subject",
    "compose",
    "draw",
    "held_out_pair",
    "held_out_text",
    "random_grid",
]


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, with smooth edges."""
    zoom = 2
    canvas = Image.new("RGB", (scene.width * zoom, scene.height * zoom), scene.background)
    pen = ImageDraw.Draw(canvas)
    for shape in scene.shapes:
        _draw_shape(pen, shape, zoom)
    picture = canvas.resize((scene.width, scene.height), Image.Resampling.BOX)
    pen = ImageDraw.Draw(picture)
    for line in scene.prints:
        line.draw(pen, COLOURS[line.colour])
    return picture


def _draw_shape(pen: ImageDraw.ImageDraw, shape: Shape, zoom: int) -> None:
    fill = COLOURS.get(shape.colour) or ImageColor.getrgb(shape.colour)
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
    "bar": [(-1, -0.28), (1, -0.28), (1, 0.28), (-1, 0.28)],
    "corner": [(-0.28, -1), (0.28, -1), (0.28, -0.28), (1, -0.28), (1, 0.28), (-0.28, 0.28)],
    "arrow": [(0, -1), (0.9, 0.1), (0.3, 0.1), (0.3, 1), (-0.3, 1), (-0.3, 0.1), (-0.9, 0.1)],
    "cross": [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
}  # fmt: skip
