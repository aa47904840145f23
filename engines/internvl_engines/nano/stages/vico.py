"""ViCO, consistency: both resolutions of a picture shall give the answers of the model before this stage.

Formula: InternVL3.5 (arXiv 2508.18265), section 2.3, eq. 7: L = E_xi mean_t KL(pi_ref(y_t | y_<t, I) ||
pi_theta(y_t | y_<t, I_xi)), xi drawn uniformly from {1/4, 1/16}, one rate for all tiles of a picture.
One thing is added: half of the larger pictures mix both rates, as the router will; the paper names no mixing.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from internvl_engines.nano.dataset import Drawer, Sample, all_kept, encode_batch
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages.lesson import Lesson, Surroundings, move
from internvl_engines.nano.trainee import Trainee


def consistency(reference: Tensor, student: Tensor) -> Tensor:
    """KL(reference || student) of each token: logits [A, V] twice -> [A]."""
    return functional.kl_div(
        student.log_softmax(-1), reference.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)


class Vico(Lesson):
    """loss = KL to the frozen model that the stage began with, mean over the answers' tokens."""

    def __init__(self, model: Trainee, around: Surroundings) -> None:
        super().__init__(model, around)
        self._reference = copy.deepcopy(model).requires_grad_(False).eval()

    def moving(self) -> Iterable[nn.Parameter]:
        """The whole model but the router."""
        yield from self._model.vision.parameters_but_router()
        yield from self._model.language.parameters()

    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """One tile, several tiles, several pictures."""
        groups = drawer.single(10, turns=3), drawer.several(26, turns=3), drawer.compared(4, turns=2)
        for samples in groups:
            with torch.no_grad():
                kept = encode_batch(samples, all_kept(samples), drawer.tokenizer)
                reference = self._reference.look_and_answer(kept)
            batch = encode_batch(samples, drawn_rates(samples, drawer.rng), drawer.tokenizer)
            logits = self._model.look_and_answer(batch)
            loss = consistency(reference, logits).mean()
            progress.add_answers(batch, logits)
            progress.add_loss("consistency", loss.item())
            move(loss / len(groups))


def drawn_rates(samples: Sequence[Sample], rng: random.Random) -> list[bool]:
    """For each tile whether it is compressed: by picture, or, in half of the larger pictures, tile by tile."""
    rates: list[bool] = []
    for sample in samples:
        for picture in sample.tiled:
            count = len(picture.pixels)
            if count > 1 and rng.random() < 0.5:
                share = rng.random()
                rates += [rng.random() < share for _ in range(count)]
            else:
                rates += [rng.random() < 0.5] * count
    return rates
