"""Training batches, each a pure function of the seed and its step, so that training can stop and go on.

Pictures are drawn when they are needed and never twice: one takes about 3 ms, a step of training a second.
So the figures on a batch before it is learnt from are figures on pictures never seen.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from internvl_engines.nano.conversation import Conversation, encode
from internvl_engines.nano.pictures import (
    COLOURS,
    KINDS,
    SEVERAL_GRIDS,
    SINGLE_GRID,
    TILE,
    Scene,
    compose,
    draw,
)
from internvl_engines.nano.questions import ask, ask_without_picture
from internvl_engines.nano.shape import COMMON_SYSTEM_MESSAGE, SYSTEM_MESSAGE
from internvl_engines.nano.stages import StageName
from internvl_runtimes.preprocess.tiling import TiledImage, tile

VISUAL_WORDS = (*COLOURS, *KINDS)
KEEP_SIDE, COMPRESS_SIDE = 4, 2
"""Rows of a tile lie in a square of this side."""
_PATCH_SIDE = 8
_COVER = 0.75
"""A patch counts as covered when it comes this near to the centre, in radii."""
_COMPRESSED = 0.15
_SEVERAL_TILES = 40
_TEXT_CONVERSATIONS = 6


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations whose pictures all have the same number of tiles."""

    pixels: npt.NDArray[np.float32] | None
    """float32 [pictures * tiles, 3, S, S], or None: text only."""
    conversations: list[Conversation]
    words: npt.NDArray[np.float32]
    """float32 [rows, words]: which of ``VISUAL_WORDS`` name a shape whose centre lies in the row's square."""
    marks: npt.NDArray[np.int64]
    """int64 [patches, 2]: colour and kind of the shape on each ViT patch, 0 for none, else 1 + index."""
    compress: bool
    """Every tile goes through ``mlp2`` instead of ``mlp1``: the rate is drawn per batch, as in ViCO per picture."""


