"""Each peer's rule against what its own documentation says it does."""

import math
from dataclasses import replace

import numpy as np
import pytest

from e2e.bench.autoscaling import profile
from e2e.bench.autoscaling.judge.outcome import outcome
from e2e.bench.autoscaling.policies import dynamo, ours, plans
from e2e.bench.autoscaling.policies.aibrix import ApaRule
from e2e.bench.autoscaling.policies.base import Context, SideContext
from e2e.bench.autoscaling.policies.dynamo import DynamoRule
from e2e.bench.autoscaling.policies.hpa import HpaRule
from e2e.bench.autoscaling.policies.knative import KpaRule
from e2e.bench.autoscaling.policies.modserve import ModServeRule
from e2e.bench.autoscaling.policies.ray_serve import RayServeRule
from e2e.bench.autoscaling.requests import Requests
from e2e.bench.autoscaling.simulator.run import simulate
from e2e.bench.autoscaling.simulator.sample import Full, Sample, SideSample, Targets
from e2e.bench.autoscaling.site import HEAVY, SITES, Site
from internvl_operator.api.names import Role
from internvl_operator.scaling.capacity import KNOWN_S
from internvl_operator.scaling.model import WorkKind

SIDE = SideContext(is_vision=False, places=10, mean=4.0, most=100)
IDLE = SideSample(target=4, ready=4, starting=0, arrived=0.0, arrived_requests=0)
NOTHING = Sample(at=0.0, vision=None, language=IDLE, answered=0, late=0)


def test_least_replicas_are_a_share_of_the_mean_load_and_at_least_one() -> None:
    assert SIDE.least({"least": 0.8}) == 4
    assert SIDE.least({}) == 1


class TestRayServe:
    """docs.ray.io, "Advanced autoscaling": 2 ongoing a replica; up after 30 s, down after 600 s."""

    def test_raises_only_after_thirty_seconds(self) -> None:
        rule = RayServeRule({}, SIDE)
        busy = replace(IDLE, queued=12, running=4)
        wanted = [rule.decide(at, busy, NOTHING) for at in (0.0, 10.0, 20.0, 30.0)]
        assert wanted == [4, 4, 4, 8]

    def test_lowers_only_after_ten_minutes(self) -> None:
        rule = RayServeRule({}, SIDE)
        wanted = {at: rule.decide(float(at), IDLE, NOTHING) for at in range(0, 610, 10)}
        assert set(list(wanted.values())[:-1]) == {4}
        assert wanted[600] == 1


class TestHpa:
    """kubernetes.io: "if the current metric value is 200m, and the desired value is 100m, the replicas are doubled"."""

    def test_doubles_when_the_metric_is_twice_the_target(self) -> None:
        assert HpaRule({"busy": 0.4}, SIDE).decide(15.0, replace(IDLE, busy=0.8), NOTHING) == 8

    def test_leaves_what_is_within_ten_percent(self) -> None:
        assert HpaRule({"busy": 0.5}, SIDE).decide(15.0, replace(IDLE, busy=0.54), NOTHING) == 4

    def test_counts_pods_that_start_as_idle(self) -> None:
        starting = replace(IDLE, target=8, ready=4, starting=4, busy=0.8)
        assert HpaRule({"busy": 0.4}, SIDE).decide(15.0, starting, NOTHING) == 8

    def test_counts_pods_that_start_as_idle_only_where_the_others_are_above_the_target(self) -> None:
        starting = replace(IDLE, target=8, ready=4, starting=4)
        for busy, number in ((0.6, 8), (1.0, 10), (0.38, 8), (0.2, 2)):
            rule = HpaRule({"busy": 0.4}, SIDE)
            assert rule.decide(600.0, replace(starting, busy=busy), NOTHING) == number, busy
        none = replace(starting, ready=0, starting=8)
        assert HpaRule({"busy": 0.4}, SIDE).decide(600.0, none, NOTHING) == 8, "nobody tells the metric"

    def test_lowers_to_the_highest_wish_of_five_minutes(self) -> None:
        rule = HpaRule({"busy": 0.5}, SIDE)
        rule.decide(15.0, replace(IDLE, busy=0.5), NOTHING)
        assert rule.decide(200.0, IDLE, NOTHING) == 4
        assert rule.decide(330.0, IDLE, NOTHING) == 1

    def test_has_a_replica_for_every_five_that_wait(self) -> None:
        assert HpaRule({"waiting": 5.0}, SIDE).decide(15.0, replace(IDLE, queued=35), NOTHING) == 7


