"""Pictures to ask about, and a picture with its tiles drawn on it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_engines.nano import pictures, questions
from internvl_runtimes.preprocess import tiling

SEVERAL_TILES = (3, 2)
_TILE_SIDE_ON_SCREEN = 224
_LINE = (255, 0, 160)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the picture it is about (if any) and the right answer where it is known."""

    title: str
    question: str
    picture: Path | None = None
    expected: str | None = None


def draw_questions(folder: Path, seed: int) -> list[Asked]:
    """Three questions, as a user might ask them: one tile, several tiles, text only."""
    rng = random.Random(seed)
    one = _about_a_picture(rng, "a drawn picture", pictures.SINGLE_GRID, folder / "picture.png")
    several = _about_a_picture(rng, "a picture of several tiles", SEVERAL_TILES, folder / "tiles.png")
    text = questions.ask_without_picture(rng)
    while text.task == "no picture":
        text = questions.ask_without_picture(rng)
    return [one, several, Asked("text only", text.text, expected=text.answer)]


def _about_a_picture(rng: random.Random, title: str, grid: tuple[int, int], path: Path) -> Asked:
    while True:
        scene = pictures.compose(rng, grid=grid)
        asked = questions.ask(scene, rng, count=1)
        if asked and asked[0].answer != "zero":  # right, and it convinces nobody
            pictures.draw(scene).save(path)
            return Asked(title, asked[0].text, path, asked[0].answer)


def draw_tiles(picture: Path, config: CheckpointConfig, target: Path) -> str:
    """Save `picture` as the model sees it: resized to its grid, each tile framed and numbered.

    Returns:
        One sentence about the grid.
    """
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    grid = tiling.choose_grid(
        *image.size,
        min_tiles=config.min_dynamic_patch,
        max_tiles=config.max_dynamic_patch,
        tile_size=config.image_size,
    )
    side = _TILE_SIDE_ON_SCREEN
    canvas = image.resize((grid.columns * side, grid.rows * side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=20)
    for number in range(grid.tiles):
        x, y = number % grid.columns * side, number // grid.columns * side
        pen.rectangle((x, y, x + side - 1, y + side - 1), outline=_LINE, width=3)
        pen.text((x + 8, y + 6), str(number + 1), fill=_LINE, font=font)
    canvas.save(target)
    thumbnail = config.use_thumbnail and grid.tiles > 1
    return (
        f"{image.width}x{image.height} pixels -> {grid.columns}x{grid.rows} tiles of {config.image_size} px"
        f"{' and a thumbnail' if thumbnail else ''}"
    )
