"""Questions about pictures, in several wordings, with their answers; and the questions without a picture.

Used by training and evaluation, and by tests and the demo. Pure: a seeded generator is an argument.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from internvl_engines.nano import comparing, facts, prints, turns, yes_or_no
from internvl_engines.nano.comparing import ORDINALS
from internvl_engines.nano.composing import Subject, compose
from internvl_engines.nano.facts import NO, NUMBERS, REFUSAL, YES, Fact, View
from internvl_engines.nano.scenes import COLOURS, KINDS, PAIRS, SINGLE_GRID, TILE, Scene, held_out_pair
from internvl_engines.nano.turns import Dialogue
from internvl_engines.nano.wordings import (
    DIRECTIONS,
    ONE_PICTURE,
    SEVERAL_PICTURES,
    WORDINGS,
    filled,
    in_american,
    plural,
    worded,
)
from internvl_runtimes.preprocess.tiling import count_tiles

__all__ = [
    "NO_PICTURE",
    "NUMBERS",
    "ORDINALS",
    "REFUSAL",
    "TASKS",
    "TEXT_TASKS",
    "WORDINGS",
    "Question",
    "all_texts",
    "ask",
    "ask_without_picture",
    "compose_for",
]

NO_PICTURE = "I see no picture."
_PRACTICE = {
    "colour": 1.0,
    "shape": 1.5,
    "count": 3.0,
    "position": 3.0,
    "print": 4.0,
    "yes or no": 2.0,
    "refusal": 1.5,
    "turns": 2.0,
    "compare": 1.0,
}
"""How often each task is asked where all can be; comparing is never asked beside another."""
TASKS = tuple(_PRACTICE)
"""About pictures, in the order of the model card."""
TEXT_TASKS = ("sum", "greeting", "name")
_FAMILY_SHARE = {
    "count kind": 2.0,
    "count colour": 4.0,
    "count pair": 3.0,
    "and a pair": 0.5,
    "which shows": 0.5,
    "which has most": 1.5,
}
"""Against 1 for each other family of a task; what is harder, or can be asked of fewer scenes, has more."""
_ANSWER_SHARE = {"zero": 0.3, "one": 0.4, "two": 1.0, "three": 2.0} | dict.fromkeys(NUMBERS[4:], 4.0)
"""Small numbers are the right answer to most counts of a scene: asked less often, all are asked enough."""
_SHARE = _FAMILY_SHARE | _ANSWER_SHARE
_FIXED_ANSWERS = {"greeting": "Hello!", "name": "I am internvl-nano."}
_FOLLOW_UPS = frozenset(
    {"and the kind", "and the kinds", "and the colour", "and the colours", "and a pair"}
    | {"that colour", "that shape", "its colour"}
)
_SUBJECTS: dict[str, Subject] = {"print": "print", "count": "shapes", "position": "shapes"}
_COMPARED_PRINTS, _COMPARED_SINGLE, _COMPARED_TILES = 0.35, 0.6, 5
_COMPARED_GRIDS = (SINGLE_GRID, (2, 1), (1, 2), (3, 1), (1, 3))
_LONGEST = 3
_ANSWER_REPEATS = 1000
"""Often enough among the texts for a tokenizer that each word of an answer becomes one token."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question in one wording, the one right answer and a wrong one that is not far off."""

    task: str
    text: str
    answer: str
    near_miss: str = ""


def ask(
    scenes: Scene | Sequence[Scene],
    rng: random.Random,
    *,
    count: int,
    held_out: bool = False,
    tasks: Collection[str] | None = None,
) -> list[Question]:
    """Up to ``count`` different questions, each with one right answer, in the order of the conversation.

    Args:
        scenes: one picture, or two to four to compare.
        rng: the source of all randomness.
        count: turns of a conversation count one each; a task of several turns needs as many.
        held_out: whether a question or a near miss may name a held-out pair or text.
        tasks: only these; all of ``TASKS`` without it.
    """
    pictures = [scenes] if isinstance(scenes, Scene) else list(scenes)
    wanted = [task for task in TASKS if tasks is None or task in tasks]
    prefix = ONE_PICTURE if len(pictures) == 1 else SEVERAL_PICTURES
    view = View(pictures[0], rng, held_out)
    pools: dict[str, list[Dialogue]] = {}
    if len(pictures) == 1:
        pools = {task: _dialogues(view, task) for task in wanted if task != comparing.TASK}
    elif comparing.TASK in wanted:
        pools = {comparing.TASK: [(fact,) for fact in comparing.facts(pictures)]}
    chosen = _choose(pools, rng, count)
    return [_question(fact, rng, prefix, held_out=held_out) for fact in chosen]


