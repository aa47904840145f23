"""What the router made of a picture, drawn on it: the demo shows it, and docs/vir.md does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

KEPT, COMPRESSED = (0, 90, 200), (225, 95, 0)
"""Of the frames; told apart by those who do not see red and green, too."""
_GAP = 12
_DOT = 2


@dataclass(frozen=True, slots=True)
class PictureRoutes:
    """How one picture was cut, and the tokens of its tiles: row-major, the thumbnail last where there is one."""

    columns: int
    rows: int
    tokens_per_tile: tuple[int, ...]

    @property
    def has_thumbnail(self) -> bool:
        """Whether the whole picture comes once more as a tile."""
        return len(self.tokens_per_tile) > self.columns * self.rows


def tokens_saved(pictures: Sequence[PictureRoutes], kept_tokens: int) -> str:
    """One sentence about the visual tokens of a request; `kept_tokens` is what a tile has that is kept."""
    tokens = [count for picture in pictures for count in picture.tokens_per_tile]
    whole, used = kept_tokens * len(tokens), sum(tokens)
    compressed = sum(count < kept_tokens for count in tokens)
    return (
        f"{compressed} of {len(tokens)} tiles compressed: {used} visual tokens instead of {whole} "
        f"({100 * (1 - used / whole):.0f} % saved)"
    )


def draw_routes(image: Image.Image, routes: PictureRoutes, *, kept_tokens: int, side: int) -> Image.Image:
    """`image` as the model sees it: each tile framed, with a dot for each of its tokens; the thumbnail beside it.

    Args:
        image: the picture, mode RGB.
        routes: what became of its tiles.
        kept_tokens: of a tile that is kept: fewer means compressed.
        side: of a tile in the drawing, in pixels.
    """
    wide, high = routes.columns * side, routes.rows * side
    drawing = Image.new("RGB", (wide + (_GAP + side) * routes.has_thumbnail, high), "white")
    drawing.paste(image.resize((wide, high), Image.Resampling.BICUBIC), (0, 0))
    corners = [(column * side, row * side) for row in range(routes.rows) for column in range(routes.columns)]
    if routes.has_thumbnail:
        corners.append((wide + _GAP, 0))
        drawing.paste(image.resize((side, side), Image.Resampling.BICUBIC), corners[-1])
    pen = ImageDraw.Draw(drawing)
    for corner, tokens in zip(corners, routes.tokens_per_tile, strict=True):
        _frame(pen, corner, side, tokens, COMPRESSED if tokens < kept_tokens else KEPT)
    return drawing


def _frame(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, tokens: int, colour: tuple[int, int, int]
) -> None:
    x, y = corner
    pen.rectangle((x, y, x + side - 1, y + side - 1), outline=colour, width=max(2, side // 40))
    across = round(tokens**0.5)
    for row in range(across):
        for column in range(across):
            middle = (x + side * (column + 0.5) / across, y + side * (row + 0.5) / across)
            pen.ellipse((middle[0] - _DOT, middle[1] - _DOT, middle[0] + _DOT, middle[1] + _DOT), fill=colour)
    size = max(10, side // 11)
    text = str(tokens)
    font = ImageFont.load_default(size=size)
    width = font.getlength(text) + 6
    pen.rectangle((x, y, x + width, y + size + 5), fill=colour)
    pen.text((x + 3, y + 1), text, fill="white", font=font)
