"""Spell: the language model learns to write down what is printed, character by character.

Tried without: one question in eight asks for it, and after 600 steps of ``speak`` 27 % of the prints were right; 200
steps of prints alone bring as much.
"""

from __future__ import annotations

from collections.abc import Sequence

from internvl_engines.nano.dataset import Drawer, Sample
from internvl_engines.nano.stages.speak import Speak


class Spell(Speak):
    """The loss of ``speak``, mostly over prints; the two tasks of ``look`` go on beside them."""

    def samples(self, drawer: Drawer) -> Sequence[list[Sample]]:
        """Pictures of one tile, asked for their prints, or for a colour or a shape; and no picture."""
        return (
            drawer.single(24, turns=2, subject="print", tasks=("print",)),
            drawer.single(8, turns=3, tasks=("colour", "shape")),
            drawer.texts(2),
        )
