"""The figures that training prints: loss, and the share of right answers by task, since the last line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from internvl_engines.nano.dataset import Batch
from internvl_engines.nano.trainee import Seen


@dataclass(slots=True)
class Progress:
    """Counted before a batch is learnt from, and no picture comes twice: so these are held-out figures."""

    loss: float = 0.0
    sight: float = 0.0
    steps: int = 0
    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def add_answers(self, batch: Batch, loss: float, right_tokens: list[bool]) -> None:
        """Count one batch's answers; an answer is right when all its tokens are."""
        self.loss += loss
        group = ", 4 tokens a tile" if batch.compress else ", tiles" if _several(batch) else ""
        at = 0
        for conversation in batch.conversations:
            for answer in conversation.answers:
                size = answer.stop - answer.start
                self.asked[answer.task + group] += 1
                self.right[answer.task + group] += all(right_tokens[at : at + size])
                at += size

    def add_seen(self, seen: Seen) -> None:
        """Count what the vision side named."""
        self.sight += seen.loss.item()
        for task, (right, asked) in (("colour seen", seen.colours), ("kind seen", seen.kinds)):
            self.right[task] += right
            self.asked[task] += asked

    def line(self) -> str:
        """Losses, then percent right by task."""
        count = max(1, self.steps)
        tasks = ", ".join(
            f"{task} {100 * self.right[task] / self.asked[task]:.0f}" for task in sorted(self.asked)
        )
        return f"loss {self.loss / count:.3f}, sight {self.sight / count:.3f}; right %: {tasks}"


def _several(batch: Batch) -> bool:
    return batch.pixels is not None and len(batch.pixels) > len(batch.conversations)
