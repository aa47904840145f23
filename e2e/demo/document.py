"""Draws the pictures of docs/vir.md: `python -m e2e.demo.document docs/pictures`.

Routes come from the shipped router on pictures of fixed seeds, bars from what `make nano-eval` measured.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from e2e.demo.routes import COMPRESSED, KEPT, PictureRoutes, draw_routes
from e2e.demo.service import MODEL, MODELS
from e2e.setup.progress import say
from internvl_engines.contract.checkpoint import read_checkpoint_config
from internvl_engines.nano.answering import Answerer
from internvl_engines.nano.judging import WAYS
from internvl_engines.nano.pictures import Scene, draw
from internvl_engines.nano.questions import TASKS, compose_for

SEED = "docs/vir.md"
LARGEST_BYTES = 40_000
_SIDE = 112
_GRID = (3, 2)
_GAP = 16
_BARS = dict(zip(WAYS, (KEPT, (90, 170, 90), (170, 170, 170), COMPRESSED), strict=True))


def main() -> int:
    """Draw all pictures into a folder; the bars only where there are measured figures."""
    parser = argparse.ArgumentParser(prog="python -m e2e.demo.document", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=MODELS / MODEL)
    parser.add_argument("--measured", type=Path, default=Path("build/bench/nano-eval.json"))
    options = parser.parse_args()
    config = read_checkpoint_config(options.checkpoint)
    kept, compressed = config.tokens_per_tile, config.tokens_per_compressed_tile
    scene, answerer = _scene(SEED), Answerer(options.checkpoint)
    drawn = {
        "tiles": _cut(scene, kept),
        "rates": _rates(_scene(f"{SEED}: rates", grid=(1, 1)), kept, compressed),
        "routes": _beside([_routed(answerer, _scene(f"{SEED}: {n}"), kept) for n in (1, 2)]),
    }
    if options.measured.is_file():
        drawn["answers"] = _answers(json.loads(options.measured.read_text())["raw"]["groups"])
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        _save(picture, options.folder / f"{name}.png")
    return 0


def _scene(seed: str, *, grid: tuple[int, int] = _GRID) -> Scene:
    """The first scene of a seed with print and at least two shapes."""
    rng = random.Random(seed)
    while True:
        [scene] = compose_for("print", rng, grid=grid)
        if len(scene.shapes) > 1:
            return scene


def _cut(scene: Scene, kept: int) -> Image.Image:
    """The picture as it is, and beside it in tiles."""
    tiles = _GRID[0] * _GRID[1] + 1
    cut = draw_routes(draw(scene), PictureRoutes(*_GRID, (kept,) * tiles), kept_tokens=kept, side=_SIDE)
    whole = draw(scene).resize((_SIDE * _GRID[0] * 2 // 3, _SIDE * _GRID[1] * 2 // 3))
    return _beside([whole, cut])


def _rates(scene: Scene, kept: int, compressed: int) -> Image.Image:
    """One tile at both rates."""
    ways = [
        draw_routes(draw(scene), PictureRoutes(1, 1, (tokens,)), kept_tokens=kept, side=2 * _SIDE)
        for tokens in (kept, compressed)
    ]
    return _beside(ways)


def _routed(answerer: Answerer, scene: Scene, kept: int) -> Image.Image:
    seen = answerer.see([draw(scene)])
    [cut] = seen.cuts
    sizes = seen.kept.shape[1], seen.compressed.shape[1]
    routes = PictureRoutes(
        cut.grid.columns, cut.grid.rows, tuple(sizes[route] for route in map(int, seen.routes))
    )
    return draw_routes(draw(scene), routes, kept_tokens=kept, side=_SIDE)


def _answers(groups: dict[str, Any]) -> Image.Image:
    """A bar for each way and task, in percent."""
    wide, high, bar, left, top = 760, 230, 15, 40, 30
    picture = Image.new("RGB", (wide, high), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12)
    floor = high - 30
    for percent in (0, 50, 100):
        y = floor - percent * (floor - top) // 100
        pen.line((left, y, wide, y), fill=(220, 220, 220))
        pen.text((4, y - 8), f"{percent} %", fill="black", font=font)
    for number, (way, colour) in enumerate(_BARS.items()):
        pen.rectangle((left + 130 * number, 6, left + 130 * number + 12, 18), fill=colour)
        pen.text((left + 130 * number + 18, 4), way, fill="black", font=font)
    for place, task in enumerate((*TASKS, "overall")):
        x = left + 8 + place * (wide - left - 8) // (len(TASKS) + 1)
        pen.text((x, floor + 6), task, fill="black", font=font)
        for number, (way, colour) in enumerate(_BARS.items()):
            share = groups[task]["right"][way] / groups[task]["asked"]
            pen.rectangle(
                (x + bar * number, floor - share * (floor - top), x + bar * (number + 1) - 3, floor),
                fill=colour,
            )
    return picture


def _beside(pictures: list[Image.Image]) -> Image.Image:
    wide = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    joined = Image.new("RGB", (wide, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        joined.paste(picture, (x, (joined.height - picture.height) // 2))
        x += picture.width + _GAP
    return joined


def _save(picture: Image.Image, file: Path) -> None:
    # A palette: the pictures have few colours, and a repository keeps every version of them.
    picture.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    if size > LARGEST_BYTES:
        raise SystemExit(
            f"{file} has {size:,} bytes, more than {LARGEST_BYTES:,}: draw it with fewer colours"
        )
    say(f"{file}: {size:,} bytes")


if __name__ == "__main__":
    raise SystemExit(main())
