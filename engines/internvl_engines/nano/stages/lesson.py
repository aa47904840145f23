"""What every stage is: parameters that move, and the gradient of one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from internvl_engines.nano.dataset import Drawer
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.schedule import StageName
from internvl_engines.nano.trainee import Trainee


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stage may ask of the training around it."""

    shared: Callable[[list[float]], list[float]]
    """Figures of this process -> those of all processes, in the order of the processes."""
    weights_after: Callable[[StageName], Mapping[str, Tensor]]
    """The model as an earlier stage left it."""


class Lesson(ABC):
    """One stage at work on a model that the stage before it left."""

    def __init__(self, model: Trainee, around: Surroundings) -> None:
        self._model, self._around = model, around

    @abstractmethod
    def moving(self) -> Iterable[nn.Parameter]:
        """What the optimizer changes; everything else stays fixed."""

    @abstractmethod
    def backward(self, drawer: Drawer, progress: Progress) -> None:
        """Draw one step's samples, count them, and add the gradients of the loss."""

    def remembered(self) -> dict[str, list[float]]:
        """What a training that goes on must know beside the weights."""
        return {}

    def remember(self, figures: Mapping[str, list[float]]) -> None:
        """Take up ``remembered`` of an interrupted training."""
        del figures


def move(loss: Tensor) -> None:
    """Add a loss's gradients; a batch may by chance hold nothing that moves."""
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
