"""What a language engine's steps did and how long they took, apart for prefill and decode. No clock is read here."""

from dataclasses import dataclass

from internvl_runtimes.engines.base import StageWork


@dataclass(slots=True)
class Part:
    """One part of a step: prefill or decode."""

    name: str
    tokens: int = 0
    seconds: float = 0.0

    def ran(self, tokens: int, seconds: float) -> None:
        """Add a run of so many tokens; 0 for one that failed."""
        self.tokens += tokens
        self.seconds += seconds


class StepMeter:
    """Adds steps up. Written by the engine's thread; `prefill` and `decode` are whole whenever they are read."""

    def __init__(self) -> None:
        self.prefill = self.decode = StageWork()
        self.decode_steps = 0

    def step(self, prefill: Part, decode: Part, *, seconds: float, saturated: bool) -> None:
        """Add one step.

        Args:
            prefill: what was prefilled.
            decode: what was decoded.
            seconds: of the whole step. What it took beside its parts is theirs by their shares.
            saturated: whether sequences waited that it could not take.
        """
        parts_s = prefill.seconds + decode.seconds
        whole = seconds / parts_s if parts_s > 0 else 0.0
        self.prefill = _add(self.prefill, prefill, whole, saturated)
        self.decode = _add(self.decode, decode, whole, saturated)
        self.decode_steps += decode.tokens > 0


def _add(work: StageWork, part: Part, whole: float, saturated: bool) -> StageWork:
    seconds = part.seconds * whole
    return StageWork(
        work.done + part.tokens,
        work.busy_s + seconds,
        work.saturated_done + (part.tokens if saturated else 0),
        work.saturated_s + (seconds if saturated else 0.0),
    )
