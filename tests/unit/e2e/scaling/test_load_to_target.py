"""The step of the load, and which of the steps counts against the goal."""

import json
from statistics import mean

import pytest

from e2e.bench import load_to_target
from e2e.bench.load_to_target import BEFORE_S, MOST, TEXT_TOKENS, TRAFFICS, WORDS, Step
from e2e.demo.service import MODELS
from internvl_engines.contract.checkpoint import read_checkpoint_config
from internvl_operator.load.bodies import Asked, Bodies
from internvl_operator.load.shapes import Shape
from internvl_runtimes.preprocess.prompt import Message, Prompter

NANO = MODELS / "internvl-nano"


def test_the_load_steps_up_at_the_moment_that_seconds_are_counted_from():
    for traffic in TRAFFICS:
        times = [float(str(line["at"])) for line in load_to_target._plan(traffic, 10.0)]
        assert times[0] == 0, "the first request of a replay goes out at once"
        after = [at for at in times if at >= BEFORE_S]
        assert after[0] == BEFORE_S and len(after) == 10 * traffic.per_s
        assert len(times) - len(after) < len(after) / 4


def test_a_step_asks_for_more_than_one_replica_and_no_more_than_there_may_be():
    for traffic in TRAFFICS:
        capacity = traffic.side["capacity"]
        assert isinstance(capacity, dict)
        one = capacity["tilesPerSecond" if traffic.role == "vision" else "promptTokensPerSecond"]
        assert 0 < one < traffic.per_s * traffic.work
        assert 1 < traffic.replicas <= traffic.whole <= MOST


def test_a_text_has_as_many_prompt_tokens_as_the_step_reckons_with():
    prompter = Prompter(NANO / "tokenizer.json", read_checkpoint_config(NANO))
    bodies = Bodies(Asked(model="internvl-nano"))
    made = [json.loads(bodies.make(Shape(prompt_tokens=WORDS, output_tokens=1))) for _ in range(200)]
    texts = [body["messages"][0]["content"][0]["text"] for body in made]
    tokens = [len(prompter.prompt([Message("user", (text,))]).ids) for text in texts]
    assert mean(tokens) == pytest.approx(TEXT_TOKENS, abs=1)


def test_seconds_are_from_the_step_to_a_higher_target_than_stood_before_it():
    rested = [(90.0, 1), (103.0, 2), (105.0, 4)]
    assert load_to_target._seconds(rested, began=100.0, whole=4, lasts_s=12.0) == Step(3.0, 5.0)
    chance = [(90.0, 1), (97.0, 2), (106.0, 3)]  # one more already before the step
    assert load_to_target._seconds(chance, began=100.0, whole=4, lasts_s=12.0) == Step(6.0, 12.0)


def test_the_worst_step_counts_and_not_the_median():
    nodes = [Step(1.0, 4.0), Step(1.2, 4.0), Step(4.5, 6.0)]
    prometheus = [Step(6.0, 11.0), Step(7.0, 12.0), Step(9.9, 14.0)]
    result = load_to_target._result({("nodes", "small"): nodes, ("Prometheus", "small"): prometheus})
    assert [(goal.value, goal.ok) for goal in result.goals] == [(4.5, False), (9.9, True)]
    assert result.rows[0] == ("nodes", "small", "a higher target", "1.2", "4.5")
