"""The vision encoder: batches, limits, cancellation."""

import asyncio
import gc
import io
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from PIL import Image

from internvl_runtimes.contract import metrics
from internvl_runtimes.deployments.vision_encoder import (
    HELD_BATCHES,
    WAITING_BATCHES,
    LoadedVision,
    VisionEncoder,
)
from internvl_runtimes.engines.base import EngineFailed
from internvl_runtimes.protocol.handover import (
    EncodeRequest,
    FeaturesInvalid,
    Overloaded,
    PictureUnreadable,
)
from tests.unit.internvl_runtimes.deployments.fakes import (
    HIDDEN,
    KEPT,
    REVISION,
    TILE,
    FakeVision,
    Recorded,
    checkpoint_config,
    png,
    vision_config,
)


class Gate:
    """Holds the engine's thread until it is opened."""

    def __init__(self, engine: FakeVision) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        engine.before = self._wait

    def _wait(self) -> None:
        self.reached.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()


class Setting:
    def __init__(self) -> None:
        self.engine, self.recorded = FakeVision(), Recorded()
        self.encoder = VisionEncoder(self.recorded, load=self._load)

    def _load(self, config: Any) -> LoadedVision:
        return LoadedVision(self.engine, checkpoint_config(), REVISION)


@pytest.fixture
async def setting() -> Setting:
    made = Setting()
    await made.encoder.reconfigure(vision_config(max_batch_tiles=4))
    return made


def request(*images: bytes, **more: Any) -> EncodeRequest:
    return EncodeRequest("r", images or (png(),), **more)


async def until(true: Any) -> None:
    while not true():
        await asyncio.sleep(0)


async def test_features_carry_layout_revision_and_a_digest_that_checks(setting: Setting) -> None:
    made = await setting.encoder.encode(request(png(size=(2 * TILE, TILE)), png("blue")))
    made.check(hidden_size=HIDDEN, revision=REVISION, image_count=2)
    assert [(i.columns, i.rows, i.tokens_per_tile) for i in made.images] == [
        (2, 1, (KEPT,) * 3),
        (1, 1, (KEPT,)),
    ]
    assert set(made.seconds) == {"queue", "decode", "encode"}
    assert setting.recorded.total(metrics.TILES, rate="keep") == 4


async def test_a_lone_request_is_encoded_at_once(setting: Setting) -> None:
    await setting.encoder.encode(request())
    assert setting.engine.batches == [1]


async def test_what_waits_while_the_engine_works_is_one_batch_up_to_the_limit(setting: Setting) -> None:
    gate = Gate(setting.engine)
    first = asyncio.ensure_future(setting.encoder.encode(request()))
    await until(gate.reached.is_set)
    rest = [asyncio.ensure_future(setting.encoder.encode(request(png(c)))) for c in ["red", "blue"] * 3]
    await until(lambda: setting.encoder._running.queue.waiting_tiles == 6)  # type: ignore[union-attr]
    gate.open()
    results = await asyncio.gather(first, *rest)
    assert setting.engine.batches == [1, 4, 2]
    red, blue = results[1].rows, results[2].rows
    assert not np.allclose(red, blue)
    assert all(np.array_equal(results[i].rows, (red, blue)[(i - 1) % 2]) for i in range(1, 7))


async def test_a_request_of_many_tiles_is_run_in_pieces(setting: Setting) -> None:
    made = await setting.encoder.encode(request(png(size=(3 * TILE, 2 * TILE))))
    assert setting.engine.batches == [4, 3]
    batches = [value for name, value, _ in setting.recorded.values if name == metrics.BATCH_TILES.name]
    assert batches == [4, 3]
    assert made.rows.shape == (7 * KEPT, HIDDEN)


