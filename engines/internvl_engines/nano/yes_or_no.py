"""Questions whose answer is yes or no. Most that are to be denied are nearly true."""

from __future__ import annotations

from internvl_engines.nano import relations
from internvl_engines.nano.facts import NO, YES, Fact, View
from internvl_engines.nano.relations import AXES
from internvl_engines.nano.scenes import COLOURS, KINDS
from internvl_engines.nano.wordings import plural

_OTHERS = 3


def facts(view: View) -> list[Fact]:
    """Existence, colour, position, comparison of counts, text."""
    return [*existence(view), *_attributes(view), *_positions(view), *_comparisons(view), *_texts(view)]


def existence(view: View, task: str = "yes or no", family: str = "there is") -> list[Fact]:
    """Whether there is such a shape."""
    there = sorted({shape.pair for shape in view.scene.shapes})
    absent = view.absent_pairs()
    # As many to deny as to affirm: one dialogue in turns may start with any of them.
    asked = [
        *view.rng.sample(there, min(len(there), len(absent))),
        *view.rng.sample(absent, min(max(len(there), 1), len(absent))),
    ]
    return [said(pair in there, family, {"colour": pair[0], "kind": pair[1]}, task=task) for pair in asked]


def said(true: bool, family: str, slots: dict[str, str], *, task: str = "yes or no") -> Fact:
    """A fact that is affirmed or denied."""
    return Fact(task, family, slots, YES if true else NO, (NO if true else YES,))


def _attributes(view: View) -> list[Fact]:
    found = []
    for shape in view.unique_kinds():
        found.append(said(True, "is it", {"kind": shape.kind, "colour": shape.colour}))
        there = {other.colour for other in view.scene.shapes}
        wrong = [c for c in COLOURS if c != shape.colour and view.may_name(c, shape.kind)]
        near = [colour for colour in wrong if colour in there]
        denied = view.rng.choice(near or wrong), view.rng.choice(wrong)
        found += [said(False, "is it", {"kind": shape.kind, "colour": colour}) for colour in denied]
    return found


def _positions(view: View) -> list[Fact]:
    shapes, found = view.unique_shapes(), []
    for one in shapes:
        for other in (shape for shape in shapes if shape is not one):
            true = next((way for way in AXES if relations.lies(one, way, other)), None)
            if true is not None:
                wrong = view.rng.choice([way for way in AXES if way != true])
                for way in (true, wrong):
                    slots = {"one": one.name, "direction": way, "other": other.name}
                    found.append(said(way == true, "does it lie", slots))
    return found


def _comparisons(view: View) -> list[Fact]:
    if not view.scene.countable or not view.scene.shapes:
        return []
    kinds = {plural(kind): len(view.scene.of_kind(kind)) for kind in KINDS}
    colours = {f"{colour} shapes": len(view.scene.of_colour(colour)) for colour in COLOURS}
    found = []
    for counts in (kinds, colours):
        there = [things for things, number in counts.items() if number]
        for things in there:
            for others in view.rng.sample(sorted(counts), _OTHERS):
                if others != things:
                    one, two = (things, others) if view.rng.random() < 0.5 else (others, things)
                    more = counts[one] > counts[two]
                    found.append(said(more, "are there more", {"things": one, "others": two}))
    return found


def _texts(view: View) -> list[Fact]:
    there = sorted(view.scene.print_colours)
    found = [said(bool(there), "is there text", {})]
    if there:
        shown = {shape.colour for shape in view.scene.shapes}
        others = [colour for colour in COLOURS if colour not in there]
        denied = view.rng.choice([colour for colour in others if colour in shown] or others)
        found.append(said(False, "is there text in", {"colour": denied}))
    return found + [said(True, "is there text in", {"colour": colour}) for colour in there]
