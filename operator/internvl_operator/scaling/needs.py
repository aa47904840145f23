"""How many replicas one side's load asks for: load, what waits, and the reserve, all in replicas."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from internvl_operator.api.names import Role
from internvl_operator.scaling.capacity import Capacity, is_near, learned
from internvl_operator.scaling.history import SideHistory
from internvl_operator.scaling.model import KINDS, SideLoad, SideSettings, Work, WorkKind
from internvl_operator.scaling.rises import Pace

FIRST_SHARE = 0.25
"""Reserve as a share of the load while nothing is learned yet; it fades over `FIRST_S`."""
FIRST_S = 3600.0
BEYOND = 1.1
"""Load and learned reserve go no higher than this times the highest load of the last day: at the top of a burst
there is nothing left to rise to."""
CHANCE = 1.0
"""Standard deviations of the number of requests that come in by chance: square-root staffing."""
MOST_BESIDE = 0.5
"""Of the seconds in which sequences wait for prefill, as time of the output tokens beside it."""
SHORTEST_DRAIN_S = 30.0
"""What waits is worked off over the start time, and over no less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one side's load asks for, in replicas."""

    seen: float
    """What came in within the last window."""
    load: float
    """What comes in, smoothed."""
    drain: float
    """To work off what waits, in the time in which new replicas start."""
    drain_s: float
    learned: float
    """How far the load goes beyond what replicas were made for a start time ago."""
    chance: float
    """How far the load, when it has risen so far, is above its mean at times, by chance."""

    @property
    def reserve(self) -> float:
        """Both reasons together. What chance explains is not learned, so nothing counts twice."""
        return self.learned + self.chance

    @property
    def total(self) -> float:
        """All of it."""
        return self.load + self.drain + self.reserve


def capacities(
    role: Role, load: SideLoad | None, known: Mapping[WorkKind, Capacity], settings: SideSettings
) -> dict[WorkKind, Capacity]:
    """What one replica of the side manages, after a window with `load`, or without a new one."""
    work, window_s = ({}, 0.0) if load is None else (load.work, load.window_s)

    def after(kind: WorkKind, done: Work | None) -> Capacity | None:
        return learned(known.get(kind), done, settings.capacity.get(kind), window_s=window_s)

    found = {kind: after(kind, work.get(kind)) for kind in KINDS[role]}
    if prompts := work.get(WorkKind.PROMPT_TOKENS):
        alone = _alone(prompts, found[WorkKind.OUTPUT_TOKENS])
        found[WorkKind.PROMPT_TOKENS] = after(WorkKind.PROMPT_TOKENS, alone)
    return {kind: capacity for kind, capacity in found.items() if capacity is not None}


def _alone(prompts: Work, outputs: Capacity | None) -> Work:
    """Prompt tokens without the time that the output tokens beside them are reckoned with, where that is known.

    So what both kinds ask for adds up to the seconds that they took together, also where few sequences decode, and
    slowly: their step would take about as long with more of them.
    """
    if outputs is None:
        return prompts
    beside_s = min(prompts.outputs_beside / outputs.value, MOST_BESIDE * prompts.seconds_while_full)
    return replace(prompts, seconds_while_full=prompts.seconds_while_full - beside_s)


def restated(
    load: SideLoad | None, before: Mapping[WorkKind, Capacity], after: Mapping[WorkKind, Capacity]
) -> float | None:
    """Replicas of now that do what one did before, where a figure begins anew; None where none does.

    It does where another one was stated, where the first measurement replaced a guess, and where one of a few seconds
    turned out wrong by a fifth. By the work that arrives; where none does, by the figure that fell most.
    """
    if not any(_begins_anew(before[kind], after[kind]) for kind in before if kind in after):
        return None
    work = {} if load is None else load.work
    then = sum(work[kind].arriving / before.get(kind, after[kind]).value for kind in work if kind in after)
    if load is not None and then > 0:
        return busy_replicas(load, after) / then
    return max(before[kind].value / after[kind].value for kind in before if kind in after)


def _begins_anew(before: Capacity, after: Capacity) -> bool:
    is_stated = after.stated not in (None, before.stated)
    was_guessed = not before.evidence_s and after.evidence_s > 0
    return is_stated or was_guessed or (before.is_unproven and not is_near(after.value, before.value))


def unmeasured(load: SideLoad, capacity: Mapping[WorkKind, Capacity]) -> tuple[WorkKind, ...]:
    """Kinds of work that occur while nobody knows what a replica manages of any of them.

    Where one is known, a replica was full of that: the others are done beside it, and count as nothing until one is
    full of them.
    """
    kinds = tuple(kind for kind, work in load.work.items() if work.arriving or work.waiting)
    return () if any(kind in capacity for kind in kinds) else kinds


def busy_replicas(load: SideLoad, capacity: Mapping[WorkKind, Capacity]) -> float:
    """Replicas that the arriving work of known kinds keeps busy."""
    return sum(work.arriving / capacity[kind].value for kind, work in load.work.items() if kind in capacity)


def need(load: SideLoad, history: SideHistory, *, base: float, pace: Pace) -> Need:
    """What the side asks for; `base` is the load that its number rests on, in replicas."""
    capacity = history.capacity
    waiting = sum(work.waiting / capacity[kind].value for kind, work in load.work.items() if kind in capacity)
    drain_s = max(pace.horizon_s, SHORTEST_DRAIN_S)
    unlearned = max(0.0, 1 - history.rises.seen_s / FIRST_S)
    rise = min(history.rises.reserve, max(0.0, BEYOND * history.rises.peak - base))
    learned = max(rise, unlearned * FIRST_SHARE * base)
    busy = busy_replicas(load, capacity)
    return Need(
        seen=busy,
        load=base,
        drain=waiting / drain_s,
        drain_s=drain_s,
        learned=learned,
        chance=chance(base + learned, request_s(busy, load, history), pace.first_token_s),
    )


def request_s(busy: float, load: SideLoad, history: SideHistory) -> float | None:
    """Replica-seconds of one request; of the last ones where none comes, None where they are not counted."""
    if load.requests is None:
        return None
    return busy / load.requests if load.requests else history.request_s


def chance(level: float, request_s: float | None, span_s: float) -> float:
    """Standard deviation of a load of `level` within `span_s`, where one request takes `request_s` replica-seconds.

    Requests come in independently, so within the span that a request may wait their number is off by its square root.
    Where `request_s` is not known, each is taken to need a replica for as long as it may wait.
    Source: Halfin and Whitt 1981, doi:10.1287/opre.29.3.567.
    """
    return CHANCE * math.sqrt(level * (span_s if request_s is None else request_s) / span_s)
