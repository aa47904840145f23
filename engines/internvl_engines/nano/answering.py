"""Answers questions with the parts that serve: prompt, tiling, ONNX Runtime sessions; one request at a time.

Called by the evaluation, which asks one question several times over the same tiles, each time with other routes.
What the deployments add (batching, transport) is tested where they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from internvl_engines.contract.artifact import onnxruntime_key
from internvl_engines.contract.checkpoint import checkpoint_digest, read_checkpoint_config
from internvl_engines.nano.questions import Question
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import find_artifact
from internvl_runtimes.engines.base import EnginePrompt, Rows
from internvl_runtimes.engines.onnxruntime_language.decoder import OnnxRuntimeDecoder
from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision
from internvl_runtimes.engines.routing import route
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Picture, Prompter
from internvl_runtimes.preprocess.tiling import Grid, TiledImage, tile

_LONGEST_ANSWER = 24
Routes = npt.NDArray[np.bool_]
"""bool [N]: which tiles of one request are compressed."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How one picture was cut."""

    grid: Grid
    has_thumbnail: bool

    @property
    def tiles(self) -> int:
        """Tiles, the thumbnail included."""
        return self.grid.tiles + self.has_thumbnail


@dataclass(frozen=True, slots=True)
class Seen:
    """The pictures of one request after the vision side: each tile's rows at both rates, and the router's choice."""

    cuts: tuple[Cut, ...]
    kept: Rows
    """float32 [N, K, H]."""
    compressed: Rows
    """float32 [N, C, H]; [N, 0, H] for a model without Flash."""
    routes: Routes
    """By the thresholds of config.json; all false for a model without Flash."""

    @property
    def tiles(self) -> int:
        """Tiles of the request, N."""
        return len(self.kept)

    def tokens(self, routes: Routes) -> int:
        """Visual tokens of the request with these routes."""
        chosen = int(routes.sum())
        kept_tokens, compressed_tokens = int(self.kept.shape[1]), int(self.compressed.shape[1])
        return (self.tiles - chosen) * kept_tokens + chosen * compressed_tokens


class Answerer:
    """One checkpoint with its artifacts."""

    def __init__(self, checkpoint: Path, *, threads: int = 1) -> None:
        """Open the checkpoint's tokenizer and the artifacts in its own store.

        Raises:
            ArtifactMissing: it was not exported yet.
        """
        self._config = read_checkpoint_config(checkpoint)
        self._prompter = Prompter(checkpoint / "tokenizer.json", self._config)
        digest, stores = checkpoint_digest(checkpoint), stores_for(checkpoint)
        vision = find_artifact(onnxruntime_key("vision", weights=digest), stores, checkpoint=checkpoint)
        language = find_artifact(onnxruntime_key("language", weights=digest), stores, checkpoint=checkpoint)
        self._vision = OnnxRuntimeVision(vision, threads=threads)
        self._decoder = OnnxRuntimeDecoder(language, threads=threads)

    @property
    def has_router(self) -> bool:
        """Whether the checkpoint is a Flash model."""
        return self._config.flash is not None

    def see(self, pictures: Sequence[Image.Image]) -> Seen:
        """Run the tower once over all tiles of a request, then router and both projectors.

        Args:
            pictures: at least one, mode RGB.
        """
        tiled = [self._tiled(picture) for picture in pictures]
        patches = self._vision.encode(np.concatenate([image.pixels for image in tiled]))
        kept = self._vision.project(patches, compressed=False)
        compressed, routes = kept[:, :0], np.zeros(len(patches), np.bool_)
        if self._config.flash is not None:
            compressed = self._vision.project(patches, compressed=True)
            routes = route(
                self._vision.compress_probability(patches),
                relative_threshold=self._config.flash.relative_threshold,
                absolute_threshold=self._config.flash.absolute_threshold,
            )
        return Seen(tuple(Cut(image.grid, image.has_thumbnail) for image in tiled), kept, compressed, routes)

    def answer(
        self,
        question: str,
        seen: Seen | None = None,
        *,
        routes: Routes | None = None,
        history: Sequence[Question] = (),
    ) -> str:
        """The greedy answer to one question.

        Args:
            question: the last turn.
            seen: its pictures; None for a question without. They stand in the first turn, before its text.
            routes: which tiles are compressed; the router's own choice when left out.
            history: the turns before, answered as they say.
        """
        prompt = self._prompter.prompt(_messages(question, seen, history))
        rows: Rows = np.zeros((0, self._vision.geometry.hidden_size), np.float32)
        tokens: list[int] = []
        if seen is not None:
            pairs = zip(seen.routes if routes is None else routes, seen.kept, seen.compressed, strict=True)
            tiles = [compressed if chosen else kept for chosen, kept, compressed in pairs]
            borders = np.cumsum([0, *(cut.tiles for cut in seen.cuts)])
            tokens = [
                sum(len(tile_rows) for tile_rows in tiles[start:stop])
                for start, stop in itertools.pairwise(borders)
            ]
            rows = np.concatenate(tiles)
        widened = self._prompter.widen(prompt.ids, tokens)
        answer = self._greedy(EnginePrompt(widened.ids, widened.visual_positions, rows))
        text: str = self._prompter.tokenizer.decode(answer)
        return text

    def _tiled(self, picture: Image.Image) -> TiledImage:
        return tile(
            picture,
            tile_size=self._config.image_size,
            min_tiles=self._config.min_dynamic_patch,
            max_tiles=self._config.max_dynamic_patch,
            use_thumbnail=self._config.use_thumbnail,
        )

    def _greedy(self, prompt: EnginePrompt) -> list[int]:
        embeddings = np.array(self._decoder.embeddings[prompt.token_ids], np.float32)
        embeddings[prompt.visual_positions] = prompt.visual_rows
        shape = self._decoder.kv_shape
        keys: Rows = np.zeros((shape.layers, 1, shape.kv_heads, 0, shape.head_dim), np.float32)
        values, tokens = keys, list[int]()
        while len(tokens) < _LONGEST_ANSWER:
            past = keys.shape[3]
            positions = np.arange(past, past + len(embeddings))
            mask = np.arange(past + len(embeddings)) <= positions[:, None]
            step = self._decoder.run(embeddings[None], positions[None], mask[None, None], keys, values)
            keys = np.concatenate([keys, step.new_keys], axis=3)
            values = np.concatenate([values, step.new_values], axis=3)
            token = int(step.logits[0].argmax())
            if token in self._prompter.stop_token_ids:
                break
            tokens.append(token)
            embeddings = np.array(self._decoder.embeddings[[token]], np.float32)
        return tokens


def _messages(question: str, seen: Seen | None, history: Sequence[Question]) -> list[Message]:
    pictures: tuple[str | Picture, ...] = () if seen is None else (PICTURE,) * len(seen.cuts)
    texts = [turn.text for turn in history] + [question]
    messages: list[Message] = []
    for number, text in enumerate(texts):
        messages.append(Message("user", (*pictures, text) if number == 0 else (text,)))
        if number < len(history):
            messages.append(Message("assistant", (history[number].answer,)))
    return messages
