"""What a decision about replicas costs: a thousand services with a day of history, both sides, one budget.

The pure function alone; `scaling_round` measures the round around it.
"""

from __future__ import annotations

import random
import time

from e2e.bench.result import BenchResult, Goal
from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import Decision, decide
from internvl_operator.scaling.history import History, from_json, to_json
from internvl_operator.scaling.model import (
    Observation,
    Settings,
    SideLoad,
    SideSeen,
    SideSettings,
    Work,
    WorkKind,
)

SERVICES = 1000
ROUND_S = 5.0
LIVED_ROUNDS = 17_280
"""A day, for the history that all of them start from."""
BEGAN = 1_700_000_000.0
REPEATS = 5
SETTINGS = Settings(
    sides={
        Role.VISION: SideSettings(minimum=0, maximum=64, gpus=1, capacity={WorkKind.TILES: 20.0}),
        Role.LANGUAGE: SideSettings(
            minimum=1,
            maximum=64,
            gpus=2,
            capacity={WorkKind.PROMPT_TOKENS: 8000.0, WorkKind.OUTPUT_TOKENS: 800.0},
        ),
    },
    max_gpus=48,
)


def run() -> BenchResult:
    """Live a day once, then decide about all services in one go; the best of some repeats counts."""
    history, chance = lived_history(), random.Random(2)
    targets = {role: side.target or 1 for role, side in history.sides.items()}
    text = to_json(history)
    services = [from_json(text) for _ in range(SERVICES)]
    seconds = min(_once(services, targets, chance) for _ in range(REPEATS))
    rows = (
        (f"decisions about {SERVICES} services (s of one core)", f"{seconds:.2f}"),
        ("what one service remembers (bytes)", str(len(text))),
    )
    return BenchResult(
        name="replica_decisions",
        title=f"One round of decisions about {SERVICES} services",
        columns=("what", "value"),
        rows=rows,
        raw={"core_seconds": seconds, "services": SERVICES, "memory_bytes": len(text)},
        goals=(
            Goal(f"decisions about {SERVICES} services (s of one core)", round(seconds, 3), "<=", 1),
            Goal("what one service remembers (bytes)", len(text), "<=", 4096),
        ),
    )


def lived_history(*, until: float = BEGAN + LIVED_ROUNDS * ROUND_S) -> History:
    """Of a day with a burst every half hour, that ends at a time in seconds since 1970."""
    chance, began = random.Random(1), until - LIVED_ROUNDS * ROUND_S
    history, targets = History(), {Role.VISION: 1, Role.LANGUAGE: 1}
    for index in range(LIVED_ROUNDS):
        decision = _decided(history, targets, index, chance, began=began)
        history, targets = decision.history, decision.targets
    return history


def _once(services: list[History], targets: dict[Role, int], chance: random.Random) -> float:
    began = time.process_time()
    for history in services:
        _decided(history, targets, LIVED_ROUNDS, chance)
    return time.process_time() - began


def _decided(
    history: History,
    targets: dict[Role, int],
    index: int,
    chance: random.Random,
    *,
    began: float = BEGAN,
) -> Decision:
    now = began + index * ROUND_S
    tiles = chance.uniform(0.5, 1.5) * (300 if index % 360 < 24 else 60)
    work = {
        Role.VISION: {WorkKind.TILES: Work(arriving=tiles)},
        Role.LANGUAGE: {
            WorkKind.PROMPT_TOKENS: Work(arriving=tiles * 256),
            WorkKind.OUTPUT_TOKENS: Work(arriving=900.0, waiting=200.0),
        },
    }
    seen = {
        role: SideSeen(
            load=SideLoad(at=now, window_s=ROUND_S, work=found, requests=10.0),
            target=targets[role],
            ready=targets[role],
        )
        for role, found in work.items()
    }
    return decide(Observation(sides=seen), history, SETTINGS, now)
