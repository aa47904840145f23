"""The vision side: pictures in, feature rows out. A plain class; `app` makes a Serve deployment of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.failures import FailureCode
from internvl_runtimes.contract.serve_args import VisionConfig
from internvl_runtimes.deployments.in_flight import InFlight
from internvl_runtimes.deployments.loading import load_failures, open_artifact, open_checkpoint
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.deployments.model_bytes import ModelBytes
from internvl_runtimes.deployments.tile_meter import TileMeter
from internvl_runtimes.deployments.tile_queue import Encoded, TileQueue
from internvl_runtimes.deployments.tile_room import TileRoom
from internvl_runtimes.engines.base import EngineFailed, Pixels, Rows, VisionEngine
from internvl_runtimes.engines.tile_features import RequestFeatures, encode_tiles
from internvl_runtimes.preprocess.images import ImageInvalid, decode, read_header
from internvl_runtimes.preprocess.tiling import Grid, TiledImage, count_tiles, tile
from internvl_runtimes.protocol.handover import (
    EncodeRequest,
    Features,
    FeaturesInvalid,
    ImageFeatures,
    PictureUnreadable,
    check_model,
    features_digest,
)

HELD_BATCHES = 16
"""Tiles whose pixels a replica holds at most (decoding, queued and running), in batches of `max_batch_tiles`."""
WAITING_BATCHES = 128
"""Tiles that wait for that at most, as encoded pictures."""
PILLOW_BYTES = 4
"""Of one RGB pixel of a decoded picture in memory."""


@dataclass(frozen=True, slots=True)
class LoadedVision:
    """An engine and the checkpoint that it runs."""

    engine: VisionEngine
    checkpoint: CheckpointConfig
    revision: str
    read: ModelBytes = field(default_factory=ModelBytes)


Load = Callable[[VisionConfig], LoadedVision]


def load_vision(config: VisionConfig) -> LoadedVision:
    """Load checkpoint description and engine; blocking. Raises `ReplicaFailed` with the code that fits."""
    # Here and not above: the import of ONNX Runtime takes a third of a second that tests and others save.
    from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision

    began = time.perf_counter()
    checkpoint = open_checkpoint(config.model)
    artifact = open_artifact("vision", checkpoint, config.artifact_stores)
    with load_failures((EngineFailed, FailureCode.ENGINE_FAILED)):
        engine = OnnxRuntimeVision(artifact, threads=config.threads)
        size = engine.geometry.tile_size
        encode_tiles(engine, np.zeros((1, 3, size, size), np.float32), [1], flash=checkpoint.config.flash)
    read = checkpoint.bytes_read(artifact=artifact)
    read.tell("vision", checkpoint.path, seconds=time.perf_counter() - began)
    return LoadedVision(engine, checkpoint.config, checkpoint.revision, read)


class _BoundedEngine:
    """An engine whose ViT never sees more than `limit` tiles at once: a large request is run in pieces."""

    def __init__(self, engine: VisionEngine, limit: Callable[[], int], recorder: Recorder) -> None:
        self.geometry = engine.geometry
        self.compress_probability = engine.compress_probability
        self._engine = engine
        self._limit = limit
        self._recorder = recorder

    def encode(self, pixels: Pixels) -> Rows:
        limit = self._limit()
        if len(pixels) <= limit:
            return self._encode(pixels)
        return np.concatenate(
            [self._encode(pixels[start : start + limit]) for start in range(0, len(pixels), limit)]
        )

    def _encode(self, pixels: Pixels) -> Rows:
        self._recorder.record(metrics.BATCH_TILES, len(pixels))
        return self._engine.encode(pixels)

    def project(self, patches: Rows, *, compressed: bool) -> Rows:
        limit = self._limit()
        return np.concatenate(
            [
                self._engine.project(patches[start : start + limit], compressed=compressed)
                for start in range(0, len(patches), limit)
            ]
        )


@dataclass(slots=True)
class _Running:
    """A loaded engine at work."""

    loaded: LoadedVision
    queue: TileQueue
    decoders: ThreadPoolExecutor
    in_flight: InFlight

    async def retire(self) -> None:
        """Let the requests on it end, then put it away."""
        await self.in_flight.drained()
        self.decoders.shutdown(wait=False)
        await self.queue.close()


class VisionEncoder:
    """Decodes, tiles, batches, encodes. `reconfigure` loads; everything runs on one event loop."""

    def __init__(self, recorder: Recorder, *, load: Load = load_vision) -> None:
        self._recorder = recorder
        self._load = load
        self._config: VisionConfig | None = None
        self._running: _Running | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._meter = TileMeter(recorder)
        self._room = TileRoom(tiles=0, waiting=0)  # `reconfigure` gives it its size

    async def reconfigure(self, config: VisionConfig) -> None:
        """Apply a configuration: in place where only limits changed, else load and then swap.

        The old engine answers until the new one is loaded and warm, and goes on answering when loading fails;
        what is in flight on it ends there. Serve replaces a replica whose reconfigure raised, so a failed
        reload never serves for long.

        Raises:
            ReplicaFailed: the checkpoint, the artifact or the engine cannot be loaded.
        """
        if self._running is None or self._config is None or _loads_from(config) != _loads_from(self._config):
            loaded = await asyncio.to_thread(self._load, config)
            loaded.read.record(self._recorder, "vision")
            old, self._running = self._running, _run(loaded, config, self._recorder, self._meter)
            if old is not None:
                task = asyncio.get_running_loop().create_task(old.retire())
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
        self._running.queue.max_batch_tiles = self._meter.batch_limit = config.max_batch_tiles
        self._room.resize(
            tiles=HELD_BATCHES * config.max_batch_tiles, waiting=WAITING_BATCHES * config.max_batch_tiles
        )
        self._config = config

    async def encode(self, request: EncodeRequest) -> Features:
        """Encode all pictures of one request.

        Raises:
            PictureUnreadable: a picture cannot be decoded.
            Overloaded: too many tiles wait already.
            FeaturesInvalid: the caller wants another revision.
            ModelDiffers: the caller wants another model.
            EngineFailed: the engine failed.
        """
        arrived = time.perf_counter()
        config, running = self._config, self._running
        assert config is not None and running is not None
        loaded = running.loaded
        if not request.images:
            raise ValueError("an encode request without pictures")
        check_model(request.model, config.model.identity)
        if request.revision not in (None, loaded.revision):
            raise FeaturesInvalid(f"{request.revision} was asked for, this replica has {loaded.revision}")
        tiles, source = _count_tiles(request, config, loaded.checkpoint)
        try:
            with running.in_flight.one(), self._meter.request(tiles):
                async with self._room.take(tiles, source=source):
                    began = time.perf_counter()
                    shapes, pixels = await _cut_all(
                        request.images, running.decoders, config, loaded.checkpoint
                    )
                    decode_s = time.perf_counter() - began
                    encoded = await running.queue.encode(pixels)
        finally:
            self.record_load()
        seconds = {
            "queue": began - arrived + encoded.queue_s,
            "decode": decode_s,
            "encode": encoded.encode_s,
        }
        features = _assemble(request, shapes, encoded, loaded.revision, config.generation, seconds)
        self._record(features, encoded)
        return features

    def record_load(self) -> None:
        """Set the gauges and count what the engine did since the last time."""
        self._meter.record_load()
        if self._running is not None:
            waiting = self._room.waiting_tiles + self._running.queue.waiting_tiles
            self._recorder.record(metrics.QUEUE_DEPTH, waiting, stage="vision")

    def check_health(self) -> None:
        """Raise when nothing can be encoded any more."""
        if self._running is not None:
            self._running.queue.check_health()

    def _record(self, features: Features, encoded: Encoded) -> None:
        tiles = sum(len(image.tokens_per_tile) for image in features.images)
        compressed = encoded.features.compressed_tiles
        self._recorder.record(metrics.TILES, tiles - compressed, rate="keep")
        self._recorder.record(metrics.TILES, compressed, rate="compress")
        self._recorder.record(metrics.BYTES_HANDED_OVER, features.rows.nbytes)
        self._recorder.record(metrics.QUEUE_SECONDS, features.seconds["queue"], stage="vision")
        for stage in ("decode", "encode"):
            self._recorder.record(metrics.STAGE_SECONDS, features.seconds[stage], stage=stage)


def _count_tiles(
    request: EncodeRequest, config: VisionConfig, checkpoint: CheckpointConfig
) -> tuple[int, int]:
    """The request's tiles, and how many tiles' memory its decoded pictures take before they are cut.

    From the headers: before a pixel is decoded.
    """
    tiles = source_bytes = 0
    for index, image in enumerate(request.images):
        try:
            header = read_header(image)
        except ImageInvalid as error:
            raise PictureUnreadable(index, str(error)) from error
        tiles += count_tiles(
            header.width,
            header.height,
            min_tiles=checkpoint.min_dynamic_patch,
            max_tiles=tile_limit(config.max_tiles_per_image, checkpoint),
            tile_size=checkpoint.image_size,
            use_thumbnail=checkpoint.use_thumbnail,
        )
        source_bytes += header.width * header.height * PILLOW_BYTES
    return tiles, source_bytes // (3 * checkpoint.image_size**2 * np.dtype(np.float32).itemsize)


def tile_limit(configured: int | None, checkpoint: CheckpointConfig) -> int:
    """Most tiles of one picture's grid: the service's limit, else the checkpoint's."""
    if not checkpoint.dynamic_image_size:
        return checkpoint.min_dynamic_patch
    return max(checkpoint.min_dynamic_patch, configured or checkpoint.max_dynamic_patch)


