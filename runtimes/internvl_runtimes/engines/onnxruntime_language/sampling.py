"""From logits to a token: greedy, or by temperature with the sequence's own generator."""

import numpy as np
import numpy.typing as npt


class LogitsInvalid(ValueError):
    """The logits of a sequence are not finite: the model or its input is broken."""


def choose_token(
    logits: npt.NDArray[np.float32], *, temperature: float, generator: np.random.Generator
) -> int:
    """The next token.

    Args:
        logits: float32 [V].
        temperature: 0 takes the greatest logit (the first of equals); else the softmax of logits / temperature.
        generator: gives one number a sampled token, none for a greedy one.

    Raises:
        LogitsInvalid: the greatest logit is not a finite number.
    """
    best = int(logits.argmax())  # a NaN counts as the greatest
    if not np.isfinite(logits[best]):
        raise LogitsInvalid(f"the greatest logit is {logits[best]}")
    if temperature <= 0:
        return best
    weights = np.exp((logits.astype(np.float64) - logits[best]) / temperature)
    cumulative = np.cumsum(weights)
    place = np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")
    return int(min(place, len(logits) - 1))
