"""Questions about two to four pictures: which of them has more, shows or says something."""

from __future__ import annotations

from collections.abc import Sequence

from internvl_engines.nano.facts import Fact
from internvl_engines.nano.scenes import COLOURS, KINDS, Scene
from internvl_engines.nano.wordings import plural

TASK = "compare"
ORDINALS = ("first", "second", "third", "fourth")


def facts(scenes: Sequence[Scene]) -> list[Fact]:
    """All comparisons that exactly one picture wins."""
    found = _shown(scenes) + _said(scenes)
    return found + _counted(scenes) if all(scene.countable for scene in scenes) else found


def _counted(scenes: Sequence[Scene]) -> list[Fact]:
    numbers = {"shapes": [len(scene.shapes) for scene in scenes]}
    numbers |= {plural(kind): [len(scene.of_kind(kind)) for scene in scenes] for kind in KINDS}
    numbers |= {f"{colour} shapes": [len(scene.of_colour(colour)) for scene in scenes] for colour in COLOURS}
    families = ("which has more", "which has most") if len(scenes) == 2 else ("which has most",)
    return [
        _fact(family, {"things": things}, counts.index(max(counts)), len(scenes))
        for things, counts in numbers.items()
        if counts.count(max(counts)) == 1
        for family in families
    ]


def _shown(scenes: Sequence[Scene]) -> list[Fact]:
    pairs = sorted({shape.pair for scene in scenes for shape in scene.shapes})
    found = []
    for colour, kind in pairs:
        showing = [number for number, scene in enumerate(scenes) if scene.of_pair(colour, kind)]
        if len(showing) == 1:
            found.append(_fact("which shows", {"colour": colour, "kind": kind}, showing[0], len(scenes)))
    return found


def _said(scenes: Sequence[Scene]) -> list[Fact]:
    lines = [(line.text, number) for number, scene in enumerate(scenes) for line in scene.prints]
    texts = [text for text, _ in lines]
    return [
        _fact("which says", {"text": text}, number, len(scenes))
        for text, number in lines
        if texts.count(text) == 1
    ]


def _fact(family: str, slots: dict[str, str], winner: int, pictures: int) -> Fact:
    wrong = tuple(ORDINALS[number] for number in range(pictures) if number != winner)
    return Fact(TASK, family, slots, ORDINALS[winner], wrong)
