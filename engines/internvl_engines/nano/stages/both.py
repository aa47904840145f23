"""Both: instruction training of the whole model, on pictures of all sizes and several at once."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn import functional

from internvl_engines.nano.dataset import Batch, Drawer, all_kept, encode_batch, rates_by_picture, unasked
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages.lesson import Lesson, move

_SIGHT = 0.5
"""Weight of the vision side's own terms beside the answers."""
_COMPRESSED = 0.5
"""Of the pictures that are only looked at, so that the other projector follows the tower: every answer is from kept tiles."""


class Both(Lesson):
    """loss = -log p(answer tokens), mean over the tokens of a step, + 0.5 sight (``trainee``) + orientation."""

    def moving(self) -> Iterable[nn.Parameter]:
        """Everything but the router, which has no part in any loss here."""
        model = self._model
        yield model.word_bias
        yield from model.marker.parameters()
        yield from model.placer.parameters()
        yield from model.orientation.parameters()
        yield from model.vision.parameters_but_router()
        yield from model.language.parameters()

    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """One tile, several tiles, print in tiles, several pictures, no picture; and pictures that are only looked at."""
        watched = drawer.single(4, turns=1, subject="shapes") + drawer.partly_named(4)
        self._look_at(unasked(watched, rates_by_picture(watched, drawer.rng, _COMPRESSED)), progress)
        groups = (
            drawer.single(12, turns=3),
            drawer.several(24, turns=3),
            drawer.print_in_tiles(10),
            drawer.compared(6, turns=2),
            drawer.texts(2),
        )
        batches = [encode_batch(samples, all_kept(samples), drawer.tokenizer) for samples in groups]
        tokens = sum(len(batch.tokens) for batch in batches)
        for batch in batches:
            rows, sight = None, None
            if len(batch.compress):
                patches = self._model.patches(batch)
                rows = self._model.rows(patches, batch.compress)
                sight = self._model.sight(batch, patches, rows)
                progress.add_sight(sight)
            logits, orientation = self._model.logits_and_orientation(batch, rows)
            progress.add_answers(batch, logits)
            loss = functional.cross_entropy(logits, batch.tokens, reduction="sum")
            progress.add_loss("answers", loss.item() / len(batch.tokens))
            progress.add_loss("orientation", orientation.item())
            move(loss / tokens + orientation + (0 if sight is None else _SIGHT * sight.loss / 5))

    def _look_at(self, batch: Batch, progress: Progress) -> None:
        patches = self._model.patches(batch)
        sight = self._model.sight(batch, patches, self._model.rows(patches, batch.compress))
        progress.add_sight(sight)
        move(_SIGHT * sight.loss / 5)