def batches_of_step(step: int, *, seed: int, stage: StageName, tokenizer: Tokenizer) -> list[Batch]:
    """The batches of one step.

    ``see``: one-tile pictures. ``speak``: one-tile pictures, and conversations without. ``both``: one tile,
    several tiles, and conversations without.
    """
    rng = random.Random(f"{seed}:{step}")
    if stage == "see":
        return [_pictures(rng, _Group(SINGLE_GRID, 40, turns=1, compressed=_COMPRESSED), tokenizer)]
    if stage == "speak":
        # No compression: the language model learns to look, every row counts.
        return [
            _pictures(rng, _Group(SINGLE_GRID, 56, turns=2, compressed=0), tokenizer),
            _texts(rng, tokenizer),
        ]
    weights = [1 / (columns * rows) ** 0.5 for columns, rows in SEVERAL_GRIDS]
    grid = rng.choices(SEVERAL_GRIDS, weights)[0]
    several = max(3, _SEVERAL_TILES // (grid[0] * grid[1] + 1))
    return [
        _pictures(rng, _Group(SINGLE_GRID, 24, turns=3, compressed=_COMPRESSED), tokenizer),
        _pictures(rng, _Group(grid, several, turns=3, compressed=_COMPRESSED), tokenizer),
        _texts(rng, tokenizer),
    ]


def visual_words(scene: Scene, tiled: TiledImage, side: int) -> npt.NDArray[np.float32]:
    """Colour and kind of the shapes, at the row of each tile (thumbnail last) whose square holds the centre.

    Returns:
        float32 [tiles * side * side, len(VISUAL_WORDS)], 0 or 1.
    """
    columns, rows = tiled.grid.columns, tiled.grid.rows
    marks = np.zeros((len(tiled.pixels), side, side, len(VISUAL_WORDS)), np.float32)
    for shape in scene.shapes:
        words = [VISUAL_WORDS.index(shape.colour), VISUAL_WORDS.index(shape.kind)]
        x, y = shape.x / scene.width, shape.y / scene.height
        column, row = int(x * columns), int(y * rows)
        inside = (int((y * rows - row) * side), int((x * columns - column) * side))
        marks[(row * columns + column, *inside)][words] = 1
        if tiled.has_thumbnail:
            marks[-1, int(y * side), int(x * side)][words] = 1
    return marks.reshape(-1, len(VISUAL_WORDS))


def patch_marks(scene: Scene, tiled: TiledImage) -> npt.NDArray[np.int64]:
    """Colour and kind of the shape that lies on each patch of each tile (thumbnail last).

    Returns:
        int64 [tiles * patches, 2], 0 for none, else 1 + index in ``COLOURS`` and ``KINDS``.
    """
    columns, rows = tiled.grid.columns, tiled.grid.rows
    views = [(column, row, columns, rows) for row in range(rows) for column in range(columns)]
    if tiled.has_thumbnail:
        views.append((0, 0, 1, 1))
    marks = np.zeros((len(views), _PATCH_SIDE, _PATCH_SIDE, 2), np.int64)
    low = np.arange(_PATCH_SIDE)
    for number, (column, row, across, down) in enumerate(views):
        for shape in scene.shapes:
            x = (shape.x / scene.width * across - column) * _PATCH_SIDE
            y = (shape.y / scene.height * down - row) * _PATCH_SIDE
            wide = shape.radius / scene.width * across * _PATCH_SIDE * _COVER
            high = shape.radius / scene.height * down * _PATCH_SIDE * _COVER
            aside = np.maximum(0, np.maximum(low - x, x - low - 1)) / wide
            above = np.maximum(0, np.maximum(low - y, y - low - 1)) / high
            on = aside[None, :] ** 2 + above[:, None] ** 2 < 1
            marks[number][on] = 1 + list(COLOURS).index(shape.colour), 1 + KINDS.index(shape.kind)
    return marks.reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class _Group:
    """Pictures of one batch."""

    grid: tuple[int, int]
    count: int
    turns: int
    compressed: float
    """Probability that the batch goes through ``mlp2``."""


def _texts(rng: random.Random, tokenizer: Tokenizer) -> Batch:
    turns = [[ask_without_picture(rng) for _ in range(2)] for _ in range(_TEXT_CONVERSATIONS)]
    conversations = [encode(tokenizer, asked, image_tokens=0, system=_system(rng)) for asked in turns]
    nothing = np.zeros((0, len(VISUAL_WORDS)), np.float32), np.zeros((0, 2), np.int64)
    return Batch(None, conversations, *nothing, False)


def _pictures(rng: random.Random, group: _Group, tokenizer: Tokenizer) -> Batch:
    compress = rng.random() < group.compressed
    side = COMPRESS_SIDE if compress else KEEP_SIDE
    pixels: list[npt.NDArray[np.float32]] = []
    words: list[npt.NDArray[np.float32]] = []
    marks: list[npt.NDArray[np.int64]] = []
    conversations: list[Conversation] = []
    while len(conversations) < group.count:
        scene = compose(rng, grid=group.grid)
        tiled = tile(draw(scene), tile_size=TILE, min_tiles=1, max_tiles=12, use_thumbnail=True)
        turns = ask(scene, rng, count=group.turns)
        if not turns or (pixels and len(tiled.pixels) != len(pixels[0])):
            continue  # nothing has one answer here, or the odd picture fell into another grid
        image_turn = 0
        if rng.random() < 0.1:
            turns.insert(0, ask_without_picture(rng))
            image_turn = 1
        pixels.append(tiled.pixels)
        words.append(visual_words(scene, tiled, side))
        marks.append(patch_marks(scene, tiled))
        conversations.append(
            encode(
                tokenizer,
                turns,
                image_tokens=len(tiled.pixels) * side**2,
                image_turn=image_turn,
                image_last=rng.random() < 0.15,
                system=_system(rng),
            )
        )
    stacked = np.concatenate(pixels), conversations, np.concatenate(words), np.concatenate(marks)
    return Batch(*stacked, compress)


def _system(rng: random.Random) -> str:
    return COMMON_SYSTEM_MESSAGE if rng.random() < 0.1 else SYSTEM_MESSAGE
