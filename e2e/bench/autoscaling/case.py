"""One case: a site, a fleet and a trace; every policy with every setting, and the plans beside them."""

import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from e2e.bench.autoscaling.judge.outcome import Outcome, outcome
from e2e.bench.autoscaling.plan import Depth
from e2e.bench.autoscaling.policies import plans
from e2e.bench.autoscaling.policies.base import Context, Setting, SideContext, grid
from e2e.bench.autoscaling.policies.catalogue import ENTRIES, OURS, UNSTATED
from e2e.bench.autoscaling.requests import Requests
from e2e.bench.autoscaling.simulator.run import Policy, Run, simulate
from e2e.bench.autoscaling.simulator.sample import Targets
from e2e.bench.autoscaling.site import SITES, Site, coupled
from e2e.bench.autoscaling.traces import shapes
from e2e.bench.autoscaling.traces.catalogue import HOURS, TRACES
from e2e.bench.autoscaling.traces.stream import Traffic

SECONDS = HOURS * 3600
HALF_S = SECONDS / 2
SEED = 20261122
MOST = 8
"""maxReplicas of a side, of the replicas of the fleet."""
AT_FIRST = 1.5
"""Replicas at the beginning, of those that the mean load keeps busy."""
ORACLE = (1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.65, 1.8, 2.0, 2.2, 2.6, 3.0, 4.0)
STATIC = (0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5)
"""Factors of plans, cheapest first."""
UNSTATED_ON = ("heavy-4", "heavy-20")
"""Sites and fleets on which a service that states nothing is run too."""
UNCOUPLED = ("heavy-4", "heavy-100", "light-4")
"""Those on which no coupled deployment is: with a fleet of 20 it is compared."""


@dataclass(frozen=True, slots=True)
class Work:
    """One run that a case consists of."""

    policy: str
    setting: Setting
    site: Site
    make: Callable[[], Policy]
    like: str = ""
    """Key of a run before it that is the same one by another name; empty: none is."""

    @property
    def key(self) -> str:
        """Names it within its case."""
        return self.policy + "".join(f" {name}={value:g}" for name, value in sorted(self.setting.items()))


