"""Adds up what became of all requests, in bounded memory."""

from collections import Counter
from dataclasses import dataclass, field

from internvl_operator.load.outcomes import UNSENT, Outcome
from internvl_operator.load.quantiles import Quantiles

MOST_BINS = 240
MOST_ERRORS = 50
"""Kinds of errors that are told apart."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a caller wants to get."""

    first_token_s: float
    between_tokens_s: float

    def met(self, outcome: Outcome) -> bool:
        """Whether a request got both. One that failed did not."""
        if outcome.error is not None or outcome.first_token_s is None:
            return False
        between_s = outcome.between_tokens_s
        return outcome.first_token_s <= self.first_token_s and (
            between_s is None or between_s <= self.between_tokens_s
        )


@dataclass(slots=True)
class Bin:
    """What belongs to a piece of time: due, or ended, in it."""

    due: int = 0
    answered: int = 0
    failed: int = 0
    first_token: Quantiles = field(default_factory=Quantiles)
    """Of requests that were due in it."""

    def merge(self, other: "Bin") -> None:
        """Take another piece of time in."""
        self.due += other.due
        self.answered += other.answered
        self.failed += other.failed
        self.first_token.merge(other.first_token)


class Timeline:
    """Bins of one width; when they would be too many, the width doubles."""

    def __init__(self, width_s: float = 1.0) -> None:
        self.width_s = width_s
        self.bins: list[Bin] = []

    def at(self, at_s: float) -> Bin:
        """The bin of a moment, in seconds after the start."""
        while (index := int(at_s / self.width_s)) >= MOST_BINS:
            self._halve()
        while len(self.bins) <= index:
            self.bins.append(Bin())
        return self.bins[index]

    def _halve(self) -> None:
        self.width_s *= 2
        for even, odd in zip(self.bins[::2], self.bins[1::2], strict=False):
            even.merge(odd)
        self.bins = self.bins[::2]


class Tally:
    """All outcomes so far."""

    def __init__(self, objectives: Objectives, *, started: float) -> None:
        self.objectives = objectives
        self.started = started
        self.timeline = Timeline()
        self.due = self.answered = self.met = 0
        self.offered_s = 0.0
        """When the last request was due."""
        self.ended_s = 0.0
        """When the last one ended."""
        self.tokens = 0
        self.errors: Counter[str] = Counter()
        self.first_token = {False: Quantiles(), True: Quantiles()}
        """Of requests without and with pictures."""
        self.between_tokens = Quantiles()
        self.whole = Quantiles()
        self.late = Quantiles()

    @property
    def failed(self) -> int:
        """Requests that got no whole answer."""
        return self.errors.total()

    def add(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        due_s, ended_s = outcome.due - self.started, outcome.ended - self.started
        self.due += 1
        self.met += self.objectives.met(outcome)
        self.offered_s, self.ended_s = max(self.offered_s, due_s), max(self.ended_s, ended_s)
        self.timeline.at(due_s).due += 1
        if outcome.error == UNSENT:
            self._fail(UNSENT, ended_s)
            return
        self.late.add(outcome.late_s)
        if outcome.first_token_s is not None:
            self.first_token[outcome.pictures].add(outcome.first_token_s)
            self.timeline.at(due_s).first_token.add(outcome.first_token_s)
        if outcome.error is not None:
            self._fail(outcome.error, ended_s)
            return
        self.answered += 1
        self.tokens += outcome.tokens
        self.whole.add(outcome.whole_s)
        self.timeline.at(ended_s).answered += 1
        if outcome.between_tokens_s is not None:
            self.between_tokens.add(outcome.between_tokens_s)

    def _fail(self, error: str, ended_s: float) -> None:
        known = error in self.errors or len(self.errors) < MOST_ERRORS
        self.errors[error if known else "other"] += 1
        self.timeline.at(ended_s).failed += 1
