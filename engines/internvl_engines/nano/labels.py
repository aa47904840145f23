"""What lies where in the tiles of a picture: the truth for the terms that both sides learn by beside the answers.

A pair of colour and kind that is held out is not denied either: of a cyan shape nothing says that it is no circle. Else
training would teach that there are no cyan circles. Tried so: of shapes of held-out pairs half of the rows named their
kind too weakly to be found by it, of others one in ten, and a third of the questions for their colour were refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from internvl_engines.nano.pictures import COLOURS, KINDS, TILE, Scene
from internvl_engines.nano.prints import CHARACTERS
from internvl_engines.nano.scenes import HELD_OUT_PAIRS
from internvl_runtimes.preprocess.tiling import TiledImage

VISUAL_WORDS = (*COLOURS, *KINDS, *CHARACTERS)
PATCH_SIDE = 8
"""ViT patches along a tile's side."""
_COVER = 0.75
"""A patch counts as covered when it comes this near to a shape's centre, in radii."""
_NAMED_FROM = 9.0
"""Pixels of a tile: a character that is less high there has no name."""

IGNORE_INDEX = -100
"""Of a mark that has no name: the index that cross-entropy leaves out."""
_COLOUR_INDEX = {colour: index for index, colour in enumerate(COLOURS)}
_KIND_INDEX = {kind: index for index, kind in enumerate(KINDS)}
_HELD_OUT = [(_COLOUR_INDEX[colour], _KIND_INDEX[kind]) for colour, kind in sorted(HELD_OUT_PAIRS)]
UNTOLD = -1.0
"""Of a word: it would make a held-out pair with another word of the row."""
_PARTNER = {colour: len(COLOURS) + kind for colour, kind in _HELD_OUT} | {
    len(COLOURS) + kind: colour for colour, kind in _HELD_OUT
}
"""By index of a word, that of the word with which it is a held-out pair."""


