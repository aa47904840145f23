"""What the decision remembers from round to round: bounded, and small enough to be kept with the service.

Its clock is its own. It goes on by the time between two rounds, never back, and over a gap (an operator that was
stopped, a clock that was set) by no more than `LONGEST_ROUND_S`: so no such thing ends a quiet window.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from internvl_operator.api.names import Role
from internvl_operator.scaling.capacity import Capacity
from internvl_operator.scaling.mix import Mix
from internvl_operator.scaling.model import SIDES, WorkKind
from internvl_operator.scaling.quiet import Quiet
from internvl_operator.scaling.rises import BUCKETS, Rises, Slot
from internvl_operator.scaling.smooth import Smooth
from internvl_operator.scaling.starts import Starts

LONGEST_ROUND_S = 60.0
VERSION = 2
"""Of the written form; another one is not read."""


@dataclass(frozen=True, slots=True)
class SideHistory:
    """One side's."""

    target: int | None = None
    """What was decided last; None while nothing is decided about the side, for somebody else owns it."""
    asked: int | None = None
    """What it asked of the budget while its load is unknown: asking for what it got would be less each round."""
    loaded_at: float = 0.0
    """`SideLoad.at` of the newest load that was learned from."""
    replica: str = ""
    """`SideSeen.replica` of the replicas that it was learned from; empty: not known yet."""
    busy_at: float | None = None
    """When there was work last, on the history's own clock."""
    request_s: float | None = None
    """Replica-seconds of one request, when any came last; None while none was counted."""
    smooth: Smooth = field(default_factory=Smooth)
    rises: Rises = field(default_factory=Rises)
    quiet: Quiet = field(default_factory=Quiet)
    starts: Starts = field(default_factory=Starts)
    capacity: Mapping[WorkKind, Capacity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """One service's. `History()` is that of a service that was never decided about."""

    at: float | None = None
    """When the last decision was made, in seconds since 1970."""
    clock: float = 0.0
    """Seconds that the history has lived through."""
    sides: Mapping[Role, SideHistory] = field(default_factory=dict)
    mix: Mix = field(default_factory=Mix)
    contested_at: float | None = None
    """Since when, on its own clock, a budget would serve more requests if one side gave up replicas for the other."""
    is_read: bool = False
    """It was read back, and no decision was made since."""

    def of(self, role: Role) -> SideHistory:
        """One side's, empty when there is none."""
        return self.sides.get(role) or SideHistory()

    def is_resumed(self, now: float) -> bool:
        """Whether it is new, or there was no decision for so long that it may be older than the numbers that stand."""
        return self.at is None or now - self.at > LONGEST_ROUND_S

    def at_time(self, now: float) -> "History":
        """The same with its clock set forward to `now`."""
        passed_s = 0.0 if self.at is None else min(max(now - self.at, 0.0), LONGEST_ROUND_S)
        return replace(self, at=now, clock=self.clock + passed_s, is_read=False)


def to_json(history: History) -> str:
    """One line, below 4 KB."""
    document = {
        "v": VERSION,
        "at": history.at,
        "clock": round(history.clock, 1),
        "mix": [_short(history.mix.with_pictures), _short(history.mix.all), history.mix.at],
        "contested": None if history.contested_at is None else round(history.contested_at, 1),
        **{role.value: _side_document(side) for role, side in sorted(history.sides.items())},
    }
    return json.dumps(document, separators=(",", ":"))


def from_json(text: str | None) -> History:
    """Read it back. What is absent, damaged or of another version is an empty history: learning begins anew."""
    try:
        document = json.loads(text or "")
        if document["v"] != VERSION:
            return History()
        sides = {role: _side(document[role.value]) for role in SIDES if role.value in document}
        return History(
            at=None if document["at"] is None else _number(document["at"]),
            clock=_number(document["clock"]),
            sides=sides,
            mix=Mix(*map(_number, document.get("mix", ()))),  # documents of an earlier operator have none
            contested_at=None if document.get("contested") is None else _number(document["contested"]),
            is_read=True,
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
        return History()


def _side_document(side: SideHistory) -> dict[str, Any]:
    rises, starts = side.rises, side.starts
    return {
        "target": side.target,
        "held": side.asked,
        "loaded": side.loaded_at,
        "replica": side.replica,
        "busy": None if side.busy_at is None else round(side.busy_at, 1),
        "request": _short(side.request_s),
        "smooth": [_short(side.smooth.mean), _short(side.smooth.load)],
        "slots": [
            [round(item.begun, 1), _short(item.mean), _short(item.highest), _short(item.made_for)]
            for item in rises.slots
        ],
        "kept": [[round(when, 1), _short(number)] for when, number in rises.made_for.needed],
        "rises": {str(index): _short(work) for index, work in sorted(rises.buckets.items())},
        "work": _short(rises.work),
        "tops": [[round(when, 1), _short(rise)] for when, rise in rises.tops],
        "seen": round(rises.seen_s),
        "peak": _short(rises.peak),
        "quiet": [[round(when, 1), number] for when, number in side.quiet.needed],
        "starts": [round(lasted_s, 1) for lasted_s in starts.lasted_s],
        "start": None if starts.since is None else [round(starts.since, 1), starts.goal],
        "capacity": {
            kind.value: [_short(item.value), _short(item.evidence_s), item.stated]
            for kind, item in sorted(side.capacity.items())
        },
    }


def _side(document: Mapping[str, Any]) -> SideHistory:
    start = document["start"]
    mean, load = document["smooth"]
    lasted_s = tuple(_number(item) for item in document["starts"])
    return SideHistory(
        target=None if document["target"] is None else int(document["target"]),
        asked=None if document["held"] is None else int(document["held"]),
        loaded_at=_number(document["loaded"]),
        replica=str(document.get("replica", "")),  # documents of an earlier operator have none
        busy_at=None if document["busy"] is None else _number(document["busy"]),
        request_s=None if document.get("request") is None else _not_negative(document["request"]),
        smooth=Smooth(None if mean is None else _number(mean), _number(load)),
        rises=_rises(document),
        quiet=Quiet(tuple((_number(when), int(number)) for when, number in document["quiet"])),
        starts=Starts(lasted_s) if start is None else Starts(lasted_s, _number(start[0]), int(start[1])),
        capacity={
            WorkKind(kind): Capacity(
                _positive(value), _number(evidence_s), None if stated is None else _positive(stated)
            )
            for kind, (value, evidence_s, stated) in document["capacity"].items()
        },
    )


def _rises(document: Mapping[str, Any]) -> Rises:
    return Rises(
        slots=tuple(
            Slot(_number(begun), _number(mean), 1, _number(highest), _number(made_for))
            for begun, mean, highest, made_for in document["slots"]
        ),
        made_for=Quiet(tuple((_number(when), _number(number)) for when, number in document["kept"])),
        buckets={min(int(index), BUCKETS): _number(work) for index, work in document["rises"].items()},
        work=_number(document["work"]),
        tops=tuple((_number(when), _number(rise)) for when, rise in document["tops"]),
        seen_s=_number(document["seen"]),
        peak=_number(document["peak"]),
    )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _not_negative(value: Any) -> float:
    if (number := _number(value)) < 0:
        raise ValueError(value)
    return number


def _positive(value: Any) -> float:
    if (number := _number(value)) <= 0:
        raise ValueError(value)
    return number


def _short(value: float | None) -> float | None:
    """Four digits are enough, and keep it short."""
    return None if value is None else float(f"{value:.4g}")
