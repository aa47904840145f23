"""What the decision is made from, and what it is.

The unit of load is one replica: work that arrives in a second, divided by what one replica does in a second. So the two
kinds of a language model's work add up, and a load of 1.6 keeps 1.6 replicas busy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from internvl_operator.api.names import Role

SIDES = (Role.VISION, Role.LANGUAGE)
"""The roles that are scaled by load."""


class WorkKind(StrEnum):
    """What is counted of a side's work; the value is its unit, as sentences have it."""

    TILES = "tiles"
    PROMPT_TOKENS = "prompt tokens"
    """Of text and of pictures."""
    OUTPUT_TOKENS = "output tokens"


KINDS: Mapping[Role, tuple[WorkKind, ...]] = {
    Role.VISION: (WorkKind.TILES,),
    Role.LANGUAGE: (WorkKind.PROMPT_TOKENS, WorkKind.OUTPUT_TOKENS),
}
"""The kinds of work that a side does."""


FIRST_START_S: Mapping[Role, float] = {Role.VISION: 30.0, Role.LANGUAGE: 180.0}
"""How long a replica takes to start, before one was seen to: an encoder takes seconds, a language model minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One kind of work, of all replicas of a side together, over one window."""

    arriving: float
    """Units per second that came in."""
    waiting: float = 0.0
    """Units that came in and are not begun."""
    done_while_full: float = 0.0
    """Units done while the replica that did them had work waiting and no room for it."""
    seconds_while_full: float = 0.0
    """Replica-seconds, of this kind of work, in which they were done. 0: no replica was full."""
    outputs_beside: float = 0.0
    """Of prompt tokens: output tokens that were written in the same seconds, while sequences waited for prefill alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideLoad:
    """What one side was seen to do."""

    at: float
    """When the window ended: the time of the newest sample, in seconds since 1970."""
    window_s: float
    """Length of the window that rates are over."""
    work: Mapping[WorkKind, Work]
    """Every kind of `KINDS`; one that is left out did not occur."""
    requests: float | None = None
    """Requests per second that came in with work for this side, if they are counted."""
    running: float = 0.0
    """Requests that are being worked at; a side with some is not idle."""
    answered_replicas: int = 1
    """Replicas whose counters were read."""
    expected_replicas: int = 1
    """Replicas that run. More than answered: the load is at least what was seen, so nothing is taken away."""
    silent: str = ""
    """Who did not answer, as the end of a sentence: "the node 10.0.0.7:8080 does not tell its load: it answers 500"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSeen:
    """One side of one service, now."""

    load: SideLoad | None
    """None: unknown, which is never zero."""
    unknown: str = ""
    """Why there is no load, as the end of a sentence: "Prometheus did not answer"."""
    target: int
    """Replicas that stand in Ray Serve's configuration."""
    ready: int
    """Replicas that run."""
    healthy: bool = True
    """False while the newest replicas cannot start: their start is no measurement."""
    is_woken: bool = False
    """None stands in the configuration, and Serve has started one by itself, because a request waits."""
    kept: str = ""
    """Why it has at least one replica although nothing comes, as the end of a sentence: "the first probe needs one"."""
    is_probed: bool = False
    """A probe is under way, or was just now: that something runs may be that, and so is no work."""
    replica: str = ""
    """What all replicas are, as a short hash of what makes one faster or slower: the model, the engine, where it runs.
    Empty: not known, as while one kind replaces another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one round saw of one service."""

    sides: Mapping[Role, SideSeen]
    """Those of `SIDES` whose number the operator owns. The other one is not decided."""
    elsewhere_gpus: int = 0
    """GPUs of a side that somebody else owns: they count in the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSettings:
    """The bounds of one side, and where learning begins."""

    minimum: int
    """Replicas that always run. 0: none while nothing comes; of language only where it is vision's too."""
    maximum: int
    floor: int = 0
    """Replicas that a schedule wants now; 0: no schedule is open."""
    floor_why: str = ""
    """Which schedule: "the schedule '0 8 * * 1-5'"."""
    gpus: int = 0
    """GPUs of one replica. A side with none is not bounded by the budget."""
    capacity: Mapping[WorkKind, float] = field(default_factory=dict)
    """Units per second of one replica that the user states; learning begins there. Empty: none is stated."""

    @property
    def least(self) -> int:
        """Replicas that run now whatever the load is."""
        return min(max(self.minimum, self.floor), self.maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one service is scaled. The defaults are what a service gets that says nothing."""

    sides: Mapping[Role, SideSettings]
    max_gpus: int | None = None
    """Most GPUs of both sides together. None: no bound."""
    idle_s: float = 600.0
    """After so long without work a side goes to zero, where its minimum is 0."""
    first_token_s: float = 1.0
    """Objective: how long a request may take to its first token. The shorter, the more reserve for chance."""
    quiet_s: float = 300.0
    """A number comes down when fewer were needed for so long."""


class Limit(StrEnum):
    """What made a target another number than load and reserve ask for."""

    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SCHEDULE = "schedule"
    BUDGET = "budget"
    """More is wanted than it has room for, or what always runs is more by itself."""
    QUIET = "quiet"
    """Fewer would do, but not for long enough yet."""
    IDLE = "idle"
    """None would do, but not for long enough yet."""
    UNKNOWN = "unknown"
    """The load is not known, or not how many replicas it needs; the number is held."""
    UNPROVEN = "unproven"
    """What one replica manages was not measured for long; the number rises while one is full, and doubles at most."""
    SILENT = "silent"
    """Some replicas did not tell their load; the number may rise, not fall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideDecision:
    """The number of one side."""

    target: int
    why: str
    """One sentence with the numbers: "vision 2 -> 4: 61 tiles/s / 19.8 per replica = 3.1, + reserve 0.7"."""
    limited_by: Limit | None = None
    needed: float | None = None
    """Replicas that load and reserve ask for, before any bound; None: unknown."""
    load: float | None = None
    """Replicas that the load alone keeps busy; None: unknown."""
    until_s: float | None = None
    """Seconds until a lower number may come, while `limited_by` is QUIET or IDLE and that is known."""
    capacity: Mapping[WorkKind, float] = field(default_factory=dict)
    """Units per second of one replica that the number rests on."""


def side_gpus(sides: Mapping[Role, SideSettings], targets: Mapping[Role, int]) -> int:
    """GPUs of these numbers of replicas together."""
    return sum(sides[role].gpus * target for role, target in targets.items())
