"""See: the vision side alone learns to name and to mark what lies where.

Of nearly half of the shapes it is told one property alone (``composing.compose_partly_named``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from internvl_engines.nano.dataset import Drawer, Sample, rates_by_picture, unasked
from internvl_engines.nano.pictures import Subject
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages.lesson import Lesson, move

_COMPRESSED = 0.15


class See(Lesson):
    """loss = alignment + marking + placing (``trainee``); the embeddings of the words that rows name move along."""

    def samples(self, drawer: Drawer) -> Sequence[list[Sample]]:
        """Pictures of one tile, and tiles of larger ones; nearly half of them print, the finest thing to see."""
        subject: Subject = drawer.rng.choice(("shapes", "print"))
        shapes = drawer.single(8, turns=1, subject="shapes") + drawer.partly_named(10)
        one_tile = shapes + drawer.single(14, turns=1, subject="print")
        return one_tile, drawer.several(14, turns=1, subject=subject)

    def moving(self) -> Iterable[nn.Parameter]:
        """The vision side but the router, what reads it, and the words' embeddings."""
        model = self._model
        yield from model.vision.parameters_but_router()
        yield from model.marker.parameters()
        yield from model.placer.parameters()
        yield model.word_bias
        yield model.language.get_parameter("model.embed_tokens.weight")

    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """One step over ``samples``, some of the pictures compressed."""
        for samples in self.samples(drawer):
            batch = unasked(samples, rates_by_picture(samples, drawer.rng, _COMPRESSED))
            patches = self._model.patches(batch)
            sight = self._model.sight(batch, patches, self._model.rows(patches, batch.compress))
            progress.add_sight(sight)
            move(sight.loss / 2)
