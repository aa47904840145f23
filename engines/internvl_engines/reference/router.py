"""The Visual Resolution Router of InternVL3.5-Flash: from the patches of a tile to the probability "compress".

Source of the arithmetic: the Flash remote code, ``modeling_internvl_chat.py``; the formula stands in
docs of the family as CrossAttentionPooling and Gating. Parameter names are the checkpoints'.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_HEADS = 16  # fixed in the published code, not in any config


def _split(values: Tensor) -> Tensor:
    tiles, tokens, size = values.shape
    return values.reshape(tiles, tokens, _HEADS, size // _HEADS).transpose(1, 2)


class PoolingAttention(nn.Module):
    """``nn.MultiheadAttention`` in arithmetic and parameter names, written out so that it exports."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """[N, 1, D], [N, P, D] -> [N, 1, D]."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        inputs = (query, tokens, tokens)
        query_heads, key_heads, value_heads = (
            _split(functional.linear(part, weight, bias))
            for part, weight, bias in zip(inputs, weights, biases, strict=True)
        )
        pooled = functional.scaled_dot_product_attention(query_heads, key_heads, value_heads)
        return self.out_proj(pooled.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class CrossAttentionPooling(nn.Module):
    """One learned query attends four times to the patches of a tile.

    Steps 2, 3 and 4 all use ``attn2`` and ``norm2``. ``attn3``, ``attn4``, ``norm3`` and ``norm4`` are in the
    checkpoints and are never called: calling them "as intended" gives other routes than the published models.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query_token = nn.Parameter(torch.randn(1, size))
        for step in range(1, 5):
            self.add_module(f"attn{step}", PoolingAttention(size))
            self.add_module(f"norm{step}", nn.LayerNorm(size))

    def forward(self, patches: Tensor) -> Tensor:
        """[N, P, D] -> [N, D]."""
        pooled = self.query_token.expand(patches.shape[0], 1, -1)
        for step in (1, 2, 2, 2):
            attention, norm = self.get_submodule(f"attn{step}"), self.get_submodule(f"norm{step}")
            pooled = norm(attention(pooled, patches))
        return pooled[:, 0]


def _block(size: int) -> nn.Sequential:
    # The dropouts take an index each: the weights lie at 0, 3 and 5.
    return nn.Sequential(
        nn.Linear(size, 4 * size),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(4 * size, size),
        nn.Dropout(0.1),
        nn.LayerNorm(size),
    )


class Gating(nn.Module):
    """Four residual blocks, a norm, two classes (compress, keep), softmax without temperature."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.block1, self.block2, self.block3, self.block4 = (_block(size) for _ in range(4))
        self.gate = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 2))

    def forward(self, pooled: Tensor) -> Tensor:
        """[N, D] -> probabilities [N, 2]; column 0 is "compress"."""
        return torch.softmax(self.logits(pooled), dim=-1)

    def logits(self, pooled: Tensor) -> Tensor:
        """[N, D] -> [N, 2], before the softmax: what training needs."""
        for block in (self.block1, self.block2, self.block3, self.block4):
            pooled = pooled + block(pooled)
        return self.gate(pooled)  # type: ignore[no-any-return]


def compressed(probabilities: Tensor, *, relative_threshold: float, absolute_threshold: float) -> Tensor:
    """Which tiles of one request are compressed: bool [N] from p0 [N].

    ``p0 > quantile(p0, relative) and p0 >= absolute``, the quantile in fp32 with linear interpolation.
    """
    p0 = probabilities.to(torch.float32)
    return (p0 > torch.quantile(p0, relative_threshold)) & (p0 >= absolute_threshold)
