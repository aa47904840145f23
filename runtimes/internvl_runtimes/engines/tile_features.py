"""From tiles of several requests to rows: ViT over all, the router a request, one projector a tile.

Called by the vision encoder's deployment with one batch. Pure but for the engine that it is given.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internvl_engines.contract.checkpoint import FlashConfig
from internvl_runtimes.engines.base import Pixels, Rows, VisionEngine
from internvl_runtimes.engines.routing import route


@dataclass(frozen=True, slots=True)
class RequestFeatures:
    """One request's rows."""

    rows: Rows
    """float32 [T, H], in the order of its tiles."""
    tokens_per_tile: tuple[int, ...]
    compressed_tiles: int


def encode_tiles(
    engine: VisionEngine, pixels: Pixels, tiles_per_request: Sequence[int], *, flash: FlashConfig | None
) -> list[RequestFeatures]:
    """Encode one batch.

    Args:
        engine: the vision engine.
        pixels: float32 [N, 3, S, S], all requests' tiles one after another.
        tiles_per_request: how many tiles each request has; their sum is N. The router's scope is one request.
        flash: the checkpoint's thresholds, or None for a model without a router.

    Raises:
        EngineFailed: the engine failed.
    """
    if sum(tiles_per_request) != pixels.shape[0] or any(tiles < 1 for tiles in tiles_per_request):
        raise ValueError(f"{pixels.shape[0]} tiles came for requests of {list(tiles_per_request)}")
    patches = engine.encode(pixels)
    borders = np.cumsum([0, *tiles_per_request])
    compressed = np.zeros(len(pixels), np.bool_)
    # A request of one tile is never compressed (see `routing`): the router need not run for it.
    if flash is not None and max(tiles_per_request) > 1:
        probabilities = engine.compress_probability(patches)
        for start, stop in itertools.pairwise(borders):
            compressed[start:stop] = route(
                probabilities[start:stop],
                relative_threshold=flash.relative_threshold,
                absolute_threshold=flash.absolute_threshold,
            )
    tiles = _project(engine, patches, compressed)
    return [
        RequestFeatures(
            rows=np.concatenate(tiles[start:stop]),
            tokens_per_tile=tuple(len(rows) for rows in tiles[start:stop]),
            compressed_tiles=int(compressed[start:stop].sum()),
        )
        for start, stop in itertools.pairwise(borders)
    ]


def _project(engine: VisionEngine, patches: Rows, compressed: npt.NDArray[np.bool_]) -> list[Rows]:
    """Rows of each tile [t, H]; each projector sees only its own tiles, in one call."""
    tiles: list[Rows] = [patches[0]] * len(patches)
    for choice in (False, True):
        chosen = np.flatnonzero(compressed == choice)
        if len(chosen):
            for index, rows in zip(chosen, engine.project(patches[chosen], compressed=choice), strict=True):
                tiles[index] = rows
    return tiles
