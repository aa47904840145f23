"""From answers to figures: what is counted, what the router costs, when a goal is met."""

import random
from dataclasses import replace

import numpy as np
import pytest

from internvl_engines.nano.judging import (
    OVERALL,
    SEVERAL,
    TEXT_ONLY,
    WAYS,
    Goal,
    Outcome,
    examples,
    goals,
    judge,
    paired_loss,
)

PRINT_AND_PLAIN = (("print", False), ("background", True), ("thumbnail", False))


def outcome(*answers: str, task: str = "colour", **changes: object) -> Outcome:
    """Four answers to a question whose right answer is red; the last one given stands for the ways left."""
    every = (*answers, *answers[-1:] * (len(WAYS) - len(answers)))
    made = Outcome(task, "What colour is the star?", "red", every, False, 1, PRINT_AND_PLAIN, 48, 36)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_answer_counts_in_its_task_its_size_and_overall() -> None:
    outcomes = [
        outcome("red", "red", "blue", "blue"),
        outcome("red", tiles=(("picture of one tile", False),)),
    ]
    groups = judge(outcomes, seed=0).groups
    assert {name: group.asked for name, group in groups.items()} == {
        "colour": 2, "1 tile": 1, "2-6 tiles": 1, SEVERAL: 1, "other seeds": 2, OVERALL: 2,
    }  # fmt: skip
    assert [groups[OVERALL].percent(way) for way in WAYS] == [100, 100, 50, 50]
    assert [groups[SEVERAL].percent(way) for way in WAYS] == [100, 100, 0, 0]


def test_a_question_without_a_picture_counts_apart() -> None:
    text = outcome("five", "five", task="text: sum", truth="five", pictures=0, tiles=(), kept_tokens=0)
    groups = judge([text, outcome("red")], seed=0).groups
    assert groups[TEXT_ONLY].asked == groups["text: sum"].asked == groups[OVERALL].asked == 1


def test_saved_tokens_are_of_all_pictures_together() -> None:
    groups = judge([outcome("red"), outcome("red", kept_tokens=16, routed_tokens=16)], seed=0).groups
    assert groups[OVERALL].cut == pytest.approx(100 * 12 / 64)


def test_routes_are_counted_by_what_lies_on_the_tile_where_there_is_a_choice() -> None:
    one_tile = outcome("red", tiles=(("picture of one tile", False),))
    compressed = judge([outcome("red"), outcome("red"), one_tile], seed=0).compressed
    assert compressed == {"print": (0, 2), "background": (2, 2), "thumbnail": (0, 2)}


def test_the_loss_is_paired_and_its_bound_is_that_of_resampling_question_by_question() -> None:
    losses = [1] * 30 + [-1] * 10 + [0] * 960
    loss, bound = paired_loss(losses, seed=3)
    assert loss == pytest.approx(2.0)
    rng = np.random.default_rng(4)
    slow = np.array([np.mean(rng.choice(losses, len(losses))) for _ in range(4000)]) * 100
    assert bound == pytest.approx(np.percentile(slow, 95), abs=0.12)
    assert paired_loss(losses, seed=3) == (loss, bound)


def test_without_a_difference_nothing_is_lost() -> None:
    assert paired_loss([0] * 50, seed=0) == (0.0, 0.0)


def mixture(**shares: float) -> list[Outcome]:
    """A thousand questions of several tiles, of which each way answers its share rightly."""
    rng = random.Random(1)
    return [outcome(*("red" if rng.random() < shares[way] else "blue" for way in WAYS)) for _ in range(1000)]


def verdict(outcomes: list[Outcome], *, router: bool = True) -> dict[str, Goal]:
    found = goals(judge(outcomes, seed=0), ["colour"], router=router)
    return {goal.what.split(",")[0]: goal for goal in found}


def test_all_goals_are_met_by_a_model_that_meets_them() -> None:
    good = [
        replace(one, routed_tokens=20) for one in mixture(kept=1, routed=0.998, random=0.9, compressed=0.8)
    ]
    assert all(goal.ok for goal in verdict(good).values())


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"kept": 0.93}, "exact answers"),
        ({"kept": 0.80}, "the same of the worst task (colour)"),
        ({"routed": 0.97}, "95 % upper bound of what the router loses"),
        ({"random": 0.99}, "a random router of equal budget is worse by"),
        ({"compressed": 0.99}, "every tile compressed is worse by"),
    ],
)
def test_a_goal_that_is_missed_says_so(changed: dict[str, float], missed: str) -> None:
    shares = {"kept": 1.0, "routed": 0.998, "random": 0.9, "compressed": 0.8, **changed}
    assert not verdict([replace(one, routed_tokens=20) for one in mixture(**shares)])[missed].ok


def test_too_few_tokens_cut_is_a_missed_goal() -> None:
    assert not verdict([outcome("red", routed_tokens=30)])["visual tokens cut by the router"].ok


def test_a_model_without_a_router_is_judged_by_its_answers_alone() -> None:
    assert len(verdict([outcome("red")], router=False)) == 2


def test_examples_show_wrong_answers_by_task_and_what_the_router_lost() -> None:
    found = examples([outcome("red"), outcome("blue"), outcome("red", "green")])
    assert [one["answer"] for one in found["colour"]] == ["blue"]
    assert [one["answer"] for one in found["lost by the router"]] == ["green"]
