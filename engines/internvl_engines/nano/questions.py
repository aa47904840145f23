"""Questions about a scene, in several wordings, with their answers; and the questions without a picture.

Used by training and evaluation, and by tests and the demo. Pure: a seeded generator is an argument.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from internvl_engines.nano.pictures import COLOURS, KINDS, Scene

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NO_PICTURE = "I see no picture."

# In the order of the model card. {kind}, {kinds} and {colour} are filled in; "colour" is also spelt "color".
WORDINGS: dict[str, tuple[str, ...]] = {
    "colour": (
        "What colour is the {kind}?",
        "What is the colour of the {kind}?",
        "Which colour is the {kind}?",
        "What colour does the {kind} have?",
        "Which colour does the {kind} have?",
        "Tell me the colour of the {kind}.",
        "Name the colour of the {kind}.",
        "The {kind} is what colour?",
        "What is the {kind}'s colour?",
        "In what colour is the {kind} drawn?",
    ),
    "shape": (
        "What shape is {colour}?",
        "Which shape is {colour}?",
        "What is the {colour} shape?",
        "What shape is the {colour} one?",
        "What shape is the {colour} object?",
        "What is {colour}?",
        "Which object is {colour}?",
        "What is the {colour} object?",
        "What is the {colour} thing?",
        "Name the {colour} shape.",
        "Tell me what shape is {colour}.",
        "What kind of shape is {colour}?",
    ),
    "count kind": (
        "How many {kinds} are there?",
        "How many {kinds} do you see?",
        "How many {kinds} can you see?",
        "How many {kinds} are in the picture?",
        "How many {kinds} are in the image?",
        "How many {kinds} does the picture show?",
        "Count the {kinds}.",
        "What is the number of {kinds}?",
        "Number of {kinds}?",
        "Tell me how many {kinds} there are.",
    ),
    "count colour": (
        "How many {colour} shapes are there?",
        "How many {colour} objects are there?",
        "How many shapes are {colour}?",
        "How many {colour} shapes do you see?",
        "How many {colour} shapes are in the picture?",
        "How many {colour} things are there?",
        "Count the {colour} shapes.",
        "What is the number of {colour} shapes?",
    ),
    "count all": (
        "How many shapes are there?",
        "How many shapes are there in all?",
        "How many shapes do you see?",
        "How many objects are there?",
        "How many shapes are in the picture?",
        "How many shapes are in the image?",
        "How many things are there?",
        "Count the shapes.",
        "Count all shapes.",
        "What is the number of shapes?",
    ),
    "sum": (
        "What is {left} plus {right}?",
        "How much is {left} plus {right}?",
        "What does {left} plus {right} make?",
        "What is {left} and {right}?",
        "Add {left} and {right}.",
        "{left} plus {right}?",
        "{left} + {right} = ?",
    ),
    "greeting": ("Say hello.", "Hello", "Hello!", "Hi", "Hi!", "Hello, how are you?", "Good morning."),
    "name": (
        "Who are you?",
        "What is your name?",
        "What are you?",
        "What model are you?",
        "What are you called?",
        "Tell me your name.",
    ),
}
PICTURE_TASKS = ("colour", "shape", "count kind", "count colour", "count all")
TEXT_TASKS = ("sum", "greeting", "name")
_SHARE = {"colour": 2, "shape": 2, "count kind": 3, "count colour": 4, "count all": 1}
_FIXED_ANSWERS = {"greeting": "Hello!", "name": "I am internvl-nano."}


@dataclass(frozen=True, slots=True)
class Question:
    """A question in one wording and the one right answer."""

    task: str
    text: str
    answer: str


def ask(scene: Scene, rng: random.Random, *, count: int) -> list[Question]:
    """Up to ``count`` different questions that have one answer in this scene, in random order and wording."""
    return [_worded(rng, *fact) for fact in _choose(facts(scene), rng, count)]


def ask_without_picture(rng: random.Random) -> Question:
    """A question that needs no picture, or one that does: then the right answer is that there is none."""
    task = rng.choice(("sum", "sum", "sum", "greeting", "name", "picture"))
    if task == "picture":
        lost = _worded(rng, rng.choice(PICTURE_TASKS), _random_slots(rng), NO_PICTURE)
        return Question("no picture", lost.text, lost.answer)
    if task == "sum":
        left, right = rng.randint(0, 5), rng.randint(0, 5)
        spell: Callable[[int], str] = rng.choice((str, NUMBERS.__getitem__))
        return _worded(rng, task, {"left": spell(left), "right": spell(right)}, NUMBERS[left + right])
    return _worded(rng, task, {}, _FIXED_ANSWERS[task])


Fact = tuple[str, dict[str, str], str]
"""Task, what fills the wording's slots, answer."""