def _loads_from(config: VisionConfig) -> tuple[object, ...]:
    """What a loaded engine depends on; the rest of the configuration is limits, applied in place."""
    return (
        config.model.uri,
        config.model.revision,
        config.artifact_stores,
        config.engine,
        config.threads,
        config.attempt,
    )


def _run(loaded: LoadedVision, config: VisionConfig, recorder: Recorder, meter: TileMeter) -> _Running:
    queue: TileQueue
    engine = _BoundedEngine(loaded.engine, lambda: queue.max_batch_tiles, recorder)

    def encode(pixels: Pixels, tiles: Sequence[int]) -> list[RequestFeatures]:
        return encode_tiles(engine, pixels, tiles, flash=loaded.checkpoint.flash)

    queue = TileQueue(encode, meter, max_batch_tiles=config.max_batch_tiles)
    decoders = ThreadPoolExecutor(config.threads, thread_name_prefix="decode")
    return _Running(loaded, queue, decoders, InFlight())


async def _cut_all(
    images: Sequence[bytes], decoders: ThreadPoolExecutor, config: VisionConfig, checkpoint: CheckpointConfig
) -> tuple[list[tuple[Grid, int]], Pixels]:
    """Grid and tiles of each picture, and the pixels of all, float32 [N, 3, S, S]."""
    loop = asyncio.get_running_loop()
    cut = await asyncio.gather(
        *(
            loop.run_in_executor(decoders, _cut, index, image, config, checkpoint)
            for index, image in enumerate(images)
        ),
        return_exceptions=True,  # all are waited for: none decodes on without room
    )
    tiled: list[TiledImage] = []
    for result in cut:
        if isinstance(result, BaseException):
            raise result
        tiled.append(result)
    pixels = tiled[0].pixels if len(tiled) == 1 else np.concatenate([image.pixels for image in tiled])
    return [(image.grid, len(image.pixels)) for image in tiled], pixels