async def test_a_cancelled_request_is_never_encoded(setting: Setting) -> None:
    gate = Gate(setting.engine)
    first = asyncio.ensure_future(setting.encoder.encode(request()))
    await until(gate.reached.is_set)
    dropped = asyncio.ensure_future(setting.encoder.encode(request()))
    await until(lambda: setting.encoder._running.queue.waiting_tiles == 1)  # type: ignore[union-attr]
    queue = setting.encoder._running.queue  # type: ignore[union-attr]
    pixels = weakref.ref(queue._jobs[0].pixels)
    dropped.cancel()
    await asyncio.wait([dropped])
    del dropped
    gc.collect()
    assert pixels() is None, "a request that was dropped keeps its pixels"
    gate.open()
    await first
    await setting.encoder.encode(request())
    assert setting.engine.batches == [1, 1]
    assert setting.encoder._room.held_tiles == 0


async def test_a_full_encoder_lets_wait_then_refuses_and_decodes_neither(setting: Setting) -> None:
    gate = Gate(setting.engine)
    limit = 4 * (HELD_BATCHES + WAITING_BATCHES)
    asked = [asyncio.ensure_future(setting.encoder.encode(request())) for _ in range(limit)]
    await until(gate.reached.is_set)
    room = setting.encoder._room
    assert (room.held_tiles, room.waiting_tiles) == (4 * HELD_BATCHES, 4 * WAITING_BATCHES)
    with pytest.raises(Overloaded):
        await setting.encoder.encode(request())
    name, depth, tags = setting.recorded.values[-1]
    assert (name, tags) == (metrics.QUEUE_DEPTH.name, {"stage": "vision"})
    assert 4 * WAITING_BATCHES <= depth < limit
    gate.open()
    await asyncio.gather(*asked)
    await setting.encoder.encode(request())


async def test_a_picture_that_ends_too_early_is_named_by_its_number(setting: Setting) -> None:
    noisy = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    whole = _encoded(Image.fromarray(noisy))
    with pytest.raises(PictureUnreadable) as caught:
        await setting.encoder.encode(request(png(), whole[: len(whole) // 2]))
    assert caught.value.index == 1
    assert setting.encoder._room.held_tiles == 0


async def test_an_engine_that_fails_fails_the_batch_and_not_the_encoder(setting: Setting) -> None:
    def fail() -> None:
        setting.engine.before = lambda: None
        raise RuntimeError("out of memory")

    setting.engine.before = fail
    with pytest.raises(EngineFailed, match="out of memory"):
        await setting.encoder.encode(request())
    setting.encoder.check_health()
    await setting.encoder.encode(request())


async def test_another_revision_is_refused(setting: Setting) -> None:
    with pytest.raises(FeaturesInvalid):
        await setting.encoder.encode(request(revision="sha256:other"))


async def test_changed_limits_keep_the_engine(setting: Setting) -> None:
    before = setting.encoder._running
    await setting.encoder.reconfigure(
        vision_config(generation="v2", max_batch_tiles=2, max_tiles_per_image=1)
    )
    assert setting.encoder._running is before
    made = await setting.encoder.encode(request(png(size=(2 * TILE, TILE))))
    assert (made.generation, len(made.images[0].tokens_per_tile)) == ("v2", 1)


def _encoded(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


async def test_a_replica_with_more_than_a_batch_tells_what_it_managed(setting: Setting) -> None:
    gate = Gate(setting.engine)
    asked = [asyncio.ensure_future(setting.encoder.encode(request(png(c)))) for c in ["red", "blue"] * 3]
    await until(gate.reached.is_set)
    assert setting.recorded.total(metrics.TILES_ARRIVED) == 6
    assert setting.recorded.total(metrics.TILES_BEGUN) < 6
    gate.open()
    await asyncio.gather(*asked)
    total = setting.recorded.total
    assert total(metrics.WORK, stage="vision") == total(metrics.TILES_BEGUN) == 6
    assert 0 < total(metrics.SATURATED_WORK, stage="vision") < 6, "the last four are no more than a batch"
    assert total(metrics.SATURATED_SECONDS, stage="vision") > 0
    assert total(metrics.QUEUE_SECONDS, stage="vision") > 0


async def test_one_request_leaves_a_replica_unsaturated(setting: Setting) -> None:
    await setting.encoder.encode(request(png(size=(12 * TILE, TILE))))
    assert setting.recorded.total(metrics.WORK, stage="vision") == 13
    assert setting.recorded.total(metrics.SATURATED_SECONDS) == 0
