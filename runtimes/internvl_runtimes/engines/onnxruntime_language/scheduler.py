"""Who waits, who is prefilled, who decodes, who leaves. No tensors, no threads, the clock is an argument.

A step is some prefill and one token for every running sequence. Prefill is bounded by `prefill_tokens` a step, so
a long prompt is taken in pieces and the running sequences are not starved; several short prompts share a step.
First come, first served.

The engine calls `schedule`, runs what it says, and reports with `prefilled` and `token`. A sequence may be
cancelled between the two: what is reported of it then is ignored.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil

from internvl_runtimes.engines.base import TokenStep
from internvl_runtimes.engines.onnxruntime_language.sequence import Sequence
from internvl_runtimes.protocol.handover import Overloaded


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine takes on at most."""

    max_sequences: int
    """Sequences that hold a slot."""
    max_waiting: int
    """Sequences that wait for one."""
    waiting_rows: int
    """Visual rows that waiting sequences hold together. One request alone may hold more."""
    prefill_tokens: int = 512
    """Prompt tokens computed between two decode steps."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """Prompt tokens [start, stop) of one sequence."""

    sequence: Sequence
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Step:
    """What to compute next."""

    prefills: tuple[Prefill, ...]
    decodes: tuple[Sequence, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing to do."""
        return not (self.prefills or self.decodes)


class Scheduler:
    """The book of all sequences. Not thread-safe: the engine holds a lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Sequence] = deque()
        self._prefilling: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}
        self.begun = 0
        """Sequences that got a slot."""
        self._service_s = 0.0  # moving average of the seconds a sequence holds its slot

    @property
    def running(self) -> int:
        """Sequences that hold a slot."""
        return len(self._running) + len(self._prefilling)

    @property
    def is_full(self) -> bool:
        """All slots are taken."""
        return self.running >= self._limits.max_sequences

    @property
    def waiting(self) -> int:
        """Sequences that wait for a slot."""
        return len(self._waiting)

    @property
    def waiting_tokens(self) -> int:
        """Prompt tokens of the sequences that wait for a slot."""
        return sum(sequence.prompt_tokens for sequence in self._waiting)

    @property
    def cached_tokens(self) -> int:
        """Tokens in the cache of all running sequences."""
        return sum(sequence.cached_tokens for sequence in (*self._running.values(), *self._prefilling))

    def submit(self, sequence: Sequence) -> None:
        """Put a sequence into the queue.

        Raises:
            Overloaded: the queue is full, in sequences or in visual rows.
        """
        limits = self._limits
        if self.running + self.waiting >= limits.max_sequences + limits.max_waiting:
            raise Overloaded(
                f"{self.running} requests run and {self.waiting} wait, as many as may: try again later",
                retry_after_s=self._retry_after_s(),
            )
        rows = sum(other.visual_rows for other in self._waiting)
        if rows and rows + sequence.visual_rows > limits.waiting_rows:
            raise Overloaded(
                f"waiting requests hold {rows} visual rows, at most {limits.waiting_rows} may be held: try again later",
                retry_after_s=self._retry_after_s(),
            )
        self._waiting.append(sequence)

    def schedule(self, now: float) -> Step:
        """The next step; sequences leave the queue for it as slots and the prefill budget allow."""
        decodes = tuple(self._running.values())
        prefills: list[Prefill] = []
        budget = self._limits.prefill_tokens
        pending = iter(tuple(self._prefilling))
        while budget > 0 and (sequence := next(pending, None) or self._start_next(now)) is not None:
            stop = min(sequence.prompt_tokens, sequence.prefilled + budget)
            prefills.append(Prefill(sequence, sequence.prefilled, stop))
            budget -= stop - sequence.prefilled
        return Step(tuple(prefills), decodes)

    def prefilled(self, prefill: Prefill) -> None:
        """These prompt tokens are in the cache. After the last of them `token` must follow."""
        prefill.sequence.prefilled = prefill.stop

    def token(self, sequence: Sequence, token: int, now: float) -> TokenStep | None:
        """The sequence's next token. None if the sequence was cancelled meanwhile."""
        if sequence in self._prefilling:
            self._prefilling.remove(sequence)
            self._running[sequence.id] = sequence
            sequence.prompt, sequence.first_token_at = None, now
        elif sequence.id not in self._running:
            return None
        sequence.answer.append(token)
        if token in sequence.stop_token_ids:
            return self._leave(sequence, now).step(token, "stop")
        if len(sequence.answer) >= sequence.sampling.max_tokens:
            return self._leave(sequence, now).step(token, "length")
        return sequence.step(token, None)

    def cancel(self, sequence: Sequence) -> bool:
        """Forget a sequence wherever it is; its slot is free at once. False if it had left before."""
        for queue in (self._waiting, self._prefilling):
            if sequence in queue:
                queue.remove(sequence)
                return True
        return self._running.pop(sequence.id, None) is not None

    def all(self) -> tuple[Sequence, ...]:
        """Every sequence in the book."""
        return (*self._running.values(), *self._prefilling, *self._waiting)

    def running_ids(self) -> frozenset[int]:
        """Sequences whose keys and values must be kept."""
        return frozenset(self._running)

    def _start_next(self, now: float) -> Sequence | None:
        if not self._waiting or self.is_full:
            return None
        sequence = self._waiting.popleft()
        sequence.started_at = now
        self.begun += 1
        self._prefilling.append(sequence)
        return sequence

    def _leave(self, sequence: Sequence, now: float) -> Sequence:
        del self._running[sequence.id]
        held_s = now - sequence.started_at
        self._service_s = 0.8 * self._service_s + 0.2 * held_s if self._service_s else held_s
        return sequence

    def _retry_after_s(self) -> float:
        """When the queue as it stands will have been served, from 1 to 60 s."""
        rounds = ceil((self.waiting + 1) / self._limits.max_sequences)
        return min(max(self._service_s * rounds, 1.0), 60.0)
