"""The decoder graph: embeddings, positions, mask and past in; logits and new keys and values out.

`Decoder` is what the engine calls; `OnnxRuntimeDecoder` runs the language artifact. Tests have one in numpy.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from internvl_engines.contract import artifact as names
from internvl_engines.store.local import Artifact
from internvl_runtimes.engines.base import EngineFailed, EnginePrompt
from internvl_runtimes.engines.onnxruntime_language.slots import Floats, KvShape, Past
from internvl_runtimes.engines.onnxruntime_session import open_session, run_session


@dataclass(frozen=True, slots=True)
class DecoderOutput:
    """What one run computed for B rows of T new tokens."""

    logits: Floats
    """float32 [B, V], of each row's last token."""
    new_keys: Floats
    """float32 [L, B, KV, T, Dh]."""
    new_values: Floats


class Decoder(Protocol):
    """A language model's layers, without memory of their own."""

    @property
    def kv_shape(self) -> KvShape:
        """Sizes of the cache."""
        ...

    @property
    def embeddings(self) -> Floats:
        """float32 [V, H]."""
        ...

    def run(
        self,
        inputs_embeds: Floats,
        position_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.bool_],
        past_keys: Floats,
        past_values: Floats,
    ) -> DecoderOutput:
        """Run T new tokens a row: embeds [B, T, H], positions [B, T], mask [B, 1, T, P + T], past [L, B, KV, P, Dh].

        Raises:
            EngineFailed: the run failed.
        """
        ...


class OnnxRuntimeDecoder:
    """`Decoder` over a language artifact. The embeddings stay on disk until a row is asked for."""

    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        """Open the artifact.

        Raises:
            EngineFailed: the graph is refused or its inputs are not those of the recipe.
        """
        self._session = open_session(artifact.file(names.DECODER), threads=threads)
        self._embeddings: Floats = np.load(artifact.file(names.EMBEDDINGS), mmap_mode="r")
        past = {value.name: value.shape for value in self._session.get_inputs()}.get("past_keys")
        if past is None or len(past) != 5 or not all(isinstance(past[axis], int) for axis in (0, 2, 4)):
            raise EngineFailed(
                f"{artifact.folder}: past_keys is {past}, not [L, B, KV, P, Dh]: export it again"
            )
        self._kv_shape = KvShape(layers=past[0], kv_heads=past[2], head_dim=past[4])

    @property
    def kv_shape(self) -> KvShape:
        """Sizes of the cache, as the graph states them."""
        return self._kv_shape

    @property
    def embeddings(self) -> Floats:
        """float32 [V, H], mapped from the file."""
        return self._embeddings

    def run(
        self,
        inputs_embeds: Floats,
        position_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.bool_],
        past_keys: Floats,
        past_values: Floats,
    ) -> DecoderOutput:
        """See `Decoder.run`. Contiguous arrays are handed to ONNX Runtime without a copy."""
        logits, new_keys, new_values = run_session(
            self._session,
            {
                "inputs_embeds": inputs_embeds,
                "position_ids": position_ids,
                "attention_mask": attention_mask,
                "past_keys": past_keys,
                "past_values": past_values,
            },
        )
        return DecoderOutput(logits, new_keys, new_values)


class PartialPrompt:
    """A prompt that is being prefilled, in one piece or several. It has memory of its own until it is whole."""

    def __init__(self, decoder: Decoder, sequence_id: int, prompt: EnginePrompt) -> None:
        self.sequence_id = sequence_id
        self._decoder = decoder
        self._embeds = np.asarray(decoder.embeddings[prompt.token_ids], np.float32)
        self._embeds[prompt.visual_positions] = prompt.visual_rows
        shape = decoder.kv_shape
        self.keys: Floats = np.zeros((shape.layers, 1, shape.kv_heads, 0, shape.head_dim), np.float32)
        self.values: Floats = self.keys

    def prefill(self, start: int, stop: int) -> Floats:
        """Compute prompt tokens [start, stop) and return the logits [V] of the last of them."""
        if start != self.keys.shape[3]:
            raise RuntimeError(f"{self.keys.shape[3]} tokens are prefilled, {start} were scheduled to be")
        positions = np.arange(start, stop)
        mask = np.arange(stop) <= positions[:, None]
        output = self._decoder.run(
            self._embeds[None, start:stop], positions[None], mask[None, None], self.keys, self.values
        )
        self.keys = np.concatenate([self.keys, output.new_keys], axis=3) if start else output.new_keys
        self.values = np.concatenate([self.values, output.new_values], axis=3) if start else output.new_values
        logits: Floats = output.logits[0]
        return logits


def decode_step(decoder: Decoder, past: Past, tokens: npt.NDArray[np.int64]) -> DecoderOutput:
    """One token a row: tokens int64 [B], any valid id in idle rows."""
    embeds = np.asarray(decoder.embeddings[tokens], np.float32)[:, None]
    return decoder.run(embeds, past.positions, past.mask, past.keys, past.values)
