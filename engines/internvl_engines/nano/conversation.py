"""Conversations as token ids: the prompt of the internvl2_5 template, and which tokens are answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from internvl_engines.nano.questions import Question
from internvl_engines.nano.shape import SYSTEM_MESSAGE
from internvl_engines.nano.tokenizer import IM_END, IM_START, IMG_CONTEXT, IMG_END, IMG_START


@dataclass(frozen=True, slots=True)
class Answer:
    """Where one answer lies in a conversation: its tokens and the end token, [start, stop)."""

    task: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """Token ids of a whole conversation with its answers."""

    ids: list[int]
    answers: list[Answer]


def encode(
    tokenizer: Tokenizer,
    turns: Sequence[Question],
    *,
    pictures: Sequence[int],
    image_turn: int = 0,
    image_last: bool = False,
    system: str = SYSTEM_MESSAGE,
) -> Conversation:
    """Encode turns of question and answer.

    Args:
        tokenizer: internvl-nano's.
        turns: at least one.
        pictures: visual rows of each picture; of several, the k-th is written as ``Image-k``.
        image_turn: the turn whose question carries the pictures.
        image_last: the pictures stand after the question's text instead of before it.
        system: the system message.
    """
    ids = _ids(tokenizer, f"{IM_START}system\n{system}{IM_END}\n")
    answers = []
    for number, turn in enumerate(turns):
        text = turn.text
        if pictures and number == image_turn:
            text = f"{text}\n{_written(pictures)}" if image_last else f"{_written(pictures)}\n{text}"
        ids += _ids(tokenizer, f"{IM_START}user\n{text}{IM_END}\n{IM_START}assistant\n")
        start = len(ids)
        ids += _ids(tokenizer, f"{turn.answer}{IM_END}")
        answers.append(Answer(turn.task, start, len(ids)))
        ids += _ids(tokenizer, "\n")
    return Conversation(ids, answers)


def _written(pictures: Sequence[int]) -> str:
    marks = [f"{IMG_START}{IMG_CONTEXT * rows}{IMG_END}" for rows in pictures]
    if len(marks) == 1:
        return marks[0]
    return "\n".join(f"Image-{number}: {mark}" for number, mark in enumerate(marks, 1))


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