class TestKnative:
    """knative.dev, "Autoscaling": panics at twice the capacity within 6 s, lowers by half at most, not while it panics."""

    def test_panics_and_then_takes_nothing_away_for_a_minute(self) -> None:
        rule = KpaRule({"concurrency": 1.0}, SIDE)
        assert rule.decide(0.0, replace(IDLE, running=100), NOTHING) == 10
        assert rule.decide(30.0, IDLE, NOTHING) == 10
        assert rule.decide(120.0, IDLE, NOTHING) == 2

    def test_follows_the_stable_window_otherwise(self) -> None:
        rule = KpaRule({"concurrency": 1.0}, SIDE)
        assert rule.decide(0.0, replace(IDLE, running=60), NOTHING) == 6


class TestAibrix:
    """aibrix.readthedocs.io: changes beyond 10 %, at most the double, at least the half, down after 300 s."""

    def test_at_most_doubles(self) -> None:
        assert ApaRule({}, SIDE).decide(10.0, replace(IDLE, occupied=5.0), NOTHING) == 8

    def test_leaves_what_is_within_ten_percent(self) -> None:
        assert ApaRule({}, SIDE).decide(400.0, replace(IDLE, occupied=0.46), NOTHING) == 4

    def test_halves_at_most_and_not_within_five_minutes(self) -> None:
        rule = ApaRule({}, SIDE)
        assert rule.decide(100.0, IDLE, NOTHING) == 4
        assert rule.decide(300.0, IDLE, NOTHING) == 2


def test_modserve_has_load_over_profiled_capacity_every_five_minutes() -> None:
    rule = ModServeRule({}, 0.8, SIDE)
    side = replace(IDLE, arrived=300 * 5.0)
    assert rule.decide(300.0, side, replace(NOTHING, answered=100)) == math.ceil(5.0 / 0.8)


def test_modserve_adds_one_when_fewer_than_99_percent_attained() -> None:
    rule = ModServeRule({}, 0.8, SIDE)
    late = replace(NOTHING, answered=100, late=2)
    assert rule.decide(300.0, replace(IDLE, arrived=300.0, queued=3), late) == IDLE.target + 1


