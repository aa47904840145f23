"""Pixel shuffle and the two projectors: from ViT patches to rows of the language model's width.

Source of the arithmetic: OpenGVLab/InternVL, ``modeling_internvl_chat.py`` (``ps_version`` v2).
"""

from __future__ import annotations

import math

from torch import Tensor, nn


def pixel_shuffle(patches: Tensor, factor: int) -> Tensor:
    """Fold factor x factor neighbouring patches into one row: [N, P, D] -> [N, P / factor^2, D * factor^2].

    Within a row the order is (row of the patch, column of the patch, D), as version v2 of the family has it.
    """
    tiles, count, size = patches.shape
    side = math.isqrt(count)
    small = side // factor
    grid = patches.reshape(tiles, small, factor, small, factor, size)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(tiles, small * small, factor * factor * size)


def keep_projector(vision_size: int, language_size: int, factor: int) -> nn.Sequential:
    """``mlp1``: weights at 0, 1 and 3."""
    wide = vision_size * factor**2
    return nn.Sequential(
        nn.LayerNorm(wide),
        nn.Linear(wide, language_size),
        nn.GELU(),
        nn.Linear(language_size, language_size),
    )


def compress_projector(vision_size: int, language_size: int, factor: int) -> nn.Sequential:
    """``mlp2``: its dropouts take an index each, so the weights lie at 0, 1, 4 and 7."""
    wide = vision_size * factor**4
    return nn.Sequential(
        nn.LayerNorm(wide),
        nn.Linear(wide, 2 * language_size),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(2 * language_size, 2 * language_size),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(2 * language_size, language_size),
    )
