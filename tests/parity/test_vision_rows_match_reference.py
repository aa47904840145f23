"""The embedded vision engine, several requests in one batch, against the torch reference request by request."""

import json

import numpy as np
import pytest

from internvl_engines.contract.checkpoint import read_checkpoint_config
from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision
from internvl_runtimes.engines.tile_features import encode_tiles

torch = pytest.importorskip("torch", reason="needs the training environment")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights in nano's shape, a router that compresses about half of the tiles."""
    from safetensors.torch import save_file

    from internvl_engines.nano.shape import config_document
    from internvl_engines.reference.vision import Vision

    folder = tmp_path_factory.mktemp("checkpoint")
    document = config_document(vocab_size=300, end_token=1, pad_token=0)
    document |= {"flash_relative_threshold": 0.5, "flash_absolute_threshold": 0.0}
    (folder / "config.json").write_text(json.dumps(document))
    torch.manual_seed(2)
    vision = Vision(read_checkpoint_config(folder))
    save_file(
        {name: value.clone() for name, value in vision.state_dict().items()}, folder / "model.safetensors"
    )
    return folder


@pytest.mark.timeout(300)
def test_rows_and_routes_are_those_of_the_reference(checkpoint):
    from internvl_engines.export.vision import export_vision
    from internvl_engines.reference.model import load_vision

    reference = load_vision(checkpoint)
    engine = OnnxRuntimeVision(export_vision(checkpoint, checkpoint / "artifacts"), threads=1)
    side, tiles = engine.geometry.tile_size, [1, 5, 3]
    # Noise of different strength and a gradient: tiles that a router can tell apart.
    rng = np.random.default_rng(4)
    pixels = (
        rng.normal(size=(sum(tiles), 3, side, side)) * np.geomspace(0.01, 3, sum(tiles))[:, None, None, None]
    )
    pixels = (pixels + np.linspace(-1, 1, side)).astype(np.float32)
    ours = encode_tiles(engine, pixels, tiles, flash=read_checkpoint_config(checkpoint).flash)
    start = 0
    for features, count in zip(ours, tiles, strict=True):
        with torch.no_grad():
            expected = reference.features(torch.from_numpy(pixels[start : start + count]))
        assert features.tokens_per_tile == tuple(len(rows) for rows in expected)
        np.testing.assert_allclose(features.rows, torch.cat(expected).numpy(), atol=2e-3, rtol=1e-3)
        start += count
    assert ours[0].compressed_tiles == 0, "one tile alone is never compressed"
    assert [features.compressed_tiles for features in ours[1:]] == [2, 1]
