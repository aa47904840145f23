"""A service whose load a test plays, round by round; what was decided stands in the next round."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import Decision, decide
from internvl_operator.scaling.history import History
from internvl_operator.scaling.model import (
    Observation,
    Settings,
    SideLoad,
    SideSeen,
    SideSettings,
    Work,
    WorkKind,
)

ROUND_S = 5.0
TILES = 20.0
"""What one vision replica of the tests manages in a second."""
PROMPT, OUTPUT = 8000.0, 800.0
"""What one language replica of the tests manages in a second of each."""


@dataclass
class Played:
    """One service. Loads are in replicas: 1.5 keeps one replica and a half busy."""

    now: float = 1_000_000.0
    history: History = field(default_factory=History)
    stands: dict[Role, int] = field(default_factory=lambda: {Role.VISION: 1, Role.LANGUAGE: 1})
    ready: dict[Role, int] = field(default_factory=dict)
    """Where it differs from what stands."""
    woken: set[Role] = field(default_factory=set)
    """Of these Serve has started a replica by itself."""
    kept: dict[Role, str] = field(default_factory=dict)
    """Why a side has at least one."""
    probed: set[Role] = field(default_factory=set)
    """What runs there may be a probe."""
    replica: dict[Role, str] = field(default_factory=dict)
    """What replicas are, where that is known."""
    bounds: dict[Role, SideSettings] = field(default_factory=dict)
    max_gpus: int | None = None
    quiet_s: float = 300.0
    elsewhere_gpus: int = 0

    def __post_init__(self) -> None:
        vision = SideSettings(minimum=1, maximum=20, gpus=1, capacity={WorkKind.TILES: TILES})
        tokens = {WorkKind.PROMPT_TOKENS: PROMPT, WorkKind.OUTPUT_TOKENS: OUTPUT}
        language = SideSettings(minimum=1, maximum=20, gpus=2, capacity=tokens)
        self.bounds = {Role.VISION: vision, Role.LANGUAGE: language} | self.bounds

    def settings(self) -> Settings:
        return Settings(sides=self.bounds, max_gpus=self.max_gpus, quiet_s=self.quiet_s, idle_s=600)

    def tiles(self, load: float, *, waiting: float = 0.0, **more: float | str) -> SideLoad:
        """Vision with so much load, and work of `waiting` replica-seconds in its queue."""
        work = Work(arriving=load * TILES, waiting=waiting * TILES)
        return self._seen({WorkKind.TILES: work}, load, more)

    def tokens(self, load: float, *, waiting: float = 0.0, **more: float | str) -> SideLoad:
        """Language with so much load, half of it from prompts."""
        work = {
            WorkKind.PROMPT_TOKENS: Work(arriving=load / 2 * PROMPT, waiting=waiting * PROMPT),
            WorkKind.OUTPUT_TOKENS: Work(arriving=load / 2 * OUTPUT),
        }
        return self._seen(work, load, more)

    def _seen(self, work: dict[WorkKind, Work], load: float, more: dict) -> SideLoad:
        values = {"at": self.now, "window_s": ROUND_S, "requests": load * 10, **more}
        return SideLoad(work=work, **values)

    def see(self, role: Role, load: SideLoad | None, why: str = "Prometheus did not answer") -> SideSeen:
        stands = self.stands[role]
        ready = self.ready.get(role, stands)
        return SideSeen(
            load=load,
            unknown=why,
            target=stands,
            ready=ready,
            is_woken=role in self.woken,
            kept=self.kept.get(role, ""),
            is_probed=role in self.probed,
            replica=self.replica.get(role, ""),
        )

    def round(self, vision: SideLoad | None = None, language: SideLoad | None = None) -> Decision:
        """Decide about these loads now; None: unknown."""
        seen = {Role.VISION: self.see(Role.VISION, vision), Role.LANGUAGE: self.see(Role.LANGUAGE, language)}
        observation = Observation(sides=seen, elsewhere_gpus=self.elsewhere_gpus)
        decision = decide(observation, self.history, self.settings(), self.now)
        self.history, self.stands = decision.history, {**self.stands, **decision.targets}
        return decision

    def play(
        self, seconds: float, vision: Callable[[float], float] | float, language: float = 0.5
    ) -> list[Decision]:
        """Rounds for so long; `vision` is a load, or one by the seconds since the beginning of this part."""
        decisions = []
        for index in range(round(seconds / ROUND_S)):
            self.now += ROUND_S
            load = vision(index * ROUND_S) if callable(vision) else vision
            decisions.append(self.round(self.tiles(load), self.tokens(language)))
        return decisions


@pytest.fixture
def service() -> Played:
    return Played()


@pytest.fixture
def made() -> type[Played]:
    """To make more of them."""
    return Played
