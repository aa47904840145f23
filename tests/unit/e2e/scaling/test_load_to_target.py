"""The step of the load, and which of the steps counts against the goal."""

from e2e.bench import load_to_target
from e2e.bench.load_to_target import BEFORE_S, PER_S, Step


def test_the_load_steps_up_at_the_moment_that_seconds_are_counted_from():
    plan = load_to_target._plan(10.0)
    times = [line["at"] for line in plan]
    assert times[0] == 0, "the first request of a replay goes out at once"
    after = [at for at in times if at >= BEFORE_S]
    assert after[0] == BEFORE_S and len(after) == 10 * PER_S
    assert len(times) - len(after) < len(after) / 4


def test_the_worst_step_counts_and_not_the_median():
    nodes = [Step(1.0, 4.0), Step(1.2, 4.0), Step(4.5, 6.0)]
    prometheus = [Step(6.0, 11.0), Step(7.0, 12.0), Step(9.9, 14.0)]
    result = load_to_target._result({"nodes": nodes, "prometheus": prometheus})
    assert [(goal.value, goal.ok) for goal in result.goals] == [(4.5, False), (9.9, True)]
    assert result.rows[0] == ("nodes", "a higher target", "1.2", "4.5")
