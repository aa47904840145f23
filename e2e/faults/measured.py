"""What one case measured: the requests, what the status said meanwhile, and the figures that follow. Pure values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

OUTAGE_S = 3.0
"""A shorter pause between two right answers is none: a request takes a part of it."""
NOTICE_S = 5.0
"""The status may speak this much later than the first request that waits."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load; times are seconds since the epoch."""

    began: float
    ended: float
    outcome: str
    """`right`, `wrong` or `failed`."""
    detail: str = ""
    pieces: int = 0
    """Pieces of a stream that had come."""
    stream: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Request":
        """From a line of the client's record."""
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the status said at a moment, about Ready."""

    at: float
    ready: str
    """`True`, `False`, `Unknown`, or empty while the API server gave no answer."""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which no answer came."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.began


def outages(requests: Sequence[Request], *, until: float) -> list[Outage]:
    """Times longer than `OUTAGE_S` between two right answers, or after the last one."""
    ends = sorted(request.ended for request in requests if request.outcome == "right")
    return [Outage(one, other) for one, other in pairwise([*ends, until]) if other - one > OUTAGE_S]


def healed_after_s(
    requests: Sequence[Request], spoken: Sequence[Spoken], *, fault_at: float, until: float
) -> float:
    """Seconds from the fault until every answer is right again and the status says Ready."""
    ill = [fault_at]
    ill += [request.ended for request in requests if request.outcome != "right"]
    ill += [outage.ended for outage in outages(requests, until=until)]
    ill += [said.at for said in spoken if said.ready not in ("True", "")]
    return max(moment for moment in ill if moment >= fault_at) - fault_at


def untrue_s(requests: Sequence[Request], spoken: Sequence[Spoken], *, until: float) -> float:
    """Seconds in which the status said Ready while no answer came, without the first `NOTICE_S` of each outage."""
    total = 0.0
    for outage in outages(requests, until=until):
        silent_from = outage.began + NOTICE_S
        for said, after in zip(spoken, [*spoken[1:], Spoken(until, "")], strict=True):
            if said.ready == "True":
                total += max(0.0, min(after.at, outage.ended) - max(said.at, silent_from))
    return total


def changes(spoken: Sequence[Spoken], *, since: float) -> list[str]:
    """What the status said, each sentence once, with seconds since the fault."""
    lines: list[str] = []
    last: tuple[str, str, str] | None = None
    for said in spoken:
        now = (said.ready, said.reason, said.message)
        if now != last:
            lines.append(f"{said.at - since:+.1f} s Ready={said.ready or '?'} {said.reason}: {said.message}")
            last = now
    return lines
