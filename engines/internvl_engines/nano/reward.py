"""Scores the steps of a solution as VisualPRM does: one prefill, ``+`` against ``-`` after each step.

Source: VisualPRM (arXiv 2503.10291). The first user turn holds picture, question and first step, each further turn
one step; every answer of the assistant is one token, ``+``, whatever is right. The score of a step is the softmax
over the logits of just ``+`` and ``-`` at the token before that answer; a solution's score is the mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from internvl_engines.reference.model import InternVL
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Prompter

GOOD, BAD = "+", "-"
_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class StepScores:
    """P(``+``) of each step, in order."""

    steps: tuple[float, ...]

    @property
    def solution(self) -> float:
        """The mean, by which the best of several solutions is chosen."""
        return sum(self.steps) / len(self.steps)


def split_steps(solution: str) -> list[str]:
    """The steps of a solution: its parts between blank lines."""
    return [step.strip() for step in _BLANK_LINES.split(solution) if step.strip()]


def reward_messages(question: str, steps: Sequence[str], *, pictures: int) -> list[Message]:
    """The conversation that is scored.

    Args:
        question: without its picture.
        steps: at least one.
        pictures: how many stand before the question.
    """
    first = f"### Question:\n{question}\n\n### Solution Process:\n{steps[0]}"
    messages = [Message("user", (*[PICTURE] * pictures, first)), Message("assistant", (GOOD,))]
    for step in steps[1:]:
        messages += [Message("user", (step,)), Message("assistant", (GOOD,))]
    return messages


def score_steps(
    model: InternVL, prompter: Prompter, question: str, solution: str, pictures: Sequence[Tensor]
) -> StepScores:
    """Score a solution.

    Args:
        model: a checkpoint in VisualPRM's form.
        prompter: of the same checkpoint.
        question: what was asked.
        solution: its steps are parted by blank lines.
        pictures: the tiles of each picture, float32 [n, 3, S, S].
    """
    steps = split_steps(solution)
    prompt = prompter.prompt(reward_messages(question, steps, pictures=len(pictures)))
    with torch.no_grad():
        rows = [torch.cat(model.vision.features(pixels)) for pixels in pictures]
        widened = prompter.widen(prompt.ids, [len(part) for part in rows])
        ids = torch.from_numpy(widened.ids)
        features = torch.cat(rows) if rows else torch.zeros(0, model.config.language.hidden_size)
        embeddings = model.prompt_embeddings(ids, features, prompter.image_context_id)
        logits = model.language(inputs_embeds=embeddings).logits[0]
    good, bad = (score_token(prompter, text) for text in (GOOD, BAD))
    pairs = logits[answer_places(prompter, ids, steps=len(steps))][:, [good, bad]]
    return StepScores(tuple(torch.softmax(pairs, dim=-1)[:, 0].tolist()))


def answer_places(prompter: Prompter, ids: Tensor, *, steps: int) -> Tensor:
    """Where the answers are predicted: the token before each ``+`` of the assistant, int64 [steps]."""
    good = score_token(prompter, GOOD)
    end = prompter.tokenizer.token_to_id(prompter.template.end.content)
    followed = (ids[1:-1] == good) & (ids[2:] == end)  # a lone "+" turn: no step ends so
    places = torch.nonzero(followed)[:, 0]
    if len(places) != steps:
        raise ValueError(
            f"{len(places)} answers were found for {steps} steps: a step is itself a lone {GOOD!r}"
        )
    return places


def score_token(prompter: Prompter, text: str) -> int:
    """The id of ``+`` or ``-``, which must be one token."""
    ids: list[int] = prompter.tokenizer.encode(text, add_special_tokens=False).ids
    if len(ids) != 1:
        raise ValueError(f"{text!r} is {len(ids)} tokens in this tokenizer: a reward model needs one")
    return ids[0]
