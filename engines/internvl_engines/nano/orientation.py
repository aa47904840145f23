"""Where the language model is taught to know its way about: what each visual row must be told from the rows before it.

Heads that are thrown away afterwards tell from the rows, as they are after some of the layers:
- of several pictures, which one a row is of. Tried without: after 800 steps of ``speak`` comparing stood at chance
  (40 % right); with it, it left chance after 200 steps and stood at 87 % after 275.
- where in its tile a row lies. Without it this could be told of one row in eight after 600 steps.
- which character of its text lies on each of its four patches. Without it, of 14 % of the characters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from internvl_engines.nano.comparing import ORDINALS
from internvl_engines.nano.dataset import KEEP_ROWS, Batch, by_row
from internvl_engines.nano.prints import LONGEST

_PICTURE_LAYER, _PLACE_LAYER, _TEXT_LAYER = 2, 2, 3
"""After so many layers of the language model."""
_PLACE, _TEXT = 0.5, 0.5
"""Weights beside the term of several pictures."""
_BARE = 0.1
"""Weight of a patch without a character: most are."""


class Orientation(nn.Module):
    """The heads, and their loss."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.picture = nn.Linear(hidden_size, len(ORDINALS))
        self.place = nn.Linear(hidden_size, KEEP_ROWS)
        self.character = nn.Linear(hidden_size, 4 * (1 + LONGEST))

    def forward(self, batch: Batch, rows: Sequence[Tensor]) -> Tensor:
        """Cross-entropies of the heads, weighted.

        Args:
            batch: with at least one picture, every tile kept.
            rows: the visual rows [rows, H] as the language model gets them, and after each of its layers.
        """
        told = _told(self.place, rows[_PLACE_LAYER])
        loss = _PLACE * functional.cross_entropy(told, torch.arange(len(told)) % KEEP_ROWS)
        told = _told(self.character, rows[_TEXT_LAYER]).reshape(-1, 1 + LONGEST)
        weights = torch.ones(1 + LONGEST)
        weights[0] = _BARE
        loss = loss + _TEXT * functional.cross_entropy(
            told, by_row(batch.character_places(), ~batch.compress), weights
        )
        if batch.several():
            loss = loss + functional.cross_entropy(_told(self.picture, rows[_PICTURE_LAYER]), batch.numbers())
        return loss


def _told(head: nn.Linear, rows: Tensor) -> Tensor:
    return head(functional.rms_norm(rows, rows.shape[-1:])).float()  # type: ignore[no-any-return]
