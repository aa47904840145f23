"""A service to which anything happens, from one seed; what must hold in every round is checked in each."""

import math
import random
from dataclasses import dataclass, field, replace

from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import Decision, decide
from internvl_operator.scaling.history import History, from_json, to_json
from internvl_operator.scaling.model import (
    KINDS,
    SIDES,
    Limit,
    Observation,
    Settings,
    SideLoad,
    SideSeen,
    SideSettings,
    Work,
    side_gpus,
)

NOW = 1_700_000_000.0
ODD = (math.nan, math.inf, -1.0, 1e300, 0.0)


@dataclass
class Wild:
    """Its bounds, budget and stated capacities are drawn at first, and again whenever `redraw` is called."""

    seed: int
    history: History = field(default_factory=History)
    now: float = NOW
    level: float = 1.0
    """Of the loads that arrive; 0: none arrives."""
    obeys: bool = True
    """False: its mode is Recommend, so what is decided is not written."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.settings = self._drawn()
        self.stands = {role: self.chance.randint(0, 9) for role in SIDES}

    def redraw(self) -> None:
        """Somebody edits the service."""
        self.settings, self.obeys = self._drawn(), self.chance.random() < 0.8

    def _drawn(self) -> Settings:
        sides = {role: self._bounds(role) for role in SIDES}
        if sides[Role.VISION].minimum:  # else a service would have no language while there is vision
            language = sides[Role.LANGUAGE]
            sides[Role.LANGUAGE] = replace(language, minimum=max(1, language.minimum))
        return Settings(
            sides=sides,
            max_gpus=self.chance.choice([None, None, 4, 16]),
            quiet_s=self.chance.choice([0.0, 3.0, 300.0]),
            idle_s=self.chance.choice([1.0, 600.0]),
            first_token_s=self.chance.choice([0.1, 1.0, 10.0]),
        )

    def _bounds(self, role: Role) -> SideSettings:
        least = self.chance.randint(0, 4)
        stated = {kind: self.chance.uniform(0.01, 1e4) for kind in KINDS[role]}
        return SideSettings(
            minimum=least,
            maximum=max(1, least) + self.chance.randint(0, 30),
            floor=self.chance.choice([0, 0, 3, 99]),
            gpus=self.chance.choice([0, 1, 2, 8]),
            capacity=stated if self.chance.random() < 0.8 else {},
        )

    def figure(self, most: float) -> float:
        return self.chance.choice(ODD) if self.chance.random() < 0.02 else self.chance.uniform(0, most)

    def load(self, role: Role) -> SideLoad | None:
        if self.chance.random() < 0.1:
            return None
        work = {
            kind: Work(
                arriving=self.level * self.figure(1e5),
                waiting=self.level * self.figure(1e4),
                done_while_full=self.figure(1e3),
                seconds_while_full=self.figure(50),
            )
            for kind in KINDS[role]
            if self.chance.random() < 0.9
        }
        return SideLoad(
            at=self.now - self.chance.choice([0, 0, 1, 5, 100, -3600]),
            window_s=5.0,
            work=work,
            requests=self.chance.choice([None, 0.0, 1.0, 1e4]),
            running=self.level * self.figure(100) if self.chance.random() < 0.5 else 0.0,
            answered_replicas=self.chance.randint(0, 3),
            expected_replicas=self.chance.randint(0, 3),
        )

    def observation(self) -> Observation:
        sides = {
            role: SideSeen(
                load=self.load(role),
                target=self.stands[role],
                ready=self.chance.randint(0, 12),
                healthy=self.chance.random() < 0.9,
                is_woken=self.chance.random() < 0.2,
                kept=self.chance.choice(["", "", "the first probe needs one"]),
                is_probed=self.chance.random() < 0.3,
                replica=self.chance.choice(["", "small", "small", "large"]),
            )
            for role in SIDES
            if self.chance.random() < 0.95
        }
        return Observation(sides=sides, elsewhere_gpus=self.chance.choice([0, 0, 3]))

    def round(self) -> Decision:
        """Some time passes, something is seen, and decided about."""
        self.now += self.chance.choice([0.0, 5.0, 5.0, 5.0, 30.0, 400.0, -7200.0, 86400.0])
        if self.chance.random() < 0.1:
            self.history = from_json(to_json(self.history))
        self.seen = self.observation()
        decision = decide(self.seen, self.history, self.settings, self.now)
        self._check(decision)
        self.history = decision.history
        if self.obeys:
            self.stands |= decision.targets
        return decision

    def again(self, history: History) -> Decision:
        """Decide about what was seen last once more, where the numbers were written since; without a budget."""
        sides = {
            role: replace(seen, target=self.history.of(role).target) for role, seen in self.seen.sides.items()
        }
        unbound = replace(self.settings, max_gpus=None)
        return decide(replace(self.seen, sides=sides), history, unbound, self.now)

    def _check(self, decision: Decision) -> None:
        assert decision.targets.keys() == self.seen.sides.keys()
        unbound = self.settings.max_gpus is None
        least = 0
        for role, side in decision.sides.items():
            bounds = self.settings.sides[role]
            assert bounds.minimum <= side.target <= bounds.maximum, (self.seed, role, side)
            if unbound:
                has_one = self.seen.sides[role].is_woken or self.seen.sides[role].kept
                assert side.target >= max(bounds.least, int(bool(has_one))), (self.seed, role, side)
            assert side.why.startswith(str(role)), self.seed
            least += bounds.minimum * bounds.gpus
        first = sum(self.settings.sides[role].gpus for role in SIDES) + self.seen.elsewhere_gpus
        if self.settings.max_gpus is None or first <= self.settings.max_gpus:
            targets = decision.targets
            assert targets.get(Role.LANGUAGE, 1) or not targets.get(Role.VISION, 0), (self.seed, targets)
        if self.settings.max_gpus is not None:
            used = side_gpus(self.settings.sides, decision.targets)
            left = self.settings.max_gpus - self.seen.elsewhere_gpus
            assert used <= max(least, left), self.seed
            for role, side in decision.sides.items():
                if used > left and self.settings.sides[role].gpus:
                    assert side.limited_by in (Limit.BUDGET, Limit.UNKNOWN), (self.seed, role, side)
                    assert f"scaling.maxGPUs is {self.settings.max_gpus}" in side.why, self.seed
