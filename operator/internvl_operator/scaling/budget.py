"""One budget of GPUs over both sides, spent where it raises attainment most.

A request without a picture needs the language side alone. One with a picture needs both, and the side that has less
of what it needs bounds it. So with `n` replicas of `needed` ones, the share of requests that is answered in time is at
most `(1 - pictures) x L + pictures x min(V, L)`, where `V` and `L` are `min(1, n / needed)` of the two sides.
"""

from dataclasses import dataclass

WORTH = 0.05
"""Share of requests that another split must win before replicas of one side are given up for the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one side asks of the budget."""

    least: int
    """Replicas that it gets in any case."""
    wanted: int
    """Replicas that it would get without a budget, at least `least`."""
    needed: float
    """Replicas that its load and reserve ask for, not rounded."""
    now: int
    """Replicas that it was given last."""
    gpus: int
    """Of one replica, at least 1."""

    def gives(self, number: int) -> bool:
        """Whether `number` replicas are fewer than stand and are wanted."""
        return number < min(self.now, self.wanted)


@dataclass(frozen=True, slots=True)
class Split:
    """Replicas of vision and language, whose GPUs are within the budget, or their least numbers."""

    kept: tuple[int, int]
    """The best one that takes from no side what stands and is wanted there."""
    best: tuple[int, int]
    """The best one; that which is kept, unless it takes something and wins `WORTH` by it."""


def split(vision: Claim, language: Claim, gpus: int, pictures: float) -> Split:
    """The budget between both sides. `pictures` is the share of requests that have pictures, 0 to 1."""
    if _cost(vision, vision.wanted) + _cost(language, language.wanted) <= gpus:
        return _only((vision.wanted, language.wanted))
    splits = [
        (number, _rest(language, gpus - _cost(vision, number)))
        for number in range(vision.least, vision.wanted + 1)
        if _cost(vision, number) + _cost(language, language.least) <= gpus
    ]
    if not splits:
        return _only((vision.least, language.least))

    def value(pair: tuple[int, int]) -> tuple[float, float]:
        ours, theirs = _share(vision, pair[0]), _share(language, pair[1])
        answered = (1 - pictures) * theirs + pictures * min(ours, theirs)
        return answered, min(pair[0] / max(vision.wanted, 1), pair[1] / max(language.wanted, 1))

    best = max(splits, key=value)
    gentle = [pair for pair in splits if not (vision.gives(pair[0]) or language.gives(pair[1]))]
    if not gentle:  # the budget has become less
        return _only(best)
    kept = max(gentle, key=value)
    return Split(kept, best if value(best)[0] >= value(kept)[0] + WORTH else kept)


def alone(claim: Claim, gpus: int) -> int:
    """Replicas of a side that has the budget for itself."""
    return min(claim.wanted, max(claim.least, gpus // claim.gpus))


def _only(pair: tuple[int, int]) -> Split:
    return Split(pair, pair)


def _rest(claim: Claim, gpus: int) -> int:
    return max(claim.least, min(claim.wanted, gpus // claim.gpus))


def _cost(claim: Claim, number: int) -> int:
    return number * claim.gpus


def _share(claim: Claim, number: int) -> float:
    return min(1.0, number / claim.needed) if claim.needed > 0 else 1.0
