"""The simulator against results of queueing theory."""

import math
from dataclasses import replace

import numpy as np
import pytest

from e2e.bench.autoscaling.requests import Requests
from e2e.bench.autoscaling.simulator.language_stage import LanguageStage
from e2e.bench.autoscaling.simulator.pool import Pool
from e2e.bench.autoscaling.simulator.vision_stage import VisionStage
from e2e.bench.autoscaling.site import HEAVY, LIGHT, Site, coupled

START = HEAVY.vision.start


def erlang_c(servers: int, load: float) -> float:
    """Share of requests that wait in M/M/c (Erlang 1917)."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    full = load**servers / math.factorial(servers) * servers / (servers - load)
    return full / (sum(terms) + full)


def waits_of(at: np.ndarray, tiles: np.ndarray, *, replicas: int, site: Site) -> np.ndarray:
    """Seconds that each request waits for a vision replica."""
    n = len(at)
    ones = np.ones(n, dtype=np.int64)
    requests = Requests(at, tiles, ones, ones)
    stage = VisionStage(requests, site, Pool(START, replicas, seed=0))
    end = float(at[-1]) + 1e6
    ended, number = stage.advance(0.0, end)
    assert stage.is_empty
    done = np.empty(n)
    done[number] = ended
    return done - at - tiles / site.vision.tiles_per_s


def test_one_replica_with_equal_requests_waits_as_in_m_d_1() -> None:
    rng = np.random.default_rng(1)
    share, n = 0.7, 200_000
    service_s = 5 / HEAVY.vision.tiles_per_s
    at = np.cumsum(rng.exponential(service_s / share, n))
    waits = waits_of(at, np.full(n, 5), replicas=1, site=HEAVY)
    pollaczek_khinchine = share * service_s / (2 * (1 - share))
    assert np.mean(waits) == pytest.approx(pollaczek_khinchine, rel=0.03)


@pytest.mark.parametrize("replicas", [1, 3, 10])
def test_several_replicas_wait_as_in_m_m_c(replicas: int) -> None:
    rng = np.random.default_rng(2)
    n, load = 200_000, 0.8 * replicas
    # Exponential service times, in whole tiles so small that rounding is nothing.
    site = fast_tiles(1_000.0)
    tiles = np.maximum(np.rint(rng.exponential(1_000, n)), 1).astype(np.int64)
    at = np.cumsum(rng.exponential(1 / load, n))
    waits = waits_of(at, tiles, replicas=replicas, site=site)
    assert np.mean(waits) == pytest.approx(erlang_c(replicas, load) / (replicas - load), rel=0.08)


def fast_tiles(tiles_per_s: float) -> Site:

    return replace(LIGHT, vision=replace(LIGHT.vision, tiles_per_s=tiles_per_s))


def test_a_single_answer_takes_its_prefill_and_its_steps() -> None:
    requests = Requests(np.array([1.0]), np.array([0]), np.array([856]), np.array([200]))
    stage = LanguageStage(requests, LIGHT, Pool(START, 1, seed=0))
    now = 0.0
    while not stage.is_empty:
        stage.advance(now, now + 0.05)
        now += 0.05
    replica = LIGHT.language
    prefill_s = 856 / replica.prompt_tokens_per_s * (1 + replica.step_s / replica.chunk_s)
    assert stage.first_token[0] == pytest.approx(1.0 + prefill_s)
    one_s = replica.step_s + replica.sequence_s
    assert stage.ended(requests)[0] - stage.first_token[0] == pytest.approx(200 * one_s, rel=0.02)


def test_running_sequences_share_a_replica_as_its_step_grows() -> None:
    n = 64
    requests = Requests(np.zeros(n), np.zeros(n, np.int64), np.ones(n, np.int64), np.full(n, 1_000))
    stage = LanguageStage(requests, LIGHT, Pool(START, 1, seed=0))
    now = 0.0
    while not stage.is_empty:
        stage.advance(now, now + 1)
        now += 1
    each_s = (stage.ended(requests) - stage.first_token) / 1_000
    step_s = LIGHT.language.step_s + LIGHT.language.sequence_s * n
    assert np.mean(each_s) == pytest.approx(step_s, rel=0.05)


def test_an_answer_stands_still_while_a_coupled_replica_encodes() -> None:
    site = coupled(HEAVY, sharded=False)

    def lasted_s(tiles: int) -> float:
        requests = Requests(
            np.array([0.0, 2.0]), np.array([0, tiles]), np.array([1, 1]), np.array([1_000, 1])
        )
        stage = LanguageStage(requests, site, Pool(START, 1, seed=0))
        now = 0.0
        while not stage.is_empty:
            stage.advance(now, now + 0.1)
            now += 0.1
        return float(stage.ended(requests)[0])

    assert lasted_s(50) - lasted_s(0) == pytest.approx(50 / HEAVY.vision.tiles_per_s, rel=0.05)


@pytest.mark.parametrize(
    ("prompt", "answer", "measured"), [(4_000, 2, "prompt tokens"), (100, 1_000, "both kinds")]
)
def test_only_a_replica_without_a_slot_tells_what_it_decodes(prompt: int, answer: int, measured: str) -> None:
    """Where prompts are long, sequences wait for prefill while slots are free."""
    n, replica = 2_000, LIGHT.language
    requests = Requests(
        np.zeros(n), np.zeros(n, np.int64), np.full(n, prompt, np.int64), np.full(n, answer, np.int64)
    )
    stage = LanguageStage(requests, LIGHT, Pool(START, 1, seed=0))
    now = 0.0
    while now < 60:
        stage.advance(now, now + 1)
        now += 1
    seen = stage.sample(now)
    if measured == "prompt tokens":
        assert (seen.full_output.done, seen.full_output.seconds) == (0, 0)
        rate = seen.full.done / seen.full.seconds
        assert 0.8 * replica.prompt_tokens_per_s < rate <= replica.prompt_tokens_per_s
    else:
        rate = seen.full_output.done / seen.full_output.seconds
        assert rate == pytest.approx(replica.output_tokens_per_s, rel=0.15)


def test_what_is_measured_in_short_rushes_is_what_a_replica_does_while_it_prefills() -> None:
    rng, n, replica = np.random.default_rng(3), 4_000, HEAVY.language
    prompts = rng.choice([500, 8_000], n, p=[0.9, 0.1])
    mean_s = float(np.mean(prompts)) / replica.prompt_tokens_per_s
    requests = Requests(
        np.cumsum(rng.exponential(mean_s / 2.6, n)), np.zeros(n, np.int64), prompts, np.full(n, 30)
    )
    stage = LanguageStage(requests, HEAVY, Pool(START, 4, seed=0))
    now = 0.0
    while not stage.is_empty:
        stage.advance(now, now + 1)
        now += 1
    seen = stage.sample(now).full
    assert 60 < seen.seconds < 0.5 * 4 * now, "a part of the time, in rushes"
    alone_s = seen.seconds - seen.outputs / replica.output_tokens_per_s
    slowest = replica.prompt_tokens_per_s / (1 + (replica.step_s + replica.sequence_s) / replica.chunk_s)
    assert 0.99 * slowest < seen.done / alone_s < replica.prompt_tokens_per_s
