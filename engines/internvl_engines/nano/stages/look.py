"""Look: the language model learns to look things up, by colour and by kind, before it is asked anything else.

Tried without: where nine tasks are asked from the beginning, one question in ten looks something up by its kind, and
after 1,000 steps of ``speak`` and 375 of ``both`` it still guessed among the picture's colours (55 % right).
"""

from __future__ import annotations

from collections.abc import Sequence

from internvl_engines.nano.dataset import Drawer, Sample
from internvl_engines.nano.stages.speak import Speak


class Look(Speak):
    """The loss of ``speak``, over the two simplest tasks alone."""

    def samples(self, drawer: Drawer) -> Sequence[list[Sample]]:
        """Pictures of one tile, asked for a colour or a shape, and conversations without a picture."""
        return drawer.single(32, turns=3, tasks=("colour", "shape")), drawer.texts(3)
