"""Tiles against the image processor that transformers uses for InternVL; it shares no code with ours."""

import numpy as np
import pytest
from PIL import Image

from internvl_runtimes.preprocess.tiling import IMAGENET_MEAN, IMAGENET_STD, choose_grid, count_tiles, tile

got_ocr2 = pytest.importorskip(
    "transformers.models.got_ocr2.image_processing_pil_got_ocr2", reason="needs the training environment"
)

TILE = 56  # small tiles: the rules do not depend on the side, the time does
SIZES = [
    (56, 56),
    (112, 112),
    (240, 135),
    (160, 120),
    (100, 50),
    (375, 125),
    (100, 163),
    (17, 300),
    (301, 299),
]


def processor(max_tiles: int):
    return got_ocr2.GotOcr2ImageProcessorPil(
        crop_to_patches=True,
        min_patches=1,
        max_patches=max_tiles,
        size={"height": TILE, "width": TILE},
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )


@pytest.mark.parametrize("max_tiles", [2, 6, 12, 24])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixel_values_are_those_of_transformers(width, height, max_tiles):
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(noise)
    theirs = processor(max_tiles)(images=[image], return_tensors="np")
    ours = tile(image, tile_size=TILE, min_tiles=1, max_tiles=max_tiles, use_thumbnail=True)
    assert ours.pixels.shape[0] == theirs["num_patches"][0]
    # They scale by a multiplication with 1/255 in another order: the last bit may differ, a pixel step is 0.017.
    np.testing.assert_allclose(ours.pixels, theirs["pixel_values"], atol=2e-6, rtol=0)


@pytest.mark.parametrize("max_tiles", [1, 6, 12, 24, 40])
def test_grids_are_those_of_transformers_over_many_sizes(max_tiles):
    sizes = np.random.default_rng(7).integers(1, 4000, (1500, 2)).tolist()
    sizes += [(448 * i, 448 * j) for i in range(1, 9) for j in range(1, 9)]
    sizes += [(224 * i + 1, 224 * j) for i in range(1, 9) for j in range(1, 9)]
    for width, height in sizes:
        limits = {"min_tiles": 1, "max_tiles": max_tiles, "tile_size": 448}
        columns, rows = got_ocr2.get_optimal_tiled_canvas((height, width), (448, 448), 1, max_tiles)
        grid = choose_grid(width, height, **limits)
        assert (grid.columns, grid.rows) == (columns, rows), (width, height)
        thumbnail = int(columns * rows > 1)
        assert count_tiles(width, height, **limits, use_thumbnail=True) == columns * rows + thumbnail
