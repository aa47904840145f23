"""InternVL's dynamic tiling: which grid a picture is cut into, how many tiles that makes, and their pixels.

Called by the gateway (counts at admission, from the image header alone), the vision encoder (pixels) and the
training of internvl-nano. The rules are those of `dynamic_preprocess` in the published InternVL code.

One detail is decided here. The original keeps its candidate grids in a Python set and sorts them by area, so
the order among grids of equal area is CPython's set order. Here it is columns ascending, as in transformers.
It matters only when two grids of equal area are both nearest to the picture's aspect ratio. With `min_tiles`
1, which every released checkpoint has, that never happens (a test goes through all pairs up to 40 tiles).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Grid:
    """How many tiles lie side by side and one above the other, without the thumbnail."""

    columns: int
    rows: int

    @property
    def tiles(self) -> int:
        """Tiles in the grid."""
        return self.columns * self.rows


@dataclass(frozen=True, slots=True)
class TiledImage:
    """A picture as the vision tower takes it."""

    pixels: npt.NDArray[np.float32]
    """float32 [N, 3, S, S], normalised; tiles row-major, the thumbnail last."""
    grid: Grid
    has_thumbnail: bool


@lru_cache(maxsize=64)
def candidate_grids(min_tiles: int, max_tiles: int) -> tuple[Grid, ...]:
    """All grids of `min_tiles` to `max_tiles` tiles, by area, then by columns."""
    if not 1 <= min_tiles <= max_tiles:
        raise ValueError(
            f"min_tiles {min_tiles} and max_tiles {max_tiles} must be 1 <= min_tiles <= max_tiles"
        )
    grids = [
        Grid(columns, rows)
        for columns in range(1, max_tiles + 1)
        for rows in range(1, max_tiles // columns + 1)
        if columns * rows >= min_tiles
    ]
    return tuple(sorted(grids, key=lambda grid: (grid.tiles, grid.columns)))


def choose_grid(width: int, height: int, *, min_tiles: int, max_tiles: int, tile_size: int) -> Grid:
    """The grid whose aspect ratio is nearest to the picture's.

    On an exact tie the later (larger) grid wins if the picture has more than half of that grid's pixels.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width}x{height} pixels has no aspect ratio")
    grids = candidate_grids(min_tiles, max_tiles)
    aspect_ratio = width / height
    best, best_distance = grids[0], float("inf")
    for grid in grids:
        distance = abs(aspect_ratio - grid.columns / grid.rows)
        large_enough = width * height > 0.5 * tile_size * tile_size * grid.tiles
        if distance < best_distance or (distance == best_distance and large_enough):
            best, best_distance = grid, distance
    return best


def count_tiles(
    width: int, height: int, *, min_tiles: int, max_tiles: int, tile_size: int, use_thumbnail: bool
) -> int:
    """Tiles that a picture of that size makes, the thumbnail included."""
    grid = choose_grid(width, height, min_tiles=min_tiles, max_tiles=max_tiles, tile_size=tile_size)
    return grid.tiles + int(use_thumbnail and grid.tiles != 1)


def tile(
    image: Image.Image, *, tile_size: int, min_tiles: int, max_tiles: int, use_thumbnail: bool
) -> TiledImage:
    """Cut an RGB picture into normalised tiles.

    The whole picture is resized (bicubic, aspect ratio not kept) to the grid, cut row-major; with more than
    one tile and `use_thumbnail`, the whole picture in one tile comes last.

    Args:
        image: the decoded picture, mode RGB.
        tile_size: side of a tile in pixels, S.
        min_tiles: fewest tiles of the grid.
        max_tiles: most tiles of the grid; the thumbnail comes on top.
        use_thumbnail: whether the checkpoint wants the thumbnail.

    Returns:
        Pixels float32 [N, 3, S, S], scaled to [0, 1] and normalised by ImageNet's mean and deviation.
    """
    if image.mode != "RGB":
        raise ValueError(f"a picture to tile must be RGB, this one is {image.mode}: convert it first")
    grid = choose_grid(*image.size, min_tiles=min_tiles, max_tiles=max_tiles, tile_size=tile_size)
    has_thumbnail = use_thumbnail and grid.tiles != 1
    canvas = _resized(image, grid.columns * tile_size, grid.rows * tile_size)
    tiles = (
        canvas.reshape(grid.rows, tile_size, grid.columns, tile_size, 3)
        .transpose(0, 2, 4, 1, 3)
        .reshape(grid.tiles, 3, tile_size, tile_size)
    )
    if has_thumbnail:
        thumbnail = _resized(image, tile_size, tile_size).transpose(2, 0, 1)
        tiles = np.concatenate([tiles, thumbnail[None]])
    return TiledImage(_normalised(tiles), grid, has_thumbnail)


def _resized(image: Image.Image, width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _normalised(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    # The same float32 operations in the same order as torchvision's ToTensor and Normalize: bit for bit.
    pixels = tiles.astype(np.float32, order="C")
    pixels /= np.float32(255)
    pixels -= np.asarray(IMAGENET_MEAN, np.float32).reshape(1, 3, 1, 1)
    pixels /= np.asarray(IMAGENET_STD, np.float32).reshape(1, 3, 1, 1)
    return pixels
