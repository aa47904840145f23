"""Two or three turns whose last depends on an earlier one.

The last one's task is "turns"; those before it have their own.
"""

from __future__ import annotations

from dataclasses import replace

from internvl_engines.nano import facts, yes_or_no
from internvl_engines.nano.facts import NUMBERS, Fact, View
from internvl_engines.nano.wordings import plural

TASK = "turns"
_THREE_TURNS = 0.3
_ABSENT_COUNTED = 1

Dialogue = tuple[Fact, ...]
"""Questions that are asked in this order, one after the other."""


def dialogues(view: View) -> list[Dialogue]:
    """All that may be talked about in turns."""
    found = [
        *_continued(view, facts.colours(view), "and the kind"),
        *_continued(view, facts.shapes(view), "and the colour"),
        *_continued(view, yes_or_no.existence(view), "and a pair"),
        *_of_the_print(view),
    ]
    if view.scene.countable:
        found += [
            *_continued(view, _with_few_zeros(view, facts.counts_by_kind(view)), "and the kinds"),
            *_continued(view, _with_few_zeros(view, facts.counts_by_colour(view)), "and the colours"),
            *_of_that_colour(view),
            *_of_the_only_one(view),
        ]
    return found


def _continued(view: View, questions: list[Fact], family: str) -> list[Dialogue]:
    """A question, and the same about something else in few words."""
    found: list[Dialogue] = []
    for first in questions:
        others = [other for other in questions if other.slots != first.slots]
        view.rng.shuffle(others)
        for last in others[:2]:
            between = [other for other in others if other is not last]
            middle = []
            if between and view.rng.random() < _THREE_TURNS:
                middle = [replace(between[-1], family=family)]
            found.append((first, *middle, replace(last, task=TASK, family=family)))
    return found


def _with_few_zeros(view: View, counts: list[Fact]) -> list[Fact]:
    zeros = [fact for fact in counts if fact.answer == NUMBERS[0]]
    kept = view.rng.sample(zeros, min(len(zeros), _ABSENT_COUNTED))
    return [fact for fact in counts if fact.answer != NUMBERS[0] or fact in kept]


def _of_that_colour(view: View) -> list[Dialogue]:
    """A colour or a coloured shape is named, and the next question counts the shapes of that colour."""
    found: list[Dialogue] = []
    for first in [*facts.colours(view), *facts.positions(view)]:
        colour = first.answer.split()[0]
        if colour not in view.scene.print_colours:
            number = len(view.scene.of_colour(colour))
            found.append((first, facts.count(number, "that colour", {}, task=TASK)))
    return found


def _of_the_only_one(view: View) -> list[Dialogue]:
    """There is one of a colour or a kind, and the next question asks for the other property."""
    by_colour = [
        (facts.count(1, "count colour", fact.slots), replace(fact, slots={}))
        for fact in facts.shapes(view, TASK, "that shape")
    ]
    by_kind = [
        (facts.count(1, "count kind", {"kinds": plural(fact.slots["kind"])}), replace(fact, slots={}))
        for fact in facts.colours(view, TASK, "its colour")
    ]
    return [*by_colour, *by_kind]


def _of_the_print(view: View) -> list[Dialogue]:
    """What the one text says, and its colour."""
    if len(view.scene.prints) != 1:
        return []
    line = view.scene.prints[0]
    others = tuple(sorted({shape.colour for shape in view.scene.shapes} - {line.colour})) or ("blue", "red")
    wrong = tuple(colour for colour in others if colour != line.colour)
    return [(Fact("print", "print", {}, line.text), Fact(TASK, "its colour", {}, line.colour, wrong))]
