"""Speak: the language model alone learns to answer from visual rows that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn import functional

from internvl_engines.nano.dataset import Drawer, Sample, all_kept, encode_batch
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages.lesson import Lesson, move


class Speak(Lesson):
    """loss = -log p(answer tokens), mean over the tokens of a step, + orientation (its file). Every tile is kept."""

    def samples(self, drawer: Drawer) -> Sequence[list[Sample]]:
        """Pictures of one tile and of several, comparisons, conversations without a picture."""
        return (
            drawer.single(20, turns=3),
            drawer.several(14, turns=3),
            drawer.compared(8, turns=2),
            drawer.texts(3),
        )

    def moving(self) -> Iterable[nn.Parameter]:
        """The language model."""
        yield from self._model.orientation.parameters()
        yield from self._model.language.parameters()

    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """One step over ``samples``."""
        groups = self.samples(drawer)
        batches = [encode_batch(samples, all_kept(samples), drawer.tokenizer) for samples in groups]
        tokens = sum(len(batch.tokens) for batch in batches)
        for batch in batches:
            rows = None
            if len(batch.compress):
                with torch.no_grad():
                    rows = self._model.rows(self._model.patches(batch), batch.compress)
            logits, orientation = self._model.logits_and_orientation(batch, rows)
            progress.add_answers(batch, logits)
            loss = functional.cross_entropy(logits, batch.tokens, reduction="sum")
            progress.add_loss("answers", loss.item() / len(batch.tokens))
            progress.add_loss("orientation", orientation.item())
            move(loss / tokens + orientation)
