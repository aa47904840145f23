"""Solutions step by step: a step is right exactly when it is true of the picture."""

import random
import re

from internvl_engines.nano.questions import NUMBERS
from internvl_engines.nano.solutions import Solution, Step, random_solution


def true_of_the_picture(solution: Solution, step: Step) -> bool:
    if found := re.fullmatch(r"I see a shape that is (\w+): a (\w+)\.", step.text):
        return bool(solution.scene.of_pair(found[1], found[2]))
    if found := re.fullmatch(r"The number of (\w+?)(?:es|s) is (\w+)\.", step.text):
        kind = next(kind for kind in (found[1], f"{found[1]}e") if kind in KINDS)
        return len(solution.scene.of_kind(kind)) == NUMBERS.index(found[2])
    answer = re.fullmatch(r"The answer is (.+)\.", step.text)
    assert answer, step.text
    return answer[1] == solution.question.answer


KINDS = ("circle", "square", "triangle", "star", "cross", "diamond")


def test_each_step_is_labelled_by_what_the_picture_shows() -> None:
    solutions = [random_solution(random.Random(seed)) for seed in range(200)]
    steps = [(solution, step) for solution in solutions for step in solution.steps]
    assert all(step.right == true_of_the_picture(solution, step) for solution, step in steps)
    right = sum(step.right for _, step in steps) / len(steps)
    assert 0.42 < right < 0.58
    assert all(2 <= len(solution.steps) <= 4 for solution in solutions)


def test_the_same_seed_gives_the_same_solution() -> None:
    assert random_solution(random.Random(3)) == random_solution(random.Random(3))
    assert random_solution(random.Random(3)) != random_solution(random.Random(4))
