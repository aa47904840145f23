"""Teaches a checkpoint in VisualPRM's form to score steps: minutes, the language model alone.

loss = cross-entropy of (``+``, ``-``) at the token before each answer, mean over the steps (VisualPRM, arXiv
2503.10291: a step's label is a token, and the loss is that of predicting it).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from internvl_engines.nano.pictures import draw
from internvl_engines.nano.reward import BAD, GOOD, answer_places, reward_messages, score_token
from internvl_engines.nano.solutions import Solution, random_solution
from internvl_engines.reference.model import InternVL, load_model
from internvl_runtimes.preprocess.prompt import Prompter
from internvl_runtimes.preprocess.tiling import tile

STEPS = 400
_BATCH = 16
_PEAK = 1e-3
_HELD_OUT = 100


@dataclass(frozen=True, slots=True)
class _Batch:
    embeddings: Tensor
    """[solutions, T, H], padded on the right, where causal attention never looks from an answer."""
    rows: Tensor
    """int64 [steps]: the solution of each step."""
    places: Tensor
    """int64 [steps]: the token before its answer."""
    right: Tensor
    """bool [steps]."""


def teach_reward(checkpoint: Path, *, steps: int, seed: int = 0) -> tuple[dict[str, Tensor], float]:
    """Train on solutions about pictures of one tile.

    Args:
        checkpoint: in the form of ``InternVLChatModel``; it is not written to.
        steps: of training; 0 only measures.
        seed: of pictures and solutions.

    Returns:
        The language model's tensors by their names in a checkpoint, and the share of held-out steps that
        are rightly judged (P(``+``) above one half where the step is right).
    """
    model = load_model(checkpoint)
    prompter = Prompter(checkpoint / "tokenizer.json", model.config)
    pair = [score_token(prompter, text) for text in (GOOD, BAD)]
    rng = random.Random(f"reward:{seed}")
    optimizer = torch.optim.AdamW(model.language.parameters(), lr=_PEAK, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for _ in range(steps):
        batch = _encode(model, prompter, [random_solution(rng) for _ in range(_BATCH)])
        loss = functional.cross_entropy(_logits(model, batch, pair), (~batch.right).long())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.language.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    held_out = [
        random_solution(random.Random(f"held-out reward:{n}"), held_out=n % 3 == 0) for n in range(_HELD_OUT)
    ]
    with torch.no_grad():
        batch = _encode(model, prompter, held_out)
        judged = _logits(model, batch, pair).argmax(-1) == 0
    weights = {
        f"language_model.{name}": value.detach()
        for name, value in model.language.state_dict().items()
        if name != "lm_head.weight"
    }
    return weights, float((judged == batch.right).float().mean())


def _encode(model: InternVL, prompter: Prompter, solutions: Sequence[Solution]) -> _Batch:
    config = model.config
    pixels = [
        tile(
            draw(solution.scene), tile_size=config.image_size, min_tiles=1, max_tiles=1, use_thumbnail=False
        ).pixels
        for solution in solutions
    ]
    with torch.no_grad():
        features = model.vision.keep(
            model.vision.patches(torch.cat([torch.from_numpy(part) for part in pixels]))
        )
    embedded: list[Tensor] = []
    rows: list[int] = []
    places: list[Tensor] = []
    for number, (solution, picture) in enumerate(zip(solutions, features, strict=True)):
        texts = [step.text for step in solution.steps]
        prompt = prompter.prompt(reward_messages(solution.question.text, texts, pictures=1))
        ids = torch.from_numpy(prompter.widen(prompt.ids, [len(picture)]).ids)
        embedded.append(model.prompt_embeddings(ids, picture, prompter.image_context_id)[0])
        places.append(answer_places(prompter, ids, steps=len(texts)))
        rows += [number] * len(texts)
    right = [step.right for solution in solutions for step in solution.steps]
    return _Batch(
        torch.nn.utils.rnn.pad_sequence(embedded, batch_first=True),
        torch.tensor(rows),
        torch.cat(places),
        torch.tensor(right),
    )


def _logits(model: InternVL, batch: _Batch, pair: list[int]) -> Tensor:
    """Logits of the two score tokens at each step, [steps, 2]."""
    hidden = model.language.model(inputs_embeds=batch.embeddings, use_cache=False).last_hidden_state
    logits: Tensor = model.language.lm_head(hidden[batch.rows, batch.places])[:, pair]
    return logits
