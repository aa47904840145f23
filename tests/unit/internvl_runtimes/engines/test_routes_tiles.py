import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_engines.contract.checkpoint import FlashConfig
from internvl_runtimes.engines.base import VisionGeometry
from internvl_runtimes.engines.routing import quantile, route
from internvl_runtimes.engines.tile_features import encode_tiles

PROBABILITIES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40).map(
    lambda values: np.array(values, np.float32)
)


@settings(max_examples=40)
@given(p0=PROBABILITIES, relative=st.floats(0, 1), absolute=st.floats(0, 1))
def test_a_compressed_tile_is_above_the_quantile_and_the_absolute_threshold(p0, relative, absolute):
    compressed = route(p0, relative_threshold=relative, absolute_threshold=absolute)
    expected = (p0 > quantile(p0, relative)) & (p0 >= np.float32(absolute))
    assert compressed.tolist() == expected.tolist()
    assert not compressed[p0.argmin()], "the tile least fit for it is never compressed"
    assert abs(quantile(p0, relative) - np.quantile(p0.astype(float), relative)) < 1e-6


def test_one_tile_is_never_compressed():
    assert not route(np.array([0.99], np.float32), relative_threshold=0.0, absolute_threshold=0.0).any()


def test_relative_threshold_one_keeps_all():
    p0 = np.linspace(0, 1, 9, dtype=np.float32)
    assert not route(p0, relative_threshold=1.0, absolute_threshold=0.0).any()


class PaintedTiles:
    """A vision engine whose patches, probabilities and rows can be told apart: a tile is its first pixel."""

    geometry = VisionGeometry(
        tile_size=2, patches=4, patch_width=3, hidden_size=5, kept_tokens=4, compressed_tokens=1
    )

    def __init__(self) -> None:
        self.projected: list[tuple[bool, list[float]]] = []
        self.routed = 0

    def encode(self, pixels):
        return np.broadcast_to(pixels[:, 0, 0, 0, None, None], (len(pixels), 4, 3)).astype(np.float32)

    def compress_probability(self, patches):
        self.routed += len(patches)
        return patches[:, 0, 0] / 100

    def project(self, patches, *, compressed):
        self.projected.append((compressed, patches[:, 0, 0].tolist()))
        tokens = 1 if compressed else 4
        return np.broadcast_to(patches[:, :1, :1], (len(patches), tokens, 5)).astype(np.float32)


def painted(*values):
    return np.broadcast_to(np.array(values, np.float32)[:, None, None, None], (len(values), 3, 2, 2))


FLASH = FlashConfig(relative_threshold=0.5, absolute_threshold=0.3)


def test_each_request_is_routed_by_its_own_tiles_and_each_tile_runs_one_projector():
    engine = PaintedTiles()
    first, second, third = encode_tiles(engine, painted(10, 20, 90, 80, 50, 60, 99), [3, 3, 1], flash=FLASH)
    assert first.tokens_per_tile == (4, 4, 1) and first.rows[:, 0].tolist() == [10] * 4 + [20] * 4 + [90]
    assert second.tokens_per_tile == (1, 4, 4) and second.rows[:, 0].tolist() == [80] + [50] * 4 + [60] * 4
    assert third.tokens_per_tile == (4,) and third.compressed_tiles == 0
    assert engine.projected == [(False, [10, 20, 50, 60, 99]), (True, [90, 80])]


def test_a_request_gets_the_same_rows_alone_and_in_a_batch():
    alone = encode_tiles(PaintedTiles(), painted(10, 20, 90), [3], flash=FLASH)[0]
    batched = encode_tiles(PaintedTiles(), painted(70, 71, 10, 20, 90, 99), [2, 3, 1], flash=FLASH)[1]
    assert alone.tokens_per_tile == batched.tokens_per_tile
    assert np.array_equal(alone.rows, batched.rows)


def test_without_a_router_every_tile_is_kept_and_nothing_is_routed():
    engine = PaintedTiles()
    (features,) = encode_tiles(engine, painted(10, 90), [2], flash=None)
    assert features.tokens_per_tile == (4, 4) and engine.routed == 0
    encode_tiles(engine, painted(10, 90), [1, 1], flash=FLASH)
    assert engine.routed == 0, "requests of one tile need no router"


@pytest.mark.parametrize("tiles", [[2], [3, 0], [4]])
def test_tiles_that_belong_to_no_request_are_refused(tiles):
    with pytest.raises(ValueError, match="3 tiles came for requests"):
        encode_tiles(PaintedTiles(), painted(1, 2, 3), tiles, flash=None)
