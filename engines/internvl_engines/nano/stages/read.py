"""Read: the vision side goes on to see, now above all characters, on pages full of print."""

from __future__ import annotations

from collections.abc import Sequence

from internvl_engines.nano.dataset import Drawer, Sample
from internvl_engines.nano.stages.see import See


class Read(See):
    """The loss of ``see``; a page has five times as many characters as a picture that is asked about."""

    def samples(self, drawer: Drawer) -> Sequence[list[Sample]]:
        """Pictures of one tile, some of them partly named, pages of print, and tiles of larger pictures."""
        one_tile = drawer.single(6, turns=1) + drawer.partly_named(8) + drawer.pages(18)
        return one_tile, drawer.several(14, turns=1)