def untold_marks() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which kinds are not denied of a patch by its mark of colour, and which colours by its mark of kind.

    Returns:
        bool [1 + colours, 1 + kinds], bool [1 + kinds, 1 + colours].
    """
    kinds = np.zeros((1 + len(COLOURS), 1 + len(KINDS)), np.bool_)
    for colour, kind in _HELD_OUT:
        kinds[1 + colour, 1 + kind] = True
    return kinds, kinds.T.copy()


_View = tuple[float, float, float, float]
"""Left and top of a tile in the picture, and its size, all as shares of the picture."""


def visual_words(scene: Scene, tiled: TiledImage, sides: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    """Colour and kind of the shapes, and the characters, at the row of each tile whose square holds the centre.

    Args:
        scene: what the picture shows.
        tiled: its tiles, the thumbnail last.
        sides: of each tile, how many rows lie along its side.

    Returns:
        For each tile float32 [side * side, len(VISUAL_WORDS)]: 1, 0, or ``UNTOLD``. A colour or a kind without a name
        is no word.
    """
    named: list[npt.NDArray[np.float32]] = []
    for view, side in zip(_views(tiled), sides, strict=True):
        words = np.zeros((side, side, len(VISUAL_WORDS)), np.float32)
        places = [place for place in _named_places(scene, view) if 0 <= place[0] < 1 and 0 <= place[1] < 1]
        for x, y, indices in places:
            untold = [_PARTNER[index] for index in indices if index in _PARTNER]
            words[int(y * side), int(x * side), untold] = UNTOLD
        for x, y, indices in places:
            words[int(y * side), int(x * side), indices] = 1
        named.append(words.reshape(side * side, -1))
    return named


def patch_marks(scene: Scene, tiled: TiledImage) -> npt.NDArray[np.int64]:
    """Colour, kind and character of what lies on each patch of each tile (thumbnail last), and whose centre does.

    Returns:
        int64 [tiles * patches, 4], 0 for none, else 1 + index in ``COLOURS``, ``KINDS``, ``CHARACTERS``, and
        1 + the quarter of the patch (row by row) that holds the centre of a shape or of a character (of two, the
        last one's); ``IGNORE_INDEX`` for a colour or a kind that has no name.
    """
    views = _views(tiled)
    marks = np.zeros((len(views), PATCH_SIDE, PATCH_SIDE, 4), np.int64)
    for number, view in enumerate(views):
        _mark_shapes(marks[number], scene, view)
        _mark_characters(marks[number], scene, view)
        for x, y, _ in _named_places(scene, view):
            _mark_centre(marks[number], x * PATCH_SIDE, y * PATCH_SIDE)
    return marks.reshape(-1, 4)


def character_places(scene: Scene, tiled: TiledImage) -> npt.NDArray[np.int64]:
    """Which character of its text lies on each patch of each tile (thumbnail last).

    Returns:
        int64 [tiles * patches], 0 for none, else 1 for the first character, 2 for the second, and so on.
    """
    views = _views(tiled)
    places = np.zeros((len(views), PATCH_SIDE, PATCH_SIDE), np.int64)
    for number, view in enumerate(views):
        for box, _, place in _legible(scene, view):
            places[number][_covered(box)] = 1 + place
    return places.reshape(-1)


def _views(tiled: TiledImage) -> list[_View]:
    columns, rows = tiled.grid.columns, tiled.grid.rows
    views = [(c / columns, r / rows, 1 / columns, 1 / rows) for r in range(rows) for c in range(columns)]
    return [*views, (0.0, 0.0, 1.0, 1.0)] if tiled.has_thumbnail else views


def _named_places(scene: Scene, view: _View) -> list[tuple[float, float, list[int]]]:
    """Centres in shares of the tile, with the indices of their words."""
    left, top, wide, high = view
    places = []
    for shape in scene.shapes:
        x, y = (shape.x / scene.width - left) / wide, (shape.y / scene.height - top) / high
        named = [_COLOUR_INDEX[shape.colour]] if shape.colour in _COLOUR_INDEX else []
        named += [len(COLOURS) + _KIND_INDEX[shape.kind]] if shape.kind in _KIND_INDEX else []
        places.append((x, y, named))
    first = len(COLOURS) + len(KINDS)
    for box, colour, _ in _legible(scene, view):
        character, x0, y0, x1, y1 = box
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
        places.append((*centre, [first + CHARACTERS.index(character), _COLOUR_INDEX[colour]]))
    return places


_Box = tuple[str, float, float, float, float]


def _legible(scene: Scene, view: _View) -> list[tuple[_Box, str, int]]:
    """Characters that are high enough in this tile, their boxes in shares of it, with colour and place in the text."""
    left, top, wide, high = view
    boxes = []
    for text in scene.prints:
        for place, (character, x0, y0, x1, y1) in enumerate(text.characters):
            across = ((x / scene.width - left) / wide for x in (x0, x1))
            down = ((y / scene.height - top) / high for y in (y0, y1))
            (a, b), (c, d) = across, down
            if (d - c) * TILE >= _NAMED_FROM:
                boxes.append(((character, a, c, b, d), text.colour, place))
    return boxes


def _mark_shapes(marks: npt.NDArray[np.int64], scene: Scene, view: _View) -> None:
    left, top, wide, high = view
    low = np.arange(PATCH_SIDE)
    for shape in scene.shapes:
        x = (shape.x / scene.width - left) / wide * PATCH_SIDE
        y = (shape.y / scene.height - top) / high * PATCH_SIDE
        across = shape.radius / scene.width / wide * PATCH_SIDE * _COVER
        down = shape.radius / scene.height / high * PATCH_SIDE * _COVER
        aside = np.maximum(0, np.maximum(low - x, x - low - 1)) / across
        above = np.maximum(0, np.maximum(low - y, y - low - 1)) / down
        on = aside[None, :] ** 2 + above[:, None] ** 2 < 1
        marks[on, 0] = 1 + _COLOUR_INDEX[shape.colour] if shape.colour in _COLOUR_INDEX else IGNORE_INDEX
        marks[on, 1] = 1 + _KIND_INDEX[shape.kind] if shape.kind in _KIND_INDEX else IGNORE_INDEX


def _mark_characters(marks: npt.NDArray[np.int64], scene: Scene, view: _View) -> None:
    for box, colour, _ in _legible(scene, view):
        on = _covered(box)
        marks[on, 0] = 1 + _COLOUR_INDEX[colour]
        marks[on, 2] = 1 + CHARACTERS.index(box[0])


def _mark_centre(marks: npt.NDArray[np.int64], x: float, y: float) -> None:
    column, row = math.floor(x), math.floor(y)
    if 0 <= column < PATCH_SIDE and 0 <= row < PATCH_SIDE:
        marks[row, column, 3] = 1 + 2 * (y - row >= 0.5) + (x - column >= 0.5)


def _covered(box: _Box) -> npt.NDArray[np.bool_]:
    """Each patch whose centre lies in a character's box; a narrow character at least on its own patch."""
    _, x0, y0, x1, y1 = box
    middle = (np.arange(PATCH_SIDE) + 0.5) / PATCH_SIDE
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    on = ((middle >= y0) & (middle < y1))[:, None] & ((middle >= x0) & (middle < x1))[None, :]
    if 0 <= x < 1 and 0 <= y < 1:
        on[int(y * PATCH_SIDE), int(x * PATCH_SIDE)] = True
    return on
