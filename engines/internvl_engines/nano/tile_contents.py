"""What lies on each tile of a scene: the truth that the router's choices are compared with. Pure."""

from __future__ import annotations

from typing import Literal

from internvl_engines.nano.answering import Cut
from internvl_engines.nano.pictures import Scene

TileContent = Literal["print", "shapes", "background", "thumbnail", "picture of one tile"]
TILE_CONTENTS: tuple[TileContent, ...] = ("print", "shapes", "background", "thumbnail", "picture of one tile")
"""With print (and perhaps shapes), shapes only, plain background, the whole in small, the one tile of a picture."""

_SHOWING = 0.85
"""A shape counts where a tile comes this near to its centre, in radii: a corner of some pixels is background."""


def tile_contents(scene: Scene, cut: Cut) -> tuple[TileContent, ...]:
    """The content of each tile, row-major, the thumbnail last."""
    if cut.tiles == 1:
        return ("picture of one tile",)
    wide, high = scene.width / cut.grid.columns, scene.height / cut.grid.rows
    contents: list[TileContent] = []
    for row in range(cut.grid.rows):
        for column in range(cut.grid.columns):
            square = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
            contents.append(_content(scene, square))
    return (*contents, "thumbnail") if cut.has_thumbnail else tuple(contents)


def _content(scene: Scene, square: tuple[float, float, float, float]) -> TileContent:
    left, top, right, bottom = square
    for text in scene.prints:
        for _, x0, y0, x1, y1 in text.characters:
            if min(x1, right) - max(x0, left) > 1 and min(y1, bottom) - max(y0, top) > 1:
                return "print"
    for shape in scene.shapes:
        aside = max(left - shape.x, 0, shape.x - right)
        above = max(top - shape.y, 0, shape.y - bottom)
        if aside**2 + above**2 < (shape.radius * _SHOWING) ** 2:
            return "shapes"
    return "background"