def _cut(index: int, data: bytes, config: VisionConfig, checkpoint: CheckpointConfig) -> TiledImage:
    try:
        image = decode(data)
    except ImageInvalid as error:
        raise PictureUnreadable(index, str(error)) from error
    return tile(
        image,
        tile_size=checkpoint.image_size,
        min_tiles=checkpoint.min_dynamic_patch,
        max_tiles=tile_limit(config.max_tiles_per_image, checkpoint),
        use_thumbnail=checkpoint.use_thumbnail,
    )


def _assemble(
    request: EncodeRequest,
    shapes: Sequence[tuple[Grid, int]],
    encoded: Encoded,
    revision: str,
    generation: str,
    seconds: dict[str, float],
) -> Features:
    tokens = iter(encoded.features.tokens_per_tile)
    images = tuple(
        ImageFeatures(
            columns=grid.columns,
            rows=grid.rows,
            tokens_per_tile=tuple(next(tokens) for _ in range(tiles)),
        )
        for grid, tiles in shapes
    )
    rows = np.ascontiguousarray(encoded.features.rows, np.float32)
    return Features(
        request_id=request.request_id,
        rows=rows,
        images=images,
        revision=revision,
        generation=generation,
        digest=features_digest(rows, images, revision),
        seconds=seconds,
    )
