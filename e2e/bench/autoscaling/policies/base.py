"""What policies share: bounds, one rule a side, and settings that tuning tries."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeAlias

from e2e.bench.autoscaling.simulator.run import Policy
from e2e.bench.autoscaling.simulator.sample import Sample, SideSample, Targets
from e2e.bench.autoscaling.site import Site

Setting: TypeAlias = Mapping[str, float]
"""Named numbers. `least` is common to all: minReplicas as a share of the mean load, in replicas; at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideContext:
    """What whoever configures a side knows about it."""

    is_vision: bool
    places: int
    """Requests that a replica works at together."""
    mean: float
    """Replicas that the load of the first half keeps busy, on the mean."""
    most: int
    """maxReplicas, the same for every policy."""

    def least(self, setting: Setting) -> int:
        """The side's minReplicas."""
        return min(max(1, math.ceil(self.mean * setting.get("least", 0.0))), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What whoever configures a policy knows."""

    site: Site
    vision: SideContext
    language: SideContext


class SideRule(Protocol):
    """Decides one side. One object serves one run and may remember."""

    def decide(self, at: float, side: SideSample, sample: Sample) -> int:
        """Replicas from now on, within the bounds of the side."""


class PerSide:
    """Both sides by the same rule, each for itself."""

    def __init__(
        self, make: Callable[[SideContext], SideRule], context: Context, *, interval_s: float, age_s: float
    ) -> None:
        self.interval_s = interval_s
        self.age_s = age_s
        self._vision = make(context.vision)
        self._language = make(context.language)

    def decide(self, sample: Sample) -> Targets:
        """Ask both."""
        vision = sample.vision
        return Targets(
            vision=0 if vision is None else self._vision.decide(sample.at, vision, sample),
            language=self._language.decide(sample.at, sample.language, sample),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One policy in the comparison."""

    name: str
    title: str
    make: Callable[[Context, Setting], Policy]
    default: Setting
    """What its own documentation sets."""
    sweep: tuple[Setting, ...]
    """What tuning tries."""


def grid(**choices: tuple[float, ...]) -> tuple[Setting, ...]:
    """All combinations."""
    return tuple(dict(zip(choices, values, strict=True)) for values in product(*choices.values()))


class Window:
    """A mean over the last seconds, of values that each hold until the next one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """A new value; what is older than the window is forgotten."""
        self._values.append((at, value))
        while self._values[0][0] <= at - self._seconds:
            self._values.popleft()

    @property
    def mean(self) -> float:
        """Of the values in it."""
        return sum(value for _, value in self._values) / len(self._values)

    @property
    def highest(self) -> float:
        """Of the values in it."""
        return max(value for _, value in self._values)


class Rate:
    """How fast a counter grew since the last look."""

    def __init__(self) -> None:
        self._at = 0.0
        self._value = 0.0

    def since(self, at: float, value: float) -> float:
        """Per second; 0 at the first look."""
        seconds, grown = at - self._at, value - self._value
        self._at, self._value = at, value
        return grown / seconds if seconds > 0 else 0.0


def clipped(number: float, least: int, most: int) -> int:
    """A whole number within bounds."""
    return min(max(math.ceil(number - 1e-9), least), most)
