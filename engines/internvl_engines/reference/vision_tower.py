"""InternViT: the vision tower of the InternVL family (300M: LayerNorm; 6B: RMSNorm with qk-norm, no qkv bias).

Parameter names below ``vision_model.`` are those of the published checkpoints.
Source of the arithmetic: OpenGVLab/InternVL, ``modeling_intern_vit.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from internvl_engines.contract.checkpoint import VisionConfig


def _norm(config: VisionConfig, size: int) -> nn.Module:
    if config.norm_type == "rms_norm":
        return nn.RMSNorm(size, eps=config.layer_norm_eps)
    return nn.LayerNorm(size, eps=config.layer_norm_eps)


class Embeddings(nn.Module):
    """Patches by a strided convolution, a class token in front, learned positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        patches = (config.image_size // config.patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.position_embedding = nn.Parameter(torch.randn(1, patches + 1, config.hidden_size))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[N, 3, S, S] -> [N, 1 + P, D]."""
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        classes = self.class_embedding.expand(patches.shape[0], -1, -1)
        return torch.cat([classes, patches], dim=1) + self.position_embedding


class Attention(nn.Module):
    """Self-attention over a tile; the optional qk-norm runs over the whole width, before the head split."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.heads
        self.qkv = nn.Linear(size, 3 * size, bias=config.qkv_bias)
        self.proj = nn.Linear(size, size)
        self.q_norm = nn.RMSNorm(size, eps=config.layer_norm_eps) if config.qk_normalization else None
        self.k_norm = nn.RMSNorm(size, eps=config.layer_norm_eps) if config.qk_normalization else None

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, T, D] -> [N, T, D]."""
        query, key, value = self.qkv(hidden).chunk(3, dim=-1)
        if self.q_norm is not None and self.k_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        split = (*hidden.shape[:2], self.heads, hidden.shape[2] // self.heads)
        query, key, value = (part.reshape(split).transpose(1, 2) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return self.fc2(functional.gelu(self.fc1(hidden)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm block with LayerScale (``ls1``, ``ls2``)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.mlp = FeedForward(config)
        self.norm1 = _norm(config, config.hidden_size)
        self.norm2 = _norm(config, config.hidden_size)
        self.ls1 = nn.Parameter(torch.full((config.hidden_size,), 0.1))
        self.ls2 = nn.Parameter(torch.full((config.hidden_size,), 0.1))

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, T, D] -> [N, T, D]."""
        attended: Tensor = hidden + self.attn(self.norm1(hidden)) * self.ls1
        after: Tensor = attended + self.mlp(self.norm2(attended)) * self.ls2
        return after


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, T, D] -> [N, T, D]."""
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class VisionTower(nn.Module):
    """InternViT with the last layer selected (``select_layer`` -1) and no final norm, as the family has it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[N, 3, S, S] -> patches [N, P, D], the class token dropped."""
        return self.encoder(self.embeddings(pixel_values))[:, 1:]  # type: ignore[no-any-return]
