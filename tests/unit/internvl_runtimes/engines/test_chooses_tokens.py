import numpy as np
import pytest

from internvl_runtimes.engines.onnxruntime_language.sampling import LogitsInvalid, choose_token


def choose(logits, temperature=0.0, generator=None):
    generator = generator or np.random.default_rng(0)
    return choose_token(np.array(logits, np.float32), temperature=temperature, generator=generator)


def test_greedy_takes_the_greatest_and_the_first_of_equals():
    assert choose([0.1, 3.0, 3.0, -1.0]) == 1


def test_sampling_follows_the_softmax_at_its_temperature():
    generator, logits = np.random.default_rng(1), np.log([0.5, 0.25, 0.25])
    for temperature, share in [(1.0, 0.5), (0.5, 0.25 / 0.375)]:
        drawn = [choose(logits, temperature, generator) for _ in range(4000)]
        assert abs(drawn.count(0) / 4000 - share) < 0.03
    assert {choose([0, 50.0], 0.1, generator) for _ in range(50)} == {1}


def test_the_same_seed_draws_the_same_tokens():
    logits = np.random.default_rng(2).normal(size=40)
    one, other = ([choose(logits, 1.0, g) for _ in range(20)] for g in map(np.random.default_rng, (9, 9)))
    assert one == other and len(set(one)) > 3


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_broken_logits_are_an_error_and_not_a_token(broken):
    for temperature in (0.0, 1.0):
        with pytest.raises(LogitsInvalid, match="greatest logit"):
            choose([1.0, broken, 2.0], temperature)
