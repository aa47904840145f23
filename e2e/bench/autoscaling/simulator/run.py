"""One policy on one traffic."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from e2e.bench.autoscaling.requests import Floats, Requests
from e2e.bench.autoscaling.simulator.language_stage import LanguageStage
from e2e.bench.autoscaling.simulator.pool import Pool
from e2e.bench.autoscaling.simulator.sample import Sample, Targets
from e2e.bench.autoscaling.simulator.vision_stage import VisionStage
from e2e.bench.autoscaling.site import Site

STEP_S = 2.5
"""Longest step. Requests are exact inside one; the rate of tokens is constant in it, and a place is free again after it."""
PATIENCE_S = 3600.0
"""So long after the last arrival what still waits is served; then the run ends."""


class Policy(Protocol):
    """Decides the numbers of replicas. One object serves one run and may remember."""

    interval_s: float
    """Seconds between two looks."""
    age_s: float
    """How old what it sees is when its decision is carried out."""

    def decide(self, sample: Sample) -> Targets:
        """The numbers from now on. For a coupled site that of vision is ignored."""


@dataclass(frozen=True, slots=True)
class Run:
    """What happened. Arrays have one entry a request, in the order of arrival."""

    requests: Requests
    site: Site
    first_token: Floats
    """Seconds from the beginning; infinite: never."""
    ended: Floats
    """The last token; infinite: never."""
    vision: Pool
    language: Pool
    lowest: Targets
    """The lowest number that was decided of each side, whenever it was."""


def simulate(
    requests: Requests,
    site: Site,
    policy: Policy,
    *,
    begin_with: Targets,
    end_s: float,
    seed: int = 0,
    step_s: float = STEP_S,
) -> Run:
    """Serve all requests.

    Args:
        requests: the traffic.
        site: the hardware; a coupled one has no vision replicas.
        policy: asked at every multiple of its interval.
        begin_with: replicas that serve at the beginning.
        end_s: until when the policy decides; afterwards the numbers stay, until everything is served.
        seed: of the start times.
        step_s: the longest step; it has to be shorter than an answer.
    """
    vision_pool = Pool(site.vision.start, 0 if site.is_coupled else begin_with.vision, seed=seed)
    language_pool = Pool(site.language.start, begin_with.language, seed=seed + 1)
    vision = VisionStage(requests, site, vision_pool)
    language = LanguageStage(requests, site, language_pool)
    decided: deque[tuple[float, Targets]] = deque()
    """What is to be done when, in order."""
    lowest = begin_with
    now = 0.0
    next_look = float(policy.interval_s)
    while now < end_s or (now < end_s + PATIENCE_S and not (vision.is_empty and language.is_empty)):
        while decided and now >= decided[0][0]:
            _aim(now, decided.popleft()[1], vision_pool, language_pool, site)
        if now >= next_look and now < end_s:
            sample = Sample(
                at=now,
                vision=None if site.is_coupled else vision.sample(now),
                language=language.sample(now),
                answered=language.answered,
                late=language.late,
            )
            wanted = policy.decide(sample)
            lowest = Targets(min(lowest.vision, wanted.vision), min(lowest.language, wanted.language))
            next_look += policy.interval_s
            if policy.age_s:
                decided.append((now + policy.age_s, wanted))
            else:
                _aim(now, wanted, vision_pool, language_pool, site)
        until = min(now + step_s, max(next_look, now + 0.1) if now < end_s else now + step_s)
        if decided:
            until = min(until, max(decided[0][0], now + 0.1))
        if not site.is_coupled:
            language.receive(*vision.advance(now, until))
        language.advance(now, until)
        now = until
    return Run(
        requests, site, language.first_token, language.ended(requests), vision_pool, language_pool, lowest
    )


def _aim(now: float, wanted: Targets, vision: Pool, language: Pool, site: Site) -> None:
    if not site.is_coupled:
        vision.aim(now, wanted.vision)
    language.aim(now, wanted.language)
