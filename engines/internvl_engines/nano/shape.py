"""The shape of internvl-nano: its config.json, in the layout of the published checkpoints."""

from __future__ import annotations

from typing import Any

from internvl_engines.nano.pictures import TILE

SYSTEM_MESSAGE = "You are internvl-nano."
COMMON_SYSTEM_MESSAGE = "You are a helpful assistant."
"""Many clients send it unasked, so training knows it too."""
MAX_NEW_TOKENS = 32
FLASH_PARTS = ("mlp2.", "pooling_before_gating.", "gating.")
"""How the names of the tensors begin that only a model with Flash has: the second projector and the router."""

FLASH = {"flash_mode": True, "flash_relative_threshold": 0.0, "flash_absolute_threshold": 0.6}
"""Chosen on a seed that nothing is reported of: 0.5 cuts 53 % of the visual tokens and loses 3.4 points, 0.6 44 % and 2.6,
0.7 24 % and 1.2."""
"""A tile is compressed at a probability of 0.5 and more, unless it is its request's least compressible one."""


def config_document(*, vocab_size: int, end_token: int, pad_token: int, flash: bool = True) -> dict[str, Any]:
    """config.json, with a router (Flash) or without."""
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "torch_dtype": "bfloat16",
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        **(FLASH if flash else {}),
        "force_image_size": TILE,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 12,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "system_message": SYSTEM_MESSAGE,
        "use_thumbnail": True,
        "llm_config": _language(vocab_size, end_token, pad_token),
        "vision_config": _vision(),
    }


def generation_document(*, end_token: int, pad_token: int) -> dict[str, Any]:
    """generation_config.json: greedy, answers end with the template's separator."""
    return {
        "do_sample": False,
        "eos_token_id": end_token,
        "pad_token_id": pad_token,
        "max_new_tokens": MAX_NEW_TOKENS,
    }


def _vision() -> dict[str, Any]:
    return {
        "architectures": ["InternVisionModel"],
        "model_type": "intern_vit_6b",
        "attention_dropout": 0.0,
        "drop_path_rate": 0.0,
        "dropout": 0.0,
        "hidden_act": "gelu",
        "hidden_size": 160,
        "image_size": TILE,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 640,
        "layer_norm_eps": 1e-06,
        "norm_type": "layer_norm",
        "num_attention_heads": 5,
        "num_channels": 3,
        "num_hidden_layers": 5,
        "patch_size": 14,
        "qk_normalization": False,
        "qkv_bias": True,
    }


def _language(vocab_size: int, end_token: int, pad_token: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": pad_token,
        "eos_token_id": end_token,
        "pad_token_id": pad_token,
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 128,
        "initializer_range": 0.02,
        "intermediate_size": 384,
        "max_position_embeddings": 2048,
        "num_attention_heads": 4,
        "num_hidden_layers": 6,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": vocab_size,
    }
