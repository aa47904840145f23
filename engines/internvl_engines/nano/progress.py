"""The figures that training prints: losses, and the share of right answers by task, since the last line."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from torch import Tensor

from internvl_engines.nano.dataset import Batch
from internvl_engines.nano.trainee import Sight


@dataclass(slots=True)
class Progress:
    """Counted before a batch is learnt from, and no picture comes twice: so these are figures on fresh pictures."""

    losses: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    of_losses: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def add_loss(self, name: str, loss: float) -> None:
        """Count one batch's loss; the line shows the mean."""
        self.losses[name] += loss
        self.of_losses[name] += 1

    def add_answers(self, batch: Batch, logits: Tensor) -> None:
        """Count one batch's answers; an answer is right when all its tokens are."""
        right = (logits.detach().argmax(-1) == batch.tokens).tolist()
        group = _group(batch)
        at = 0
        for task, size in batch.answers:
            self.add(task + group, int(all(right[at : at + size])), 1)
            at += size

    def add_sight(self, sight: Sight) -> None:
        """Count what the vision side named."""
        self.add_loss("sight", sight.loss.item())
        for sort, (right, asked) in sight.named.items():
            self.add(sort, right, asked)

    def add(self, name: str, right: int, asked: int) -> None:
        """Count answers of one sort."""
        self.right[name] += right
        self.asked[name] += asked

    def line(self) -> str:
        """Losses, then percent right by task."""
        losses = ", ".join(f"{name} {self.losses[name] / self.of_losses[name]:.3f}" for name in self.losses)
        shown = (name for name in sorted(self.asked) if self.asked[name])
        tasks = ", ".join(f"{name} {100 * self.right[name] / self.asked[name]:.0f}" for name in shown)
        return f"loss: {losses}; right %: {tasks}" if tasks else f"loss: {losses}"


def _group(batch: Batch) -> str:
    if len(batch.compress) and batch.compress.all():
        return ", compressed"
    return ", tiles" if len(batch.compress) > 4 * len(batch.samples) else ""
