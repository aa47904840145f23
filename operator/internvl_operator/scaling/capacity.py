"""What one replica manages, learned from windows in which replicas were full.

Learning is bounded: one window moves a known figure by 5 % at most, and never beyond four times, or below a quarter
of, what the user states. Before a figure is known a window may move it anywhere, so it is not relied upon yet
(`wish.py`).
"""

from dataclasses import dataclass, replace

from internvl_operator.scaling.model import Work

LEAST_EVIDENCE_S = 2.0
"""Replica-seconds; less is not measured, for a batch may begin in one window and end in the next."""
KNOWN_S = 30.0
"""A figure that was measured for so long is known; until then it is the mean of what was seen. A window counts for its
length at most, however many replicas were full in it: what slows one at first, such as a cold cache, slows all."""
FARTHEST = 1.2
"""A window that is farther from a known figure counts as this far."""
LARGEST_SHARE = 0.25
"""Of a window in a known figure."""
SLOWNESS_S = 120.0
"""Replica-seconds of a window that would count half, if it could."""
SLOWEST = 0.001
"""Units per second; a replica that did less is stuck, and was not measured."""
TRUST = 4.0
"""A figure stays within this factor of the stated one."""
RESTATED = 1.2
"""A figure that moves by more than this factor is another measurement: learning begins there again."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Units per second of one replica, of one kind of work."""

    value: float
    evidence_s: float = 0.0
    """Seconds that it was measured for, at most `KNOWN_S`. 0: it is that of another replica, and a first guess."""
    stated: float | None = None
    """What the user stated when learning began; None: no figure is stated, and none bounds it."""

    @property
    def is_unproven(self) -> bool:
        """Whether it was measured, and not for long enough."""
        return 0 < self.evidence_s < KNOWN_S


def guessed(known: Capacity) -> Capacity:
    """The figure where replicas are others now: a stated one counts at once, else the first measurement."""
    return Capacity(known.value)


def learned(
    known: Capacity | None, work: Work | None, stated: float | None, *, window_s: float
) -> Capacity | None:
    """What is known after one window of this length. None: nobody stated a figure, and no replica was full yet."""
    known = _begun(known, stated)
    if work is None or work.seconds_while_full < LEAST_EVIDENCE_S:
        return known
    measured = work.done_while_full / work.seconds_while_full
    return known if measured < SLOWEST else _moved(known, measured, work.seconds_while_full, window_s)


def _begun(known: Capacity | None, stated: float | None) -> Capacity | None:
    if stated is None:
        return None if known is None else replace(known, stated=None)
    if known is None or known.stated is None or not is_near(stated, known.stated):
        return Capacity(stated, KNOWN_S, stated)
    return known


def is_near(one: float, other: float) -> bool:
    """Whether two figures may be of one measurement."""
    return max(one, other) <= RESTATED * min(one, other)


def _moved(known: Capacity | None, measured: float, seconds_while_full: float, window_s: float) -> Capacity:
    evidence_s = min(seconds_while_full, max(window_s, LEAST_EVIDENCE_S))
    if known is None:
        return Capacity(measured, min(evidence_s, KNOWN_S))
    if known.evidence_s < KNOWN_S:
        share = evidence_s / (known.evidence_s + evidence_s)
        near = measured
    else:
        share = min(LARGEST_SHARE, seconds_while_full / (seconds_while_full + SLOWNESS_S))
        near = min(max(measured, known.value / FARTHEST), known.value * FARTHEST)
    value = known.value + share * (near - known.value)
    if known.stated is not None:
        value = min(max(value, known.stated / TRUST), known.stated * TRUST)
    return Capacity(value, min(known.evidence_s + evidence_s, KNOWN_S), known.stated)