def ask_without_picture(rng: random.Random) -> Question:
    """A question that needs no picture, or one that does: then the right answer is that there is none."""
    task = rng.choice(("sum", "sum", "sum", "greeting", "name", "picture"))
    if task == "picture":
        family = rng.choice([name for name in WORDINGS if name not in (*TEXT_TASKS, *_FOLLOW_UPS)])
        return Question("no picture", worded(rng, family, _random_slots(rng), prefix=ONE_PICTURE), NO_PICTURE)
    if task == "sum":
        left, right = rng.randint(0, 5), rng.randint(0, 5)
        spell: Callable[[int], str] = rng.choice((str, NUMBERS.__getitem__))
        text = worded(rng, task, {"left": spell(left), "right": spell(right)})
        return Question(task, text, NUMBERS[left + right])
    return Question(task, worded(rng, task, {}), _FIXED_ANSWERS[task])


def compose_for(
    task: str, rng: random.Random, *, grid: tuple[int, int] = SINGLE_GRID, held_out: bool = False
) -> list[Scene]:
    """Scenes about which a task can be asked, given a ``count`` of three: one, or two to four to compare.

    Args:
        task: one of ``TASKS``.
        rng: the source of all randomness.
        grid: of the picture. Pictures to compare have one tile each if it is ``SINGLE_GRID``, else one to five.
        held_out: as in ``compose``.
    """
    while True:
        if task == comparing.TASK:
            scenes = _compose_several(rng, grid, held_out)
        else:
            subject = _SUBJECTS.get(task, "any")
            scenes = [compose(rng, grid=grid, subject=subject, held_out=held_out)]
        if ask(scenes, rng, count=_LONGEST, held_out=held_out, tasks=(task,)):
            return scenes


def all_texts() -> list[str]:
    """Every wording with every word it may hold, and every answer: what a tokenizer must know well.

    No digits or capitals stand beside each other in them, so that a print is spelt character by character.
    """
    digits = [str(number) for number in range(10)]
    directions = [phrase for phrases in DIRECTIONS.values() for phrase in phrases]
    texts: list[str] = []
    for number, (colour, kind) in enumerate(PAIRS):
        slots = {
            "kind": kind,
            "kinds": plural(kind),
            "colour": colour,
            "direction": directions[number % len(directions)],
            "one": f"{colour} {kind}",
            "other": f"{colour} {kind}",
            "things": plural(kind),
            "others": f"{colour} shapes",
            "left": [*NUMBERS, *digits][number % 21],
            "right": [*NUMBERS, *digits][(number + 5) % 21],
            "text": "",
        }
        for family, templates in WORDINGS.items():
            for template in templates:
                spellings = (template, in_american(template))
                texts += [filled(spelling, slots) for spelling in spellings]
                texts += [filled(spelling.lower(), slots) for spelling in spellings]
                if family not in TEXT_TASKS:
                    texts.append(f"{ONE_PICTURE} {filled(template, slots)}")
        texts.append(SEVERAL_PICTURES)
    words = [*COLOURS, *KINDS, *NUMBERS, *digits, *ORDINALS, YES, NO, REFUSAL]
    sentences = [NO_PICTURE, *_FIXED_ANSWERS.values()] * len(PAIRS)
    return [*texts, *sentences, *words * _ANSWER_REPEATS]


def _dialogues(view: View, task: str) -> list[Dialogue]:
    if task == turns.TASK:
        return turns.dialogues(view)
    if task == "yes or no":
        return [(fact,) for fact in yes_or_no.facts(view)]
    return [(fact,) for fact in facts.FACTS[task](view)]


