"""Answers questions with the parts that serve: prompt, tiling, ONNX Runtime sessions; one request at a time.

Called by the evaluation. What the deployments add (batching, transport) is tested where they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from internvl_engines.contract.artifact import onnxruntime_key
from internvl_engines.contract.checkpoint import checkpoint_digest, read_checkpoint_config
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import find_artifact
from internvl_runtimes.engines.base import EnginePrompt, Rows
from internvl_runtimes.engines.onnxruntime_language.decoder import OnnxRuntimeDecoder
from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision
from internvl_runtimes.engines.tile_features import encode_tiles
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Picture, Prompter
from internvl_runtimes.preprocess.tiling import tile

_LONGEST_ANSWER = 24


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

    def tiles(self, picture: Image.Image) -> int:
        """Tiles that a picture makes, the thumbnail included."""
        return len(self._tiled(picture))

    def answer(self, question: str, picture: Image.Image | None = None) -> str:
        """The greedy answer to one question about one picture, or about none."""
        parts: tuple[str | Picture, ...] = (question,) if picture is None else (PICTURE, question)
        prompt = self._prompter.prompt([Message("user", parts)])
        rows: Rows = np.zeros((0, self._vision.geometry.hidden_size), np.float32)
        if picture is not None:
            pixels = self._tiled(picture)
            rows = encode_tiles(self._vision, pixels, [len(pixels)], flash=self._config.flash)[0].rows
        widened = self._prompter.widen(prompt.ids, [len(rows)] if picture is not None else [])
        tokens = self._greedy(EnginePrompt(widened.ids, widened.visual_positions, rows))
        text: str = self._prompter.tokenizer.decode(tokens)
        return text

    def _tiled(self, picture: Image.Image) -> Rows:
        return tile(
            picture,
            tile_size=self._config.image_size,
            min_tiles=self._config.min_dynamic_patch,
            max_tiles=self._config.max_dynamic_patch,
            use_thumbnail=self._config.use_thumbnail,
        ).pixels

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