def test_dynamo_predicts_a_trend_and_holds_while_replicas_start() -> None:
    assert dynamo.predicted([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx(7.0)
    rule = DynamoRule({}, 0.8, SIDE)
    assert rule.decide(180.0, replace(IDLE, arrived=180 * 8.0, starting=1), NOTHING) == 4
    assert rule.decide(360.0, replace(IDLE, arrived=360 * 8.0), NOTHING) == 10


@pytest.mark.parametrize("vision", [True, False])
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_the_profile_that_peers_get_is_what_was_measured(site: Site, vision: bool) -> None:
    found = profile.measured(site, vision=vision, steps=5)
    full = site.vision.tiles_per_s if vision else 1.0
    assert profile.profiled(site, vision=vision) / full == pytest.approx(found, abs=0.05)


def context() -> Context:
    return Context(
        site=HEAVY,
        vision=SideContext(is_vision=True, places=1, mean=3.0, most=50),
        language=SideContext(is_vision=False, places=96, mean=3.0, most=50),
    )


def test_the_oracle_orders_one_start_before_the_load_comes() -> None:
    at = np.repeat(np.arange(600.0, 900.0), 20)
    n = len(at)
    requests = Requests(at, np.full(n, 6), np.full(n, 1_000), np.full(n, 10))
    plan = plans.oracle(context(), {"window_s": 5, "factor": 1.0}, requests, 1200)
    numbers = {
        at: plan.decide(Sample(at=at, vision=None, language=IDLE, answered=0, late=0))
        for at in (380.0, 405.0, 560.0, 580.0, 890.0, 910.0)
    }
    need = math.ceil(20 * 6 / HEAVY.vision.tiles_per_s)
    assert [numbers[at].vision for at in (560.0, 580.0, 890.0, 910.0)] == [1, need, need, 1]
    assert [numbers[at].language > 1 for at in (380.0, 405.0, 890.0, 910.0)] == [False, True, True, False]


def test_our_rule_raises_the_side_whose_load_rose() -> None:
    policy = ours.make(context(), {})
    vision = SideSample(target=3, ready=3, starting=0, arrived=0.0, arrived_requests=0)
    decided = None
    for round_ in range(1, 25):
        at = 5.0 * round_
        side = replace(vision, arrived=at * 80.0, arrived_requests=int(at * 10))
        language = replace(IDLE, arrived_requests=int(at * 10), arrived_prompt_tokens=at * 1_000.0)
        decided = policy.decide(Sample(at=at, vision=side, language=language, answered=0, late=0))
    assert decided is not None
    assert decided.vision >= math.ceil(80 / HEAVY.vision.tiles_per_s)
    assert decided.language <= IDLE.target


def test_our_rule_is_told_once_a_window_of_replicas_that_are_full_all_the_time() -> None:
    policy = ours.make_unstated(context(), {})
    vision = SideSample(target=10, ready=10, starting=0, arrived=0.0, arrived_requests=0)
    proven_at = None
    for at in map(float, range(1, 60)):
        full = Full(done=at * 10 * 8.0, seconds=at * 10)
        side = replace(vision, arrived=at * 80.0, arrived_requests=int(at * 10), full=full)
        policy.decide(Sample(at=at, vision=side, language=IDLE, answered=0, late=0))
        known = policy._history.of(Role.VISION).capacity.get(WorkKind.TILES)
        if known is not None and not known.is_unproven:
            proven_at = proven_at or at
    assert proven_at == pytest.approx(KNOWN_S, abs=2 * ours.WINDOW_S)


class Watched:
    """A policy, and the last numbers it decided."""

    def __init__(self, policy: ours.Ours) -> None:
        self._policy = policy
        self.interval_s, self.age_s = policy.interval_s, policy.age_s
        self.targets = Targets(0, 0)

    def decide(self, sample: Sample) -> Targets:
        self.targets = self._policy.decide(sample)
        return self.targets


def test_one_full_replica_of_a_side_teaches_a_service_that_states_nothing() -> None:
    """Also what little a replica decodes beside its prefills: too little to be measured in one round."""
    rng = np.random.default_rng(1)
    n = 2_400
    requests = Requests(
        np.sort(rng.uniform(0, 1_200, n)), rng.integers(4, 8, n), np.full(n, 2_600), np.full(n, 60)
    )
    policy = Watched(ours.make_unstated(context(), {}))
    run = simulate(requests, HEAVY, policy, begin_with=Targets(1, 1), end_s=1_200)
    assert policy.targets.vision >= 2 and policy.targets.language >= 3
    assert outcome(run, 900, 1_200).attained > 0.95


def test_a_number_of_which_no_replica_was_full_is_held_where_nothing_is_stated() -> None:
    stated, unstated = Watched(ours.make(context(), {})), Watched(ours.make_unstated(context(), {}))
    at = np.arange(0.0, 600.0, 3.0)
    n = len(at)
    requests = Requests(at, np.full(n, 2), np.full(n, 600), np.full(n, 20))
    for policy in (stated, unstated):
        simulate(requests, HEAVY, policy, begin_with=Targets(6, 6), end_s=600)
    assert max(stated.targets.vision, stated.targets.language) < 6
    assert unstated.targets == Targets(6, 6)
