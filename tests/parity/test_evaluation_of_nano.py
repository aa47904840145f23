"""The evaluation of internvl-nano: routes and rows are the runtime's own, figures do not hang on the processes."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from internvl_engines.contract.artifact import onnxruntime_key
from internvl_engines.contract.checkpoint import (
    CheckpointConfig,
    FlashConfig,
    checkpoint_digest,
    read_checkpoint_config,
)
from internvl_engines.nano.answering import Answerer
from internvl_engines.nano.evaluate import EvaluationFailed, evaluate
from internvl_engines.nano.pictures import compose, draw
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import find_artifact
from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision
from internvl_runtimes.engines.tile_features import encode_tiles
from internvl_runtimes.preprocess.tiling import tile

SHIPPED = Path(__file__).parents[2] / "engines/internvl_engines/models/internvl-nano"


def test_rows_and_routes_are_those_that_the_vision_encoder_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = FlashConfig(relative_threshold=0.4, absolute_threshold=0.0)

    def routing(folder: Path) -> CheckpointConfig:
        return read_checkpoint_config(folder).model_copy(update={"flash": flash})

    monkeypatch.setattr("internvl_engines.nano.answering.read_checkpoint_config", routing)
    pictures = [draw(compose(random.Random(4), grid=grid)) for grid in ((3, 2), (1, 1), (2, 1))]
    seen = Answerer(SHIPPED).see(pictures)
    key = onnxruntime_key("vision", weights=checkpoint_digest(SHIPPED))
    engine = OnnxRuntimeVision(find_artifact(key, stores_for(SHIPPED)), threads=1)
    limits = {"tile_size": 112, "min_tiles": 1, "max_tiles": 12, "use_thumbnail": True}
    tiled = [tile(picture, **limits).pixels for picture in pictures]
    [features] = encode_tiles(engine, np.concatenate(tiled), [sum(map(len, tiled))], flash=flash)
    ours = [
        compressed if chosen else kept
        for chosen, kept, compressed in zip(seen.routes, seen.kept, seen.compressed, strict=True)
    ]
    assert tuple(map(len, ours)) == features.tokens_per_tile and 4 in features.tokens_per_tile
    np.testing.assert_allclose(np.concatenate(ours), features.rows, atol=1e-4)
    assert seen.tokens(seen.routes) == len(features.rows)
    assert [cut.tiles for cut in seen.cuts] == [len(pixels) for pixels in tiled]


@pytest.mark.timeout(240)
def test_one_process_and_two_measure_the_same(tmp_path: Path) -> None:
    raw = []
    for processes in (1, 2):
        file = tmp_path / f"{processes}.json"
        evaluate(SHIPPED, file, questions_per_task=3, seed=7, processes=processes)
        raw.append(json.loads(file.read_text())["raw"])
    assert raw[0]["groups"]["overall"]["asked"] == 27
    assert raw[0]["groups"]["text only"]["right"]["kept"] >= 2
    assert raw[0]["checkpoint"] == checkpoint_digest(SHIPPED)
    for figures in ("groups", "tiles", "loss", "wrong"):
        assert raw[0][figures] == raw[1][figures]


@pytest.mark.timeout(120)
def test_a_worker_that_ends_early_ends_the_evaluation(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match="0 of 10 blocks"):
        evaluate(tmp_path, tmp_path / "out.json", questions_per_task=1, seed=0, processes=1)
    assert not (tmp_path / "out.json").exists()