class Case:
    """Makes its traffic once and serves it under one policy after the other."""

    def __init__(self, site: str, fleet: int, trace: str, folder: Path | None) -> None:
        self.site = SITES[site]
        self.fleet = fleet
        self.trace = TRACES[trace]
        self._folder = folder

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.site.name}-{self.fleet}-{self.trace.name}"

    @cached_property
    def requests(self) -> Requests:
        """All of the traffic, both halves."""
        return self._traffic.requests(self.site, replicas=self.fleet, seed=SEED)

    @cached_property
    def _traffic(self) -> Traffic:
        return self.trace.traffic(self._folder, SECONDS)

    @property
    def note(self) -> str:
        """Where its traffic comes from."""
        return self._traffic.note

    def description(self) -> dict[str, Any]:
        """What the tables say about the traffic."""
        vision, language = plans.loads(self.requests, self.site, SECONDS)
        second = self.requests.at.astype(np.int64)
        with_pictures = self.requests.tiles > 0
        image = np.bincount(second[with_pictures], minlength=SECONDS)
        text = np.bincount(second[~with_pictures], minlength=SECONDS)
        return {
            "note": self.note,
            "requests": len(self.requests),
            "mean_vision": round(float(vision.mean()), 2),
            "mean_language": round(float(language.mean()), 2),
            "peak_minute_vision": round(float(vision.reshape(-1, 60).mean(1).max()), 2),
            "peak_minute_language": round(float(language.reshape(-1, 60).mean(1).max()), 2),
            "step_s": HALF_S + shapes.STEP_AT * HALF_S,
            "correlation_requests": round(_correlation(image, text), 2),
            "correlation_work": round(_correlation(vision, language), 2),
        }

    def context(self, site: Site) -> Context:
        """What a person knows who tunes on the first half."""
        vision, language = plans.loads(self.requests.before(HALF_S), site, int(HALF_S))
        most = MOST * self.fleet
        return Context(
            site=site,
            vision=SideContext(is_vision=True, places=1, mean=float(vision.mean()), most=most),
            language=SideContext(
                is_vision=False, places=site.language.sequences, mean=float(language.mean()), most=most
            ),
        )

    def works(self, depth: Depth) -> Iterator[Work]:
        """All runs of policies, each one's own defaults first."""
        context = self.context(self.site)
        for entry in ENTRIES.values():
            tried = [setting for setting in depth.thinned(entry.sweep) if setting != entry.default]
            for setting in (entry.default, *tried):
                yield Work(entry.name, setting, self.site, _maker(entry.make, context, setting))
        place = f"{self.site.name}-{self.fleet}"
        if place in UNSTATED_ON:
            yield Work(UNSTATED.name, UNSTATED.default, self.site, _maker(UNSTATED.make, context, {}))
        if place in UNCOUPLED:
            return
        for name, sharded in (("coupled-measured", False), ("coupled-ideal", True)):
            other = coupled(self.site, sharded=sharded)
            like = "coupled-measured" if sharded and self.site.language.gpus == 1 else ""
            yield Work(name, {}, other, _maker(OURS.make, self.context(other), {}), like)

    def unbound_like(self, work: Work, runs: Mapping[str, Mapping[str, Any]]) -> str:
        """Key of a run that is this one, though with a lower `least`, since no number in it was below this one's.

        Empty where none is. A policy knows `least` by nothing but the numbers that it holds up.
        """
        if "least" not in work.setting:
            return ""
        context = self.context(work.site)
        bounds = [side.least(work.setting) for side in (context.vision, context.language)]
        for key, run in runs.items():
            others = {name: run["setting"].get(name) for name in (*run["setting"], *work.setting)}
            least = others.pop("least", None)
            is_same = others == {name: value for name, value in work.setting.items() if name != "least"}
            is_lower = run["policy"] == work.policy and is_same and least is not None
            if is_lower and least < work.setting["least"] and all(map(operator.ge, run["lowest"], bounds)):
                return key
        return ""

    def oracles(self) -> list[list[Work]]:
        """Each by rising factor; of each list the first that attains is wanted. What knows less comes later.

        One that knows less is taken to need no smaller factor, so its search begins there. Where it did, it would look
        dearer than it is; in no run with all factors did it.
        """
        return [
            self._plans(name, plans.oracle, grid(window_s=(window_s,), factor=ORACLE))
            for name, window_s in (("oracle", 5), ("oracle", 15), ("minute-oracle", 60))
        ]

    def static_peaks(self) -> list[Work]:
        """By rising factor."""
        return self._plans("static-peak", plans.static_peak, grid(factor=STATIC))

    def _plans(
        self,
        name: str,
        plan: Callable[[Context, Setting, Requests, int], Policy],
        settings: Iterable[Setting],
    ) -> list[Work]:
        context = self.context(self.site)
        return [
            Work(name, setting, self.site, _planner(plan, context, setting, self.requests))
            for setting in settings
        ]

    def run(self, work: Work) -> dict[str, Any]:
        """Serve all of it; both halves' outcomes."""
        began = time.process_time()
        context = self.context(work.site)
        sides = (context.vision.mean, context.language.mean)
        first = Targets(*(max(1, math.ceil(mean * AT_FIRST)) for mean in sides))
        if self.trace.name == "flash":
            first = Targets(1, 1)
        run = simulate(self.requests, work.site, work.make(), begin_with=first, end_s=SECONDS, seed=SEED)
        halves: tuple[Outcome, Outcome] = (outcome(run, 0, HALF_S), outcome(run, HALF_S, SECONDS))
        return {
            "policy": work.policy,
            "setting": dict(work.setting),
            "lowest": [run.lowest.vision, run.lowest.language],
            "tuning": halves[0].as_json(),
            "judged": halves[1].as_json(),
            "series": self._series(run) if work.setting == ENTRIES.get(work.policy, OURS).default else {},
            "seconds": round(time.process_time() - began, 2),
        }

    def _series(self, run: Run) -> dict[str, list[float]]:
        """Every minute: the load of each side and the replicas that are paid for."""
        minutes = np.arange(0, SECONDS, 60.0)
        vision, language = (
            load.reshape(-1, 60).mean(1) for load in plans.loads(self.requests, run.site, SECONDS)
        )
        return {
            "vision_load": vision.round(2).tolist(),
            "language_load": language.round(2).tolist(),
            "vision": run.vision.held(minutes).tolist(),
            "language": run.language.held(minutes).tolist(),
        }


def _maker(
    make: Callable[[Context, Setting], Policy], context: Context, setting: Setting
) -> Callable[[], Policy]:
    return lambda: make(context, setting)


def _planner(
    plan: Callable[[Context, Setting, Requests, int], Policy],
    context: Context,
    setting: Setting,
    requests: Requests,
) -> Callable[[], Policy]:
    return lambda: plan(context, setting, requests, SECONDS)


def _correlation(first: Any, second: Any) -> float:
    """Of the minutes."""
    a, b = first.reshape(-1, 60).mean(1), second.reshape(-1, 60).mean(1)
    return float(np.corrcoef(a, b)[0, 1]) if np.std(a) > 0 and np.std(b) > 0 else 0.0
