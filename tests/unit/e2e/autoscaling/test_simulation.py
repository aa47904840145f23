"""Whole runs: nothing is lost, replicas are paid from their order on, and encoding blocks a coupled replica."""

from dataclasses import replace

import numpy as np
import pytest

from e2e.bench.autoscaling.judge.outcome import outcome
from e2e.bench.autoscaling.policies import ours
from e2e.bench.autoscaling.requests import Requests
from e2e.bench.autoscaling.simulator.pool import Pool
from e2e.bench.autoscaling.simulator.run import Run, simulate
from e2e.bench.autoscaling.simulator.sample import Sample, Targets
from e2e.bench.autoscaling.site import HEAVY, Site, coupled
from e2e.bench.autoscaling.traces.shapes import picture_requests, text_requests
from e2e.bench.autoscaling.traces.stream import Stream, Traffic
from internvl_operator.cluster.replica_counters import WINDOW_S as operator_window_s  # noqa: N811
from internvl_operator.settings import Settings as OperatorSettings

MINUTES = 20


class Follows:
    """Plays a list of targets, one a minute."""

    interval_s = 5.0
    age_s = 0.0

    def __init__(self, *targets: Targets) -> None:
        self._targets = targets
        self.seen: list[Sample] = []

    def decide(self, sample: Sample) -> Targets:
        self.seen.append(sample)
        return self._targets[min(int(sample.at / 60), len(self._targets) - 1)]


def traffic(replicas: int, site: Site = HEAVY) -> Requests:
    rate = np.ones(MINUTES * 60)
    both = Traffic((Stream(rate, picture_requests), Stream(rate, text_requests)), "")
    return both.requests(site, replicas=replicas, seed=3)


def served(policy: Follows, requests: Requests, site: Site = HEAVY) -> Run:
    return simulate(requests, site, policy, begin_with=Targets(4, 6), end_s=MINUTES * 60, seed=1)


def test_nothing_is_lost_while_replicas_come_and_go() -> None:
    policy = Follows(*(Targets(1 + i % 5, 1 + (3 * i) % 7) for i in range(MINUTES)))
    requests = traffic(6)
    run = served(policy, requests)
    assert np.all(np.isfinite(run.ended))
    assert np.all(run.first_token > requests.at)
    last = policy.seen[-1]
    assert last.vision is not None
    assert last.vision.arrived_requests == pytest.approx(np.sum(requests.tiles > 0), abs=20)
    assert last.language.arrived_requests == pytest.approx(len(requests), abs=40)


def test_requests_that_wait_for_a_place_begin_after_it_is_free_and_all_end() -> None:
    few = replace(HEAVY, language=replace(HEAVY.language, sequences=2))
    n = 60
    requests = Requests(
        at=np.arange(n) / 10,
        tiles=np.zeros(n, np.int64),
        prompt_tokens=np.full(n, 20),
        output_tokens=np.full(n, 5),
    )
    run = simulate(requests, few, Follows(Targets(1, 1)), begin_with=Targets(1, 1), end_s=120, seed=1)
    assert np.all(np.isfinite(run.ended)), "a sequence that ended gives its place back"
    running = [np.sum((run.first_token <= at) & (run.ended > at)) for at in run.first_token + 1e-6]
    assert max(running) <= 2


def test_what_is_decided_late_is_still_done_all_of_it_and_in_order() -> None:
    policy = Follows(*(Targets(1 + minute % 3, 2) for minute in range(MINUTES)))
    policy.age_s = 12.0  # more than two rounds
    run = served(policy, traffic(2))
    at = np.arange(MINUTES) * 60.0 + 59.0
    wanted = np.array([1 + minute % 3 for minute in range(MINUTES)])
    assert run.vision.changes >= MINUTES - 7
    assert np.all(run.vision.held(at) >= wanted), "ordered 12 s into the minute"


def test_our_rule_is_played_at_the_pace_of_the_operator() -> None:
    assert OperatorSettings().load_interval_s == ours.ROUND_S
    assert operator_window_s == ours.WINDOW_S


def test_the_same_seed_gives_the_same_run() -> None:
    requests = traffic(6)
    first, second = (served(Follows(Targets(3, 4), Targets(5, 6)), requests) for _ in range(2))
    assert np.array_equal(first.ended, second.ended)
    assert outcome(first, 0, 1200) == outcome(second, 0, 1200)


def test_enough_replicas_attain_and_too_few_do_not() -> None:
    requests = traffic(6)
    many = outcome(served(Follows(Targets(8, 12)), requests), 0, 1200)
    few = outcome(served(Follows(Targets(1, 1)), requests), 0, 1200)
    assert many.attained > 0.99
    assert few.attained < 0.5
    assert few.worst_minute < many.worst_minute


def test_encoding_blocks_the_answers_of_a_coupled_replica() -> None:
    requests = traffic(6)
    split = served(Follows(Targets(4, 6)), requests)
    together = served(Follows(Targets(0, 6)), requests, coupled(HEAVY, sharded=False))
    tokens_s = [np.mean((run.ended - run.first_token) / requests.output_tokens) for run in (split, together)]
    assert tokens_s[1] > 1.2 * tokens_s[0]


def test_a_replica_is_paid_from_its_order_until_its_drain_has_ended() -> None:
    pool = Pool(HEAVY.vision.start, 1, seed=0)
    pool.aim(100.0, 2)
    assert pool.starting == 1
    pool.admit(200.0)
    assert sorted(pool.free)[0] == 0.0
    assert 100 + 0.9 * 25 <= max(pool.free) <= 100 + 1.1 * 25
    pool.aim(300.0, 1)
    drained = 300 + HEAVY.vision.start.drain_s
    assert pool.replica_seconds(0, 1000) == pytest.approx(1000 + drained - 100)
    assert pool.held(np.array([50.0, 150.0, 400.0])).tolist() == [1, 2, 1]


def test_what_starts_is_given_back_before_what_serves() -> None:
    pool = Pool(HEAVY.vision.start, 2, seed=0)
    pool.aim(0.0, 4)
    pool.aim(1.0, 3)
    assert (len(pool.free), pool.starting) == (2, 1)
    assert pool.replica_seconds(0, 10) == pytest.approx(2 * 10 + 1 * 10 + 1)


def test_a_busy_replica_that_leaves_ends_its_request_first() -> None:
    pool = Pool(HEAVY.vision.start, 1, seed=0)
    pool.free = [50.0]
    pool.aim(10.0, 0)
    assert pool.replica_seconds(0, 1000) == pytest.approx(50 + HEAVY.vision.start.drain_s)
