"""Names and config.json of the ``-HF`` releases, which transformers loads without remote code. Pure.

Source: the conversion that transformers publishes for InternVL, and its ``InternVLConfig``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

_RENAMED = (
    ("vision_model.", "vision_tower."),
    ("class_embedding", "cls_token"),
    ("patch_embedding.", "patch_embeddings.projection."),
    ("position_embedding", "position_embeddings"),
    ("encoder.layers.", "encoder.layer."),
    (".attn.proj.", ".attention.projection_layer."),
    (".attn.", ".attention."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".ls1", ".lambda_1"),
    (".ls2", ".lambda_2"),
)
_PROJECTOR = {
    "mlp1.0.": "multi_modal_projector.layer_norm.",
    "mlp1.1.": "multi_modal_projector.linear_1.",
    "mlp1.3.": "multi_modal_projector.linear_2.",
}


def hf_name_parts(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor of the ``InternVLChatModel`` layout under its new name; the fused qkv becomes three."""
    for old, new in _PROJECTOR.items():
        if name.startswith(old):
            yield name.replace(old, new), value
            return
    if not name.startswith("vision_model."):
        yield name, value  # language_model.* is the same in both
    elif ".attn.qkv." in name:
        for letter, part in zip("qkv", value.chunk(3), strict=True):
            yield _tower_name(name.replace("attn.qkv", f"attn.{letter}_proj")), part
    else:
        yield _tower_name(name), value


def hf_config(document: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """config.json of the ``-HF`` layout.

    Args:
        document: config.json of the ``InternVLChatModel`` layout.
        checkpoint: its folder, for the id of the image token.
    """
    vision, side = (
        document["vision_config"],
        document["force_image_size"] // document["vision_config"]["patch_size"],
    )
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "torch_dtype": document["torch_dtype"],
        "downsample_ratio": document["downsample_ratio"],
        "image_seq_length": round((side * document["downsample_ratio"]) ** 2),
        "image_token_id": _token_id(checkpoint, "<IMG_CONTEXT>"),
        "projector_hidden_act": "gelu",
        "vision_feature_layer": document["select_layer"],
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": document["llm_config"]["tie_word_embeddings"],
        "text_config": document["llm_config"],
        "vision_config": {
            "architectures": ["InternVLVisionModel"],
            "model_type": "internvl_vision",
            "attention_bias": vision["qkv_bias"],
            "attention_dropout": 0.0,
            "hidden_act": vision["hidden_act"],
            "hidden_size": vision["hidden_size"],
            "image_size": [vision["image_size"]] * 2,
            "intermediate_size": vision["intermediate_size"],
            "layer_norm_eps": vision["layer_norm_eps"],
            "norm_type": vision["norm_type"],
            "num_attention_heads": vision["num_attention_heads"],
            "num_hidden_layers": vision["num_hidden_layers"],
            "patch_size": [vision["patch_size"]] * 2,
            "use_absolute_position_embeddings": True,
            "use_mean_pooling": True,
            "use_qk_norm": vision["qk_normalization"],
        },
    }


def _tower_name(name: str) -> str:
    for old, new in _RENAMED:
        name = name.replace(old, new)
    return name


def _token_id(checkpoint: Path, text: str) -> int:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    return next(int(token["id"]) for token in tokenizer["added_tokens"] if token["content"] == text)
