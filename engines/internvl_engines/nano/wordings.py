"""The wordings of all questions, and a question put into words.

Used by ``questions`` and for the model card. {kind}, {kinds}, {colour} and their like are filled in; "colour"
is also spelt "color", and any wording also comes in lower case, without its mark, or after a prefix.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

DIRECTIONS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
"""What {direction} may become."""

# In the order of the model card.
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
    "count pair": (
        "How many {colour} {kinds} are there?",
        "How many {colour} {kinds} do you see?",
        "How many {colour} {kinds} are in the picture?",
        "How many of the {kinds} are {colour}?",
        "Count the {colour} {kinds}.",
        "What is the number of {colour} {kinds}?",
        "Number of {colour} {kinds}?",
    ),
    "position": (
        "What is {direction} the {colour} {kind}?",
        "Which shape is {direction} the {colour} {kind}?",
        "What lies {direction} the {colour} {kind}?",
        "What do you see {direction} the {colour} {kind}?",
        "Name the shape {direction} the {colour} {kind}.",
        "Tell me what is {direction} the {colour} {kind}.",
    ),
    "print": (
        "What does the picture say?",
        "What is written?",
        "Read the text.",
        "What does the text say?",
        "What text do you see?",
        "What is written in the picture?",
        "What text is in the picture?",
        "Which text does the picture show?",
        "Tell me what is written.",
    ),
    "print colour": (
        "What does the {colour} text say?",
        "What is written in {colour}?",
        "Read the {colour} text.",
        "Which text is {colour}?",
        "What is the {colour} text?",
    ),
    "there is": (
        "Is there a {colour} {kind}?",
        "Is there a {colour} {kind} in the picture?",
        "Do you see a {colour} {kind}?",
        "Can you see a {colour} {kind}?",
        "Does the picture show a {colour} {kind}?",
        "Is a {colour} {kind} in the picture?",
    ),
    "is it": (
        "Is the {kind} {colour}?",
        "Is the {kind} drawn in {colour}?",
        "Is {colour} the colour of the {kind}?",
        "Does the {kind} have the colour {colour}?",
    ),
    "does it lie": (
        "Is the {one} {direction} the {other}?",
        "Does the {one} lie {direction} the {other}?",
        "Do you see the {one} {direction} the {other}?",
    ),
    "are there more": (
        "Are there more {things} than {others}?",
        "Do you see more {things} than {others}?",
        "Does the picture show more {things} than {others}?",
        "Can you see more {things} than {others}?",
    ),
    "is there text": (
        "Is there any text?",
        "Is there text in the picture?",
        "Is anything written?",
        "Do you see any text?",
        "Does the picture say anything?",
    ),
    "is there text in": (
        "Is there any {colour} text?",
        "Is there {colour} text in the picture?",
        "Is anything written in {colour}?",
        "Do you see any {colour} text?",
    ),
    "and the kind": ("And the {kind}?", "And what about the {kind}?", "What about the {kind}?"),
    "and the kinds": ("And {kinds}?", "And how many {kinds}?", "What about {kinds}?"),
    "and the colour": ("And {colour}?", "And what is {colour}?", "And which one is {colour}?"),
    "and the colours": ("And {colour} ones?", "And how many {colour} shapes?", "What about {colour} shapes?"),
    "and a pair": (
        "And a {colour} {kind}?",
        "What about a {colour} {kind}?",
        "And is there a {colour} {kind}?",
    ),
    "that colour": (
        "How many shapes have that colour?",
        "How many shapes are of that colour?",
        "How many are there of that colour?",
    ),
    "that shape": (
        "What shape is it?",
        "Which shape is it?",
        "What kind of shape is it?",
        "And its shape?",
    ),
    "its colour": ("What colour is it?", "Which colour does it have?", "And its colour?", "In what colour?"),
    "which has more": (
        "Which picture has more {things}?",
        "Which picture shows more {things}?",
        "Which image has more {things}?",
        "In which picture are there more {things}?",
        "Where are more {things}?",
    ),
    "which has most": (
        "Which picture has the most {things}?",
        "Which picture shows the most {things}?",
        "Which image has the most {things}?",
        "In which picture are the most {things}?",
    ),
    "which shows": (
        "Which picture shows a {colour} {kind}?",
        "Which picture has a {colour} {kind}?",
        "Which image shows a {colour} {kind}?",
        "In which picture is there a {colour} {kind}?",
        "Where is a {colour} {kind}?",
    ),
    "which says": (
        "Which picture says {text}?",
        "Which image says {text}?",
        "Which picture shows the text {text}?",
        "In which picture is {text} written?",
        "Where is {text} written?",
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
ONE_PICTURE, SEVERAL_PICTURES = "Look at the picture.", "Look at the pictures."
_A_BEFORE_VOWEL = re.compile(r"\ba (?=[aeiou])")


def worded(rng: random.Random, family: str, slots: Mapping[str, str], *, prefix: str = "") -> str:
    """A question of a family in one of its wordings.

    Args:
        rng: the source of all randomness.
        family: a key of ``WORDINGS``.
        slots: what is filled in; a ``direction`` is a key of ``DIRECTIONS``. Filled in as they are: a printed
            text keeps its capitals in any wording.
        prefix: a sentence that now and then comes before the question.
    """
    template = rng.choice(WORDINGS[family])
    if rng.random() < 0.5:  # before the slots are filled, so that a colour's name is never touched
        template = in_american(template)
    begins_with_slot = template.startswith("{")
    roll = rng.random()
    if roll < 0.12:
        template = template.lower()
    elif roll < 0.24 and prefix:
        template = f"{prefix} {template}"
    if rng.random() < 0.1:
        template = template.rstrip("?.!")
    words = dict(slots)
    if "direction" in words:
        words["direction"] = rng.choice(DIRECTIONS[words["direction"]])
    text = filled(template, words)
    return text[0].upper() + text[1:] if begins_with_slot and roll >= 0.12 else text


def filled(template: str, words: Mapping[str, str]) -> str:
    """The template with its slots filled, and "an" before a vowel."""
    return _A_BEFORE_VOWEL.sub("an ", template.format(**words))


def in_american(template: str) -> str:
    """The template with "color" for the word "colour"; the slot keeps its name."""
    pieces = template.split("{colour}")
    return "{colour}".join(piece.replace("colour", "color") for piece in pieces)


def plural(kind: str) -> str:
    """Several of a kind, or of a colour and a kind."""
    return f"{kind}es" if kind.endswith("cross") else f"{kind}s"