def _choose(pools: dict[str, list[Dialogue]], rng: random.Random, count: int) -> list[Fact]:
    chosen: list[Fact] = []
    while True:
        fitting = {
            task: [
                dialogue
                for dialogue in pool
                if len(dialogue) <= count - len(chosen) and not _asked_again(dialogue, chosen)
            ]
            for task, pool in pools.items()
        }
        open_tasks = [task for task, pool in fitting.items() if pool]
        if not open_tasks:
            return chosen
        task = rng.choices(open_tasks, [_PRACTICE[name] for name in open_tasks])[0]
        chosen += _pick(rng, task, fitting[task])


def _asked_again(dialogue: Dialogue, chosen: Sequence[Fact]) -> bool:
    earlier = [(fact.family, fact.slots) for fact in chosen]
    return any((fact.family, fact.slots) in earlier for fact in dialogue if fact.family not in _FOLLOW_UPS)


def _pick(rng: random.Random, task: str, pool: list[Dialogue]) -> Dialogue:
    """One of a task, so that its families are asked evenly and, in each, its answers are.

    Yes and no come first: in some scenes a family knows only one of them.
    """
    traits: tuple[Callable[[Fact], str], ...] = (lambda fact: fact.family), (lambda fact: fact.answer)
    for trait in reversed(traits) if task == "yes or no" else traits:
        values = sorted({trait(dialogue[-1]) for dialogue in pool})
        value = rng.choices(values, [_SHARE.get(value, 1.0) for value in values])[0]
        pool = [dialogue for dialogue in pool if trait(dialogue[-1]) == value]
    return rng.choice(pool)


def _question(fact: Fact, rng: random.Random, prefix: str, *, held_out: bool) -> Question:
    text = worded(rng, fact.family, fact.slots, prefix="" if fact.family in _FOLLOW_UPS else prefix)
    near_miss = rng.choice(fact.wrong) if fact.wrong else _misread(rng, fact.answer, held_out=held_out)
    return Question(fact.task, text, fact.answer, near_miss)


def _misread(rng: random.Random, text: str, *, held_out: bool) -> str:
    """A text with one other character; any text where there is none."""
    while True:
        if text == REFUSAL:
            return prints.random_text(rng, held_out=held_out)
        place = rng.randrange(len(text))
        misread = text[:place] + rng.choice(prints.CHARACTERS) + text[place + 1 :]
        if misread != text and (held_out or not prints.held_out_text(misread)):
            return misread


def _compose_several(rng: random.Random, grid: tuple[int, int], held_out: bool) -> list[Scene]:
    subject: Subject = "print" if rng.random() < _COMPARED_PRINTS else "shapes"
    scenes: list[Scene] = []
    number = rng.choice((2, 2, 3, 4))
    while len(scenes) < number:
        single = grid == SINGLE_GRID or rng.random() < _COMPARED_SINGLE
        small = SINGLE_GRID if single else rng.choice(_COMPARED_GRIDS)
        scene = compose(rng, grid=small, subject=subject, held_out=held_out)
        tiles = count_tiles(
            scene.width, scene.height, min_tiles=1, max_tiles=12, tile_size=TILE, use_thumbnail=True
        )
        if tiles <= _COMPARED_TILES:
            scenes.append(scene)
    return scenes


def _random_slots(rng: random.Random) -> dict[str, str]:
    colour, kind = rng.choice([pair for pair in PAIRS if not held_out_pair(*pair)])
    other, other_kind = rng.choice([pair for pair in PAIRS if not held_out_pair(*pair)])
    return {
        "kind": kind,
        "kinds": plural(kind),
        "colour": colour,
        "direction": rng.choice(list(DIRECTIONS)),
        "one": f"{colour} {kind}",
        "other": f"{other} {other_kind}",
        "things": rng.choice((plural(kind), f"{colour} shapes")),
        "others": rng.choice((plural(other_kind), f"{other} shapes")),
        "text": prints.random_text(rng, held_out=False),
    }
