"""ViCO, router: which tiles can be compressed, learnt from how much the answers suffer when one is.

Rule: InternVL3.5 (arXiv 2508.18265), section 2.3, eq. 8 and 9: r_i = L_ViCO(y | I_1/16) / L_ViCO(y | I_1/4) of each
tile; "compress" (class 0) where r_i < tau, tau the k-th percentile of a sliding window of past ratios; cross-entropy;
only the router moves. L_ViCO is eq. 7, against the reference of the stage ``vico``.
Read so here: in I_1/16 tile i alone is compressed. Other than there: k is 60, where the paper balances both labels,
since half of the tiles compressed save no more than 37.5 % of the tokens; the window holds the present step's ratios.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from internvl_engines.nano.dataset import Batch, Drawer, Sample, all_kept, encode_batch
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages.lesson import Lesson, Surroundings, move
from internvl_engines.nano.stages.vico import consistency
from internvl_engines.nano.trainee import Trainee

PERCENTILE = 0.6
"""k: share of the tiles that shall be compressed."""
WINDOW = 4096
_FLOOR = 1e-3
"""Added to both losses, in nats a token: without it a tile on which nothing depends has a ratio of noise."""
_PRINTED = 0.25
"""Of the steps ask for print, the paper's OCR subset."""


class Router(Lesson):
    """loss = cross-entropy of the router's two classes against the labels."""

    def __init__(self, model: Trainee, around: Surroundings) -> None:
        super().__init__(model, around)
        self._reference = copy.deepcopy(model).requires_grad_(False).eval()
        self._reference.load_state_dict(around.weights_after("mpo"))
        self._window: deque[float] = deque(maxlen=WINDOW)
        model.vision.mlp2.eval()  # its dropouts would be noise in the ratios

    def moving(self) -> Iterable[nn.Parameter]:
        """The router."""
        return self._model.vision.router_parameters()

    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """Larger pictures and comparisons: a lone tile has no choice that another tile could make good."""
        printed = drawer.rng.random() < _PRINTED
        samples = drawer.print_in_tiles(24) if printed else drawer.several(24, turns=3)
        if drawer.rng.random() < 0.2:
            samples = drawer.compared(3, turns=1)
        with torch.no_grad():
            patches = [self._model.patches(_alone(sample, drawer)) for sample in samples]
            ratios = torch.cat([self._ratios(s, p, drawer) for s, p in zip(samples, patches, strict=True)])
        self._window.extend(self._around.shared(ratios.tolist()))
        tau = float(np.quantile(np.array(self._window), PERCENTILE))
        labels = (ratios >= tau).long()  # 0: compress, 1: keep
        classes = self._model.vision.route_logits(torch.cat(patches))
        loss = functional.cross_entropy(classes, labels)
        progress.add_loss("routes", loss.item())
        progress.add("as labelled", int((classes.argmax(-1) == labels).sum()), len(labels))
        progress.add("labelled compress", int((labels == 0).sum()), len(labels))
        move(loss)

    def remembered(self) -> dict[str, list[float]]:
        """The window of ratios."""
        return {"window": list(self._window)}

    def remember(self, figures: Mapping[str, list[float]]) -> None:
        """Take the window of ratios."""
        self._window.extend(figures["window"])

    def _ratios(self, sample: Sample, patches: Tensor, drawer: Drawer) -> Tensor:
        """R of each tile of one sample: the sample once as it is, and once for each tile with that compressed."""
        tiles = sample.tiles
        kept, folded = self._model.vision.keep(patches).float(), self._model.vision.compress(patches).float()
        rates = torch.cat([torch.zeros(1, tiles, dtype=torch.bool), torch.eye(tiles, dtype=torch.bool)])
        batch = encode_batch([sample] * (tiles + 1), rates.flatten().tolist(), drawer.tokenizer)
        rows = torch.cat([folded[i] if r else kept[i] for way in rates for i, r in enumerate(way.tolist())])
        reference = self._reference.look_and_answer(_alone(sample, drawer))
        losses = consistency(reference.repeat(tiles + 1, 1), self._model.logits(batch, rows))
        by_way = losses.reshape(tiles + 1, -1).mean(-1) + _FLOOR
        return by_way[1:] / by_way[0]


def _alone(sample: Sample, drawer: Drawer) -> Batch:
    return encode_batch([sample], all_kept([sample]), drawer.tokenizer)
