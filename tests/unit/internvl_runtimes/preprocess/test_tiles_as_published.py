import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from internvl_runtimes.preprocess.tiling import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Grid,
    candidate_grids,
    choose_grid,
    count_tiles,
    tile,
)

# Width, height, then for at most 6, 12 and 24 tiles: tiles with the thumbnail, and (columns, rows).
TABLE = [
    (448, 448, (1, (1, 1)), (1, (1, 1)), (1, (1, 1))),
    (896, 896, (5, (2, 2)), (5, (2, 2)), (5, (2, 2))),
    (1344, 1344, (5, (2, 2)), (10, (3, 3)), (17, (4, 4))),
    (1920, 1080, (3, (2, 1)), (9, (4, 2)), (16, (5, 3))),
    (1280, 720, (3, (2, 1)), (9, (4, 2)), (16, (5, 3))),
    (3840, 2160, (3, (2, 1)), (9, (4, 2)), (16, (5, 3))),
    (640, 480, (7, (3, 2)), (13, (4, 3)), (13, (4, 3))),
    (1024, 768, (7, (3, 2)), (13, (4, 3)), (13, (4, 3))),
    (800, 400, (3, (2, 1)), (3, (2, 1)), (3, (2, 1))),
    (3000, 1000, (4, (3, 1)), (13, (6, 2)), (13, (6, 2))),
    (800, 1300, (7, (2, 3)), (7, (2, 3)), (16, (3, 5))),
]
CASES = [
    (width, height, max_tiles, *expected)
    for width, height, *by_max in TABLE
    for max_tiles, expected in zip((6, 12, 24), by_max, strict=True)
]


@pytest.mark.parametrize(("width", "height", "max_tiles", "tiles", "grid"), CASES)
def test_grid_and_count_are_those_of_the_published_table(width, height, max_tiles, tiles, grid):
    limits = {"min_tiles": 1, "max_tiles": max_tiles, "tile_size": 448}
    assert choose_grid(width, height, **limits) == Grid(*grid)
    assert count_tiles(width, height, **limits, use_thumbnail=True) == tiles


@pytest.mark.parametrize(("max_tiles", "grids"), [(6, 14), (12, 35), (24, 84), (40, 158)])
def test_there_are_as_many_candidate_grids_as_in_the_original(max_tiles, grids):
    assert len(candidate_grids(1, max_tiles)) == grids


def test_a_tie_takes_the_larger_grid_only_if_the_picture_fills_more_than_half_of_it():
    limits = {"min_tiles": 1, "max_tiles": 12, "tile_size": 100}
    assert choose_grid(141, 141, **limits) == Grid(1, 1)  # 19,881 pixels: not more than half of 2x2 tiles
    assert choose_grid(142, 142, **limits) == Grid(2, 2)  # 20,164: more


def test_equal_area_never_decides_when_one_tile_is_allowed():
    """The order that CPython's sets give to grids of equal area in the original cannot change an answer."""
    for max_tiles in range(1, 41):
        grids = candidate_grids(1, max_tiles)
        ratios = [grid.columns / grid.rows for grid in grids]
        for one, other in itertools.combinations(grids, 2):
            if one.tiles == other.tiles:
                a, b = one.columns / one.rows, other.columns / other.rows
                middle = (a + b) / 2  # the only aspect ratio at the same distance from both
                assert min(abs(middle - ratio) for ratio in ratios) < abs(middle - a) * (1 - 1e-9)


@settings(max_examples=40)
@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    max_tiles=st.integers(1, 40),
    min_tiles=st.integers(1, 4),
    tile_size=st.sampled_from([112, 224, 448]),
)
def test_no_other_grid_is_nearer_and_bounds_hold(width, height, max_tiles, min_tiles, tile_size):
    if min_tiles > max_tiles:
        min_tiles = max_tiles
    limits = {"min_tiles": min_tiles, "max_tiles": max_tiles, "tile_size": tile_size}
    grid = choose_grid(width, height, **limits)
    assert min_tiles <= grid.tiles <= max_tiles
    distance = abs(width / height - grid.columns / grid.rows)
    assert all(
        distance <= abs(width / height - other.columns / other.rows)
        for other in candidate_grids(min_tiles, max_tiles)
    )


@settings(max_examples=40)
@given(width=st.integers(1, 60), height=st.integers(1, 60), use_thumbnail=st.booleans())
def test_pixels_come_in_the_counted_number_and_shape(width, height, use_thumbnail):
    limits = {"tile_size": 8, "min_tiles": 1, "max_tiles": 6, "use_thumbnail": use_thumbnail}
    tiled = tile(Image.new("RGB", (width, height), (10, 200, 30)), **limits)
    assert tiled.pixels.shape == (count_tiles(width, height, **limits), 3, 8, 8)
    assert tiled.pixels.dtype == np.float32 and tiled.pixels.flags.c_contiguous
    assert tiled.has_thumbnail == (use_thumbnail and tiled.grid.tiles > 1)
    # A picture of one colour stays that colour, in every tile and channel.
    for channel, value in enumerate((10, 200, 30)):
        expected = (value / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(tiled.pixels[:, channel], expected, rtol=1e-5)


def test_tiles_lie_row_by_row_and_the_thumbnail_comes_last():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
    image = Image.new("RGB", (24, 16))
    for index, colour in enumerate(colours):
        image.paste(colour, (8 * (index % 3), 8 * (index // 3), 8 * (index % 3) + 8, 8 * (index // 3) + 8))
    tiled = tile(image, tile_size=8, min_tiles=1, max_tiles=6, use_thumbnail=True)
    assert tiled.grid == Grid(3, 2) and tiled.pixels.shape[0] == 7
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    for index, colour in enumerate(colours):
        np.testing.assert_allclose(
            tiled.pixels[index, :, 4, 4] * std + mean, np.array(colour) / 255, atol=1e-6
        )
    corner = tiled.pixels[6, :, 0, 0] * std + mean
    assert corner.argmax() == 0, "the thumbnail shows the whole picture: red in its upper left corner"


def test_a_picture_that_is_not_rgb_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="must be RGB, this one is RGBA: convert it first"):
        tile(Image.new("RGBA", (8, 8)), tile_size=8, min_tiles=1, max_tiles=1, use_thumbnail=True)


def test_impossible_limits_are_refused():
    with pytest.raises(ValueError, match="1 <= min_tiles <= max_tiles"):
        choose_grid(8, 8, min_tiles=3, max_tiles=2, tile_size=8)
    with pytest.raises(ValueError, match="no aspect ratio"):
        choose_grid(0, 8, min_tiles=1, max_tiles=2, tile_size=8)
