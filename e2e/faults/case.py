"""One case: a fault, what it may cost, and how it is run."""

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from e2e.bench.result import Goal
from e2e.cluster.errors import ClusterFailed
from e2e.faults.load import Load, constant_load
from e2e.faults.measured import Request, Spoken, changes, healed_after_s, outages, untrue_s
from e2e.faults.watching import StatusWatch
from e2e.platform.world import World

BEFORE_S = 3.0
CALM_S = 6.0
"""So long must everything be well before a case ends."""
LONGEST_S = 170.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault under load."""

    name: str
    title: str
    act: Callable[[World], None]
    """Breaks something, and does what an administrator would do about it; what we heal ourselves is not in here."""
    heals_within_s: float
    may_lose: int = 0
    """Requests that may fail, beside streams that were in the middle of an answer."""
    may_break_streams: bool = False
    untrue_s: float = 10.0
    """Seconds in which the status may say Ready while nothing is answered."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[World, ExitStack], object] = lambda world, back: None
    """Changes the surroundings before; the stack undoes it after the case."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case cost: JSON for the record."""

    name: str
    figures: dict[str, Any]
    goals: list[dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether each goal was reached."""
        return bool(self.goals) and all(goal["ok"] for goal in self.goals)


def run_case(case: Case, world: World) -> Outcome:
    """Run one case from a whole service to a whole service."""
    with ExitStack() as back:
        case.prepare(world, back)
        return _run(case, world)


def _run(case: Case, world: World) -> Outcome:
    world.apply(case.spec)
    world.wait(f"{case.name}: the service is whole before", world.is_whole)
    began = time.monotonic()
    trouble, load = "", Load()
    fault_at = whole_at = time.time()
    with StatusWatch(world.story) as watch:
        try:
            with constant_load(world.story, world.url, world.rng) as load:
                time.sleep(BEFORE_S)
                fault_at = whole_at = time.time()
                try:
                    case.act(world)
                    whole_at = _wait_until_calm(case, world, began)
                except (ClusterFailed, AssertionError, OSError) as error:
                    trouble = str(error)
        except (ClusterFailed, ValueError, OSError) as error:
            trouble = trouble or "".join(traceback.format_exception_only(error))
    return _judge(
        case,
        load.requests,
        watch.spoken,
        fault_at=fault_at,
        whole_at=whole_at,
        trouble=trouble,
        seconds=time.monotonic() - began,
    )


def _wait_until_calm(case: Case, world: World, began: float) -> float:
    """Wait until the service is whole for a while; the time since which it is."""
    calm_since: float | None = None

    def is_calm() -> bool:
        nonlocal calm_since
        try:
            is_whole = world.is_whole()
        except OSError:
            is_whole = False
        calm_since = (calm_since or time.time()) if is_whole else None
        return calm_since is not None and time.time() - calm_since > CALM_S

    left_s = LONGEST_S - (time.monotonic() - began)
    world.wait(f"{case.name}: the service is whole again", is_calm, within_s=max(CALM_S, left_s))
    assert calm_since is not None  # or it would not be calm
    return calm_since


def _judge(
    case: Case,
    requests: list[Request],
    spoken: list[Spoken],
    *,
    fault_at: float,
    whole_at: float,
    trouble: str,
    seconds: float,
) -> Outcome:
    until = max((request.ended for request in requests), default=time.time())
    failed = [request for request in requests if request.outcome == "failed"]
    broken = [request for request in failed if request.stream and request.pieces > 0]
    lost = [request for request in failed if not (case.may_break_streams and request in broken)]
    wrong = [request for request in requests if request.outcome == "wrong"]
    healed_s = max(whole_at - fault_at, healed_after_s(requests, spoken, fault_at=fault_at, until=until))
    untrue = untrue_s(requests, spoken, until=until)
    goals = [
        Goal("requests lost", len(lost), "<=", case.may_lose),
        Goal("wrong answers", len(wrong), "<=", 0),
        Goal("seconds until healed", round(healed_s, 1), "<=", case.heals_within_s),
        Goal("seconds of a status that was not true", round(untrue, 1), "<=", case.untrue_s),
        Goal("troubles", 1 if trouble else 0, "<=", 0),
        Goal("right answers", sum(r.outcome == "right" for r in requests), ">=", 20),
    ]
    figures = {
        "title": case.title,
        "requests": len(requests),
        "lost": len(lost),
        "streams_broken": len(broken),
        "wrong": len(wrong),
        "healed_after_s": round(healed_s, 1),
        "longest_outage_s": round(
            max((outage.seconds for outage in outages(requests, until=until)), default=0.0), 1
        ),
        "slowest_right_s": round(
            max((r.ended - r.began for r in requests if r.outcome == "right"), default=0.0), 1
        ),
        "untrue_s": round(untrue, 1),
        "case_s": round(seconds, 1),
        "trouble": trouble,
        "faults": [f"{r.ended - fault_at:+.1f} s {r.outcome}: {r.detail}" for r in [*lost, *wrong][:8]],
        "status": changes(spoken, since=fault_at),
    }
    return Outcome(case.name, figures, [goal.as_json() for goal in goals])
