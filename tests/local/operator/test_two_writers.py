"""Two writers on one Ray at once; `e2e.bench.two_writers` counts 300 rounds, here 60 must hold."""

from e2e.bench.two_writers import contend


async def test_of_two_writers_at_once_our_side_always_ends_as_wanted(ray):
    contest = await contend(ray, rounds=60)
    print(contest)
    assert contest.most_repairs <= 2
    assert contest.bystander_unchanged
