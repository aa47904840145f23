"""Settle: the language model goes on with all tasks together, more often about pictures of several tiles."""

from __future__ import annotations

from collections.abc import Sequence

from internvl_engines.nano.dataset import Drawer, Sample
from internvl_engines.nano.stages.speak import Speak


class Settle(Speak):
    """The loss of ``speak``."""

    def samples(self, drawer: Drawer) -> Sequence[list[Sample]]:
        """One tile, several tiles, print in tiles, several pictures, no picture."""
        return (
            drawer.single(14, turns=3),
            drawer.several(24, turns=3),
            drawer.print_in_tiles(10),
            drawer.compared(6, turns=2),
            drawer.texts(2),
        )
