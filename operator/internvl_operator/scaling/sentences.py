"""The sentences of a decision: every one says what was decided and the numbers that it rests on."""

import re
from collections.abc import Mapping

from internvl_operator.api.names import Role
from internvl_operator.scaling.capacity import Capacity
from internvl_operator.scaling.model import SideLoad, WorkKind
from internvl_operator.scaling.needs import Need

INPUT = {Role.VISION: "picture", Role.LANGUAGE: "request"}
"""What gives a side work."""


def head(role: Role, before: int, after: int) -> str:
    """`vision 2 -> 4`, or `vision stays at 2`."""
    return f"{role} stays at {after}" if before == after else f"{role} {before} -> {after}"


def sum_of(load: SideLoad, capacity: Mapping[WorkKind, Capacity], need: Need) -> str:
    """`61 tiles/s / 19.8 per replica = 3.1, + 0.7 reserve = 3.8`."""
    parts = [
        f"{figure(work.arriving)} {kind}/s / {figure(capacity[kind].value)} per replica"
        if kind in capacity
        else f"{figure(work.arriving)} {kind}/s (not measured yet)"
        for kind, work in load.work.items()
        if work.arriving
    ]
    text = " + ".join(parts) or "no load"
    text += f" = {figure(need.seen)}" if parts else ""
    if abs(need.load - need.seen) >= LEAST:
        text += f", smoothed {figure(need.load)}"
    if need.drain >= LEAST:
        text += f", + {figure(need.drain)} for {_waiting(load)} over {need.drain_s:.0f} s"
    if need.reserve >= LEAST:
        text += f", + {figure(need.reserve)} reserve"
    return f"{text} = {figure(need.total)}" if need.total - need.load >= LEAST else text


LEAST = 0.01
"""Replicas; less is not mentioned."""


def figure(value: float) -> str:
    """Three digits, and all of a whole number."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def minutes(seconds: float) -> str:
    """`45 s`, `5 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def not_before(at: float) -> str:
    """`fewer not before 14:05:30 UTC`, of a time in seconds since 1970."""
    minute, second = divmod(round(at) % 86_400, 60)
    hour, minute = divmod(minute, 60)
    return f"fewer not before {hour:02}:{minute:02}:{second:02} UTC"


_RESERVE = re.compile(r", \+ \S+ reserve = \S+(?=;|$)")


def without_reserve(why: str) -> str:
    """A sentence without its reserve: that fades for hours after a load, which by itself is nothing new."""
    return _RESERVE.sub("", why)


def _waiting(load: SideLoad) -> str:
    queued = [f"{figure(work.waiting)} {kind}" for kind, work in load.work.items() if work.waiting]
    return f"{' and '.join(queued)} that wait"
