"""What may be asked about one picture: facts, each with what fills the wording, the answer and wrong answers.

Used by ``questions``, which chooses among them and puts them into words. A fact is only here if one answer is
right and nobody would argue about it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from internvl_engines.nano import relations
from internvl_engines.nano.relations import AXES
from internvl_engines.nano.scenes import COLOURS, KINDS, PAIRS, Scene, Shape, held_out_pair
from internvl_engines.nano.wordings import plural

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
REFUSAL = "none"
"""The answer where the thing asked for is not there."""
YES, NO = "yes", "no"
_MOST = 8
_NEAR_ABSENT, _ABSENT = 3, 4


@dataclass(frozen=True, slots=True)
class Fact:
    """A question that is not yet in words."""

    task: str
    family: str
    """Key of ``WORDINGS``."""
    slots: Mapping[str, str]
    answer: str
    wrong: tuple[str, ...] = ()
    """Plausible wrong answers of the same kind; none for what a print says."""


@dataclass(frozen=True, slots=True)
class View:
    """A scene to ask about, the source of chance, and whether held-out pairs may be named."""

    scene: Scene
    rng: random.Random
    held_out: bool

    def may_name(self, colour: str, kind: str) -> bool:
        """Whether a question or a wrong answer may name this shape."""
        return self.held_out or not held_out_pair(colour, kind)

    def absent_pairs(self) -> list[tuple[str, str]]:
        """A few shapes that are not there: most share the colour or the kind with one that is."""
        there = {shape.pair for shape in self.scene.shapes}
        colours, kinds = {colour for colour, _ in there}, {kind for _, kind in there}
        absent = [pair for pair in PAIRS if pair not in there and self.may_name(*pair)]
        near = [pair for pair in absent if pair[0] in colours or pair[1] in kinds]
        chosen = self.rng.sample(near, min(len(near), _NEAR_ABSENT))
        return chosen + self.rng.sample(absent, _ABSENT - len(chosen))

    def unique_shapes(self) -> list[Shape]:
        """Shapes that their colour and kind name alone."""
        return [shape for shape in self.scene.shapes if len(self.scene.of_pair(*shape.pair)) == 1]

    def unique_kinds(self) -> list[Shape]:
        """Shapes that their kind names alone."""
        return [shape for shape in self.scene.shapes if len(self.scene.of_kind(shape.kind)) == 1]

    def unique_colours(self) -> list[Shape]:
        """Shapes that their colour names alone, prints included."""
        return [
            shape
            for shape in self.scene.shapes
            if len(self.scene.of_colour(shape.colour)) == 1 and shape.colour not in self.scene.print_colours
        ]

    def names(self) -> list[str]:
        """Colour and kind of all shapes that are there."""
        return sorted({shape.name for shape in self.scene.shapes})


def colours(view: View, task: str = "colour", family: str = "colour") -> list[Fact]:
    """The colour of each kind that occurs once."""
    return [
        Fact(task, family, {"kind": shape.kind}, shape.colour, _wrong_colours(view, shape))
        for shape in view.unique_kinds()
    ]


def shapes(view: View, task: str = "shape", family: str = "shape") -> list[Fact]:
    """The kind of each colour that occurs once."""
    return [
        Fact(task, family, {"colour": shape.colour}, shape.kind, _wrong_kinds(view, shape))
        for shape in view.unique_colours()
    ]


def count(number: int, family: str, slots: Mapping[str, str], *, task: str = "count") -> Fact:
    """How many there are; one more and one fewer are the wrong answers."""
    wrong = tuple(NUMBERS[other] for other in (number - 1, number + 1) if 0 <= other <= _MOST)
    return Fact(task, family, slots, NUMBERS[number], wrong)


def counts(view: View) -> list[Fact]:
    """Counts by kind, by colour, by both and of all, zeros too; nothing where shapes are too small for it."""
    if not view.scene.countable:
        return []
    found = [*counts_by_kind(view), *counts_by_colour(view)]
    for colour, kind in [*sorted({shape.pair for shape in view.scene.shapes}), *view.absent_pairs()]:
        number = len(view.scene.of_pair(colour, kind))
        found.append(count(number, "count pair", {"colour": colour, "kinds": plural(kind)}))
    if not view.scene.prints:  # a text is a thing, too
        found.append(count(len(view.scene.shapes), "count all", {}))
    return found


def counts_by_kind(view: View, task: str = "count", family: str = "count kind") -> list[Fact]:
    """How many of each kind."""
    return [
        count(len(view.scene.of_kind(kind)), family, {"kinds": plural(kind)}, task=task) for kind in KINDS
    ]


def counts_by_colour(view: View, task: str = "count", family: str = "count colour") -> list[Fact]:
    """How many of each colour, but for those of a print."""
    return [
        count(len(view.scene.of_colour(colour)), family, {"colour": colour}, task=task)
        for colour in COLOURS
        if colour not in view.scene.print_colours
    ]


def positions(view: View) -> list[Fact]:
    """What lies left of, right of, above and below each shape that can be named."""
    found = []
    for origin in view.unique_shapes():
        for direction in AXES:
            other = relations.neighbour(view.scene, origin, direction)
            if other is not None:
                wrong = tuple(name for name in view.names() if name not in (other.name, origin.name))
                wrong = wrong or _half_right_names(view, other)
                found.append(Fact("position", "position", _place(direction, origin.pair), other.name, wrong))
    return found


def texts(view: View) -> list[Fact]:
    """What the picture says, by colour where there are two prints."""
    lines = view.scene.prints
    found = [Fact("print", "print colour", {"colour": line.colour}, line.text) for line in lines]
    return [*found, Fact("print", "print", {}, lines[0].text)] if len(lines) == 1 else found


def refusals(view: View) -> list[Fact]:
    """Questions about what is not there."""
    scene = view.scene
    there = tuple(sorted({shape.colour for shape in scene.shapes})) or tuple(COLOURS)
    found = [
        Fact("refusal", "colour", {"kind": kind}, REFUSAL, _nameable_colours(view, there, kind))
        for kind in KINDS
        if not scene.of_kind(kind)
    ]
    kinds = tuple(sorted({shape.kind for shape in scene.shapes})) or KINDS
    for colour in COLOURS:
        if not scene.of_colour(colour) and colour not in scene.print_colours:
            nameable = tuple(kind for kind in KINDS if view.may_name(colour, kind))
            wrong = tuple(kind for kind in nameable if kind in kinds) or nameable
            found.append(Fact("refusal", "shape", {"colour": colour}, REFUSAL, wrong))
        if colour not in scene.print_colours:
            found.append(Fact("refusal", "print colour", {"colour": colour}, REFUSAL))
    if not scene.prints:
        found.append(Fact("refusal", "print", {}, REFUSAL))
    places = [(view.rng.choice(list(AXES)), pair) for pair in view.absent_pairs()]
    places += [
        (direction, origin.pair)
        for origin in view.unique_shapes()
        for direction in AXES
        if relations.is_empty(scene, origin, direction)
    ]
    for direction, pair in places:
        names = tuple(name for name in view.names() if name != " ".join(pair)) or ("yellow circle",)
        found.append(Fact("refusal", "position", _place(direction, pair), REFUSAL, names))
    return found


FACTS: dict[str, Callable[[View], list[Fact]]] = {
    "colour": colours,
    "shape": shapes,
    "count": counts,
    "position": positions,
    "print": texts,
    "refusal": refusals,
}
"""By task."""


def _place(direction: str, pair: tuple[str, str]) -> dict[str, str]:
    return {"direction": direction, "colour": pair[0], "kind": pair[1]}


def _wrong_colours(view: View, shape: Shape) -> tuple[str, ...]:
    there = tuple(sorted({other.colour for other in view.scene.shapes} - {shape.colour}))
    found = tuple(colour for colour in there if view.may_name(colour, shape.kind))
    others = tuple(colour for colour in COLOURS if colour != shape.colour)
    return found or _nameable_colours(view, others, shape.kind)


def _nameable_colours(view: View, candidates: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return tuple(colour for colour in candidates if view.may_name(colour, kind)) or ("yellow",)


def _wrong_kinds(view: View, shape: Shape) -> tuple[str, ...]:
    there = sorted({other.kind for other in view.scene.shapes} - {shape.kind})
    found = tuple(kind for kind in there if view.may_name(shape.colour, kind))
    return found or tuple(kind for kind in KINDS if kind != shape.kind and view.may_name(shape.colour, kind))


def _half_right_names(view: View, shape: Shape) -> tuple[str, ...]:
    return tuple(
        f"{colour} {kind}"
        for colour, kind in PAIRS
        if (colour == shape.colour) != (kind == shape.kind) and view.may_name(colour, kind)
    )
