"""The language side: a stock causal language model of transformers, built from ``llm_config``."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from internvl_engines.contract.checkpoint import LanguageConfig, read_checkpoint_config
from internvl_engines.reference.weights import load_into, read_weights

PREFIX = "language_model."


def new_language(config: LanguageConfig) -> Qwen3ForCausalLM:
    """A language model of this shape with random weights."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            head_dim=config.head_dim,
            intermediate_size=config.intermediate_size,
            vocab_size=config.vocab_size,
            max_position_embeddings=config.max_position,
            hidden_act=config.hidden_act,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=config.tie_word_embeddings,
            attention_bias=config.attention_bias,
        )
    )


def load_language(checkpoint: Path) -> Qwen3ForCausalLM:
    """The language side of a checkpoint in fp32, ready for inference. The vision weights are never read."""
    config = read_checkpoint_config(checkpoint).language
    model = new_language(config)
    weights = read_weights(checkpoint, lambda name: name.startswith(PREFIX))
    stripped = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    if config.tie_word_embeddings and "model.embed_tokens.weight" in stripped:
        stripped["lm_head.weight"] = stripped["model.embed_tokens.weight"]
    load_into(model, stripped, checkpoint)
    return model


def end_token_ids(checkpoint: Path) -> list[int]:
    """Tokens that end an answer, from generation_config.json."""
    raw = json.loads((checkpoint / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    return raw if isinstance(raw, list) else [raw]


def parameters(module: nn.Module) -> int:
    """Number of trainable and fixed values of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
