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
        self.beside_prefill = 0

    def step(self, prefill: Part, decode: Part, *, seconds: float, saturated: bool, is_full: bool) -> None:
        """Add one step.

        While slots are free, sequences wait for prefill alone: what decodes beside it is no measure of decoding, and
        the step's time is what prefill took.

        Args:
            prefill: what was prefilled.
            decode: what was decoded.
            seconds: of the whole step. What it took beside its parts is theirs by their shares.
            saturated: whether sequences waited that it could not take.
            is_full: whether all slots were taken.
        """
        parts_s = prefill.seconds + decode.seconds
        whole = seconds / parts_s if parts_s > 0 else 0.0
        prefill_s, decode_s = prefill.seconds * whole, decode.seconds * whole
        prefill_full_s = prefill_s if is_full else seconds
        self.prefill = _add(self.prefill, prefill, prefill_s, prefill_full_s if saturated else None)
        self.decode = _add(self.decode, decode, decode_s, decode_s if saturated and is_full else None)
        self.decode_steps += decode.tokens > 0
        self.beside_prefill += decode.tokens if saturated and not is_full else 0


def _add(work: StageWork, part: Part, seconds: float, saturated_s: float | None) -> StageWork:
    """With a part of a step; `saturated_s` is None where it is no measure of a full engine."""
    return StageWork(
        work.done + part.tokens,
        work.busy_s + seconds,
        work.saturated_done + (0 if saturated_s is None else part.tokens),
        work.saturated_s + (saturated_s or 0.0),
    )
