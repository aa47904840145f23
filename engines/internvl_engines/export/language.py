"""The language artifact: the embedding table as an array, and a decoder whose past is an input.

The caller owns the cache: it passes past keys and values in and gets the new ones only, so sequences may join
and leave a batch between two steps. Shapes stand at ``Decoder.forward``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Cache, Qwen3ForCausalLM
from transformers.cache_utils import CacheLayerMixin

from internvl_engines.contract.artifact import DECODER, EMBEDDINGS, ArtifactKey, onnxruntime_key
from internvl_engines.contract.checkpoint import LanguageConfig, checkpoint_digest, read_checkpoint_config
from internvl_engines.export.graph import export_graph, tool_versions
from internvl_engines.export.past_attention import PAST_AND_NEW
from internvl_engines.reference.language import load_language
from internvl_engines.store.local import Artifact, write_artifact
from internvl_engines.verify.parity import (
    DECODER_SHAPES,
    decoder_case,
    largest_difference,
    open_graph,
    require,
)

TOLERANCE = 1e-3
"""Largest difference of logits and of new keys and values in fp32."""


class _PastLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's cache: the past is given, ``update`` appends, the new part is kept for the output."""

    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.past_keys, self.past_values = keys, values
        self.new_keys, self.new_values = keys, values
        self.is_initialized = True

    def lazy_initialization(self, *_: Any) -> None:
        """Nothing: the past came with the constructor."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Past and new, [B, KV, P + T, Dh] each."""
        self.new_keys, self.new_values = key_states, value_states
        return (
            torch.cat([self.past_keys, key_states], dim=2),
            torch.cat([self.past_values, value_states], dim=2),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.past_keys.shape[2] + query_length, 0

    def get_seq_length(self) -> int:
        return self.past_keys.shape[2]

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        return -1


class _NewPartLayer(_PastLayer):  # type: ignore[no-untyped-call]
    """For `past_attention`, which takes the past from the layer itself."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The new part only, [B, KV, T, Dh] each."""
        self.new_keys, self.new_values = key_states, value_states
        return key_states, value_states


class Decoder(nn.Module):
    """A causal language model as a pure function of embeddings and past."""

    def __init__(self, model: Qwen3ForCausalLM, *, layer: type[_PastLayer] = _PastLayer) -> None:
        super().__init__()
        self.model = model
        self._layer = layer

    def forward(
        self,
        inputs_embeds: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step, prefill or decode.

        Args:
            inputs_embeds: float32 [B, T, H].
            position_ids: int64 [B, T].
            attention_mask: bool [B, 1, T, P + T], True where a query may look.
            past_keys: float32 [L, B, KV, P, Dh]; P may be 0.
            past_values: as past_keys.

        Returns:
            logits [B, V] of the last position; new keys and new values [L, B, KV, T, Dh].
        """
        layers = [self._layer(keys, values) for keys, values in zip(past_keys, past_values, strict=True)]
        cache = Cache(layers=list(layers))
        output = self.model(
            inputs_embeds=inputs_embeds,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            past_layers=layers,
        )
        new_keys = torch.stack([layer.new_keys for layer in layers])
        new_values = torch.stack([layer.new_values for layer in layers])
        return output.logits[:, -1], new_keys, new_values


def export_language(checkpoint: Path, store: Path) -> Artifact:
    """Export the language side of ``checkpoint`` into ``store`` after comparing it with the reference.

    Raises:
        ParityFailed: the decoder differs from torch by more than the tolerance; the store is left as it was.
    """
    config = read_checkpoint_config(checkpoint).language
    model = load_language(checkpoint)
    decoder = Decoder(model).eval()

    def fill(content: Path) -> None:
        table = model.get_parameter("model.embed_tokens.weight").detach().numpy()
        np.save(content / EMBEDDINGS, np.ascontiguousarray(table, dtype=np.float32))
        _export_decoder(model, config, content / DECODER)

    def verify(content: Path) -> dict[str, float]:
        cases = [decoder_case(*shape, **_cache_sizes(config)) for shape in DECODER_SHAPES]
        difference = largest_difference(decoder, open_graph(content / DECODER), cases)
        require(DECODER, difference, tolerance=TOLERANCE)
        return {DECODER: difference}

    return write_artifact(
        store,
        language_key(checkpoint),
        fill,
        geometry=_geometry(config),
        verify=verify,
        tools=tool_versions(),
    )


def language_key(checkpoint: Path) -> ArtifactKey:
    """Key of the language artifact of a checkpoint."""
    return onnxruntime_key("language", weights=checkpoint_digest(checkpoint))


def _export_decoder(model: Qwen3ForCausalLM, config: LanguageConfig, file: Path) -> None:
    # The graph gets the attention that copies least; it is verified against the model's own.
    own_attention = model.config._attn_implementation
    model.set_attn_implementation(PAST_AND_NEW)
    try:
        _export_graph(Decoder(model, layer=_NewPartLayer).eval(), config, file)
    finally:
        model.set_attn_implementation(own_attention)


def _export_graph(decoder: Decoder, config: LanguageConfig, file: Path) -> None:
    names = ("inputs_embeds", "position_ids", "attention_mask", "past_keys", "past_values")
    case = decoder_case(2, 3, 5, **_cache_sizes(config))
    auto = torch.export.Dim.AUTO
    export_graph(
        decoder,
        file,
        inputs=dict(zip(names, case, strict=True)),
        outputs=("logits", "new_keys", "new_values"),
        dynamic={
            "inputs_embeds": {0: auto, 1: auto},
            "position_ids": {0: auto, 1: auto},
            "attention_mask": {0: auto, 2: auto, 3: auto},
            "past_keys": {1: auto, 3: auto},
            "past_values": {1: auto, 3: auto},
        },
    )


def _cache_sizes(config: LanguageConfig) -> dict[str, int]:
    return {
        "hidden": config.hidden_size,
        "layers": config.layers,
        "kv_heads": config.kv_heads,
        "head_dim": config.head_dim,
    }


def _geometry(config: LanguageConfig) -> dict[str, int]:
    return {
        "L": config.layers,
        "KV": config.kv_heads,
        "Dh": config.head_dim,
        "H": config.hidden_size,
        "V": config.vocab_size,
        "max_position": config.max_position,
    }
