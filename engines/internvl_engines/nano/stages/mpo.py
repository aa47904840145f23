"""MPO: mixed preference optimisation, on pairs of the right answer and one that is nearly right.

Formulas: "Enhancing the Reasoning Ability of Multimodal Large Language Models via Mixed Preference Optimization"
(arXiv 2411.10442), section 4.1; weights and beta as in its experiments and in InternVL's own training scripts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from internvl_engines.nano.dataset import Batch, Drawer, Sample, all_kept, encode_batch
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages.lesson import Lesson, Surroundings, move
from internvl_engines.nano.trainee import Trainee

BETA = 0.1
PREFERENCE, QUALITY, GENERATION = 0.8, 0.2, 1.0
"""w_p, w_q, w_g."""
_SHIFT_MEMORY = 0.9
"""Of the moving average that is BCO's reward shift."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The three terms over a batch of pairs."""

    preference: Tensor
    quality: Tensor
    generation: Tensor
    rewards: Tensor
    """[pairs, 2]: beta log(policy / reference) of the chosen and of the rejected answer."""

    @property
    def total(self) -> Tensor:
        """w_p L_p + w_q L_q + w_g L_g."""
        return PREFERENCE * self.preference + QUALITY * self.quality + GENERATION * self.generation


def losses(policy: Tensor, reference: Tensor, chosen_tokens: Tensor, shift: float) -> Losses:
    """DPO + BCO + language-model loss of pairs.

    Args:
        policy: log p of the answers, [pairs, 2]: chosen, rejected.
        reference: the same under the model that the stage began with.
        chosen_tokens: tokens of the chosen answers, [pairs].
        shift: delta of BCO, the moving average of the rewards.
    """
    rewards = BETA * (policy - reference)
    chosen, rejected = rewards.unbind(1)
    return Losses(
        preference=-functional.logsigmoid(chosen - rejected).mean(),
        quality=-(functional.logsigmoid(chosen - shift) + functional.logsigmoid(shift - rejected)).mean(),
        generation=(-policy[:, 0] / chosen_tokens).mean(),
        rewards=rewards.detach(),
    )


class Mpo(Lesson):
    """loss = w_p DPO + w_q BCO + w_g LM, against the frozen model that the stage began with."""

    def __init__(self, model: Trainee, around: Surroundings) -> None:
        super().__init__(model, around)
        self._reference = copy.deepcopy(model).requires_grad_(False).eval()
        self._shift = 0.0

    def moving(self) -> Iterable[nn.Parameter]:
        """Tower, projector and language model."""
        yield from self._model.vision.vision_model.parameters()
        yield from self._model.vision.mlp1.parameters()
        yield from self._model.language.parameters()

    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """Pairs about one tile, several tiles and several pictures."""
        groups = drawer.single(16, turns=1), drawer.several(20, turns=1), drawer.compared(4, turns=1)
        rewards: list[float] = []
        for samples in groups:
            chosen = [sample for sample in map(_last_turn, samples) if sample.turns[-1].near_miss]
            if not chosen:
                continue
            pairs = losses(*self._log_probabilities(chosen, drawer, progress), self._shift)
            for name in ("preference", "quality", "generation"):
                progress.add_loss(name, getattr(pairs, name).item())
            preferred = pairs.rewards[:, 0] > pairs.rewards[:, 1]
            progress.add("preferred", int(preferred.sum()), len(preferred))
            rewards += pairs.rewards.flatten().tolist()
            move(pairs.total / len(groups))
        together = self._around.shared(rewards)
        mean = sum(together) / max(1, len(together))
        self._shift = _SHIFT_MEMORY * self._shift + (1 - _SHIFT_MEMORY) * mean

    def remembered(self) -> dict[str, list[float]]:
        """The reward shift."""
        return {"shift": [self._shift]}

    def remember(self, figures: Mapping[str, list[float]]) -> None:
        """Take the reward shift."""
        (self._shift,) = figures["shift"]

    def _log_probabilities(
        self, chosen: list[Sample], drawer: Drawer, progress: Progress
    ) -> tuple[Tensor, Tensor, Tensor]:
        rejected = [_with_answer(sample, sample.turns[-1].near_miss) for sample in chosen]
        batches = [encode_batch(side, all_kept(side), drawer.tokenizer) for side in (chosen, rejected)]
        policy = _both_sides(self._model, batches, progress)
        with torch.no_grad():
            reference = _both_sides(self._reference, batches, None)
        sizes = torch.tensor([size for _, size in batches[0].answers])
        return policy, reference, sizes


def _both_sides(model: Trainee, batches: list[Batch], progress: Progress | None) -> Tensor:
    """Log p of each answer, [samples, 2]; the pictures of both sides are the same, so they are seen once."""
    rows = model.rows(model.patches(batches[0]), batches[0].compress)
    sides = []
    for number, batch in enumerate(batches):
        logits = model.logits(batch, rows)
        if progress is not None and number == 0:
            progress.add_answers(batch, logits)
        tokens = -functional.cross_entropy(logits, batch.tokens, reduction="none")
        of_answer = torch.repeat_interleave(torch.tensor([size for _, size in batch.answers]))
        sides.append(tokens.new_zeros(len(batch.answers)).index_add(0, of_answer, tokens))
    return torch.stack(sides, dim=1)


def _last_turn(sample: Sample) -> Sample:
    """A single question of the sample; one that needs the turns before it would mean nothing alone."""
    turns = [turn for turn in sample.turns if turn.task != "turns"]
    return replace(sample, turns=tuple(turns[-1:]) or sample.turns[:1], image_turn=0)


def _with_answer(sample: Sample, answer: str) -> Sample:
    return replace(sample, turns=(replace(sample.turns[-1], answer=answer),))