def facts(scene: Scene) -> list[Fact]:
    """Everything that may be asked about a scene.

    Counting is asked only where every shape is at least 6 pixels in radius in the thumbnail.
    """
    found: list[Fact] = []
    for kind in KINDS:
        group = scene.of_kind(kind)
        if len(group) == 1:
            found.append(("colour", {"kind": kind}, group[0].colour))
    for colour in COLOURS:
        group = scene.of_colour(colour)
        if len(group) == 1:
            found.append(("shape", {"colour": colour}, group[0].kind))
    if scene.smallest_in_thumbnail >= 6:
        found.extend(_counts(scene))
    return found


def all_texts() -> list[str]:
    """Every wording with every word it may hold, and every answer: what a tokenizer must know well."""
    numbers = [str(number) for number in range(len(NUMBERS))]
    slots = [
        {"kind": kind, "kinds": _plural(kind), "colour": colour, "left": left, "right": right}
        for kind in KINDS
        for colour, left, right in zip(COLOURS, NUMBERS, (*NUMBERS[4:], *numbers[:3]), strict=False)
    ]
    questions = [text.format(**words) for texts in WORDINGS.values() for text in texts for words in slots]
    spelt = [text.replace("colour", "color") for text in questions]
    prefixed = [f"Look at the picture. {text}" for text in questions]
    answers = [*COLOURS, *KINDS, *NUMBERS, *numbers, NO_PICTURE, *_FIXED_ANSWERS.values()] * len(slots)
    asked = [*questions, *spelt, *prefixed]
    return [*asked, *(text.lower() for text in asked), *answers]


def _counts(scene: Scene) -> list[Fact]:
    kinds = {kind: len(scene.of_kind(kind)) for kind in KINDS}
    colours = {colour: len(scene.of_colour(colour)) for colour in COLOURS}
    absent_kind = _one_absent(kinds, scene)
    absent_colour = _one_absent(colours, scene)
    found: list[Fact] = [
        ("count kind", {"kinds": _plural(kind)}, NUMBERS[count])
        for kind, count in kinds.items()
        if count or kind == absent_kind
    ]
    found += [
        ("count colour", {"colour": colour}, NUMBERS[count])
        for colour, count in colours.items()
        if count or colour == absent_colour
    ]
    return [*found, ("count all", {}, NUMBERS[len(scene.shapes)])]


def _one_absent(counts: dict[str, int], scene: Scene) -> str | None:
    # One question with the answer zero a group, else "zero" would be the answer to half of all counts.
    absent = [name for name, count in counts.items() if not count]
    return absent[(scene.width + scene.height) % len(absent)] if absent else None


def _choose(candidates: list[Fact], rng: random.Random, count: int) -> list[Fact]:
    left = list(candidates)
    chosen: list[Fact] = []
    while left and len(chosen) < count:
        tasks = sorted({fact[0] for fact in left})
        task = rng.choices(tasks, [_SHARE[name] for name in tasks])[0]
        fact = rng.choice([fact for fact in left if fact[0] == task])
        left.remove(fact)
        chosen.append(fact)
    return chosen


def _worded(rng: random.Random, task: str, slots: dict[str, str], answer: str) -> Question:
    text = rng.choice(WORDINGS[task])
    if rng.random() < 0.5:  # before the slots are filled, so that a colour's name is never touched
        text = text.replace("colour ", "color ").replace("colour?", "color?").replace("colour.", "color.")
    text = text.format(**slots)
    text = text[0].upper() + text[1:]
    roll = rng.random()
    if roll < 0.12:
        text = text.lower()
    elif roll < 0.24 and task not in TEXT_TASKS:
        text = f"Look at the picture. {text}"
    if rng.random() < 0.1:
        text = text.rstrip("?.!")
    return Question(task, text, answer)


def _random_slots(rng: random.Random) -> dict[str, str]:
    kind = rng.choice(KINDS)
    return {"kind": kind, "kinds": _plural(kind), "colour": rng.choice(list(COLOURS))}


def _plural(kind: str) -> str:
    return f"{kind}es" if kind == "cross" else f"{kind}s"
