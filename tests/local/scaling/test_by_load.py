"""Each side by its own load: pictures make vision more, text makes language more, rest makes both fewer.

No request is lost on the way, and what cannot be known moves nothing.
"""

import re
import time
from itertools import pairwise
from typing import Any

from e2e.cluster.prometheus_server import PrometheusServer
from e2e.scaling.world import LANGUAGE, QUIET_S, VISION, World
from tests.local.scaling.asking import about_a_picture, is_right, without_a_picture

PICTURES, TEXT, BOTH = "448x448=1", "text=1", "text=1,448x448=1"
STEADY_S = 40
MOST_MOVES = 2
"""Of a split in so long: one because the smoothed load settles, one by chance. A split that followed the share of pictures
in each window, some eight seconds, would move about five times."""


def is_lossless(figures: dict[str, Any]) -> bool:
    print(figures)
    requests = figures["requests"]
    return requests["failed"] == 0 and requests["answered"] == requests["due"] > 0


def steps(world: World, role: str) -> list[dict[str, Any]]:
    """The changes of the side's number that the status keeps, newest first."""
    return list(world.status["roles"][role].get("lastScaling", ()))


def sides(world: World) -> list[dict[str, Any]]:
    """Vision and language, from one look at the status."""
    roles = world.status["roles"]
    return [roles["vision"], roles["language"]]


def is_answered_rightly(world: World, seeds: tuple[int, ...]) -> bool:
    """Ask one by one beside the load, about pictures and without any. The model knows the answers to these seeds."""
    known = [make(seed) for seed in seeds for make in (about_a_picture, without_a_picture)]
    wrong = [item.question for item in known if not is_right(world, item)]
    print(f"{len(wrong)} of {len(known)} answers are wrong: {wrong}")
    return not wrong


def wait_for_more(world: World, role: str) -> None:
    """All the replicas that are wanted run, more than one, and serve for a while."""
    world.wait(lambda: world.ready(role) == world.target(role) > 1, f"{role} has more")
    world.wait_answers(20)


def wait_for_bound(world: World, target: int, why: str) -> None:
    """Vision has so many replicas, and status and condition say which bound keeps it from more."""

    def is_said() -> bool:
        side = world.status["roles"]["vision"]
        return (
            world.said("ScalingActive") == ("True", "ScalingLimited")
            and side["target"] == target
            and side["why"].endswith(why)
        )

    world.wait(is_said, f"vision is at {target}, for {why}")


def test_pictures_make_vision_more_and_nothing_else(world: World) -> None:
    world.settle()
    before = steps(world, "language")
    load = world.load(PICTURES, rate=1.5, tokens=1)
    took_s = world.wait(lambda: world.target("vision") > 1, "vision is to have more")
    print(f"a new target after {took_s:.1f} s, the start of the load generator included")
    assert is_answered_rightly(world, (0, 1))
    wait_for_more(world, "vision")
    assert is_answered_rightly(world, (2, 3))
    assert is_lossless(load.stopped())
    more = [step for step in steps(world, "vision") if step["to"] > step["from"]]
    assert more and all("tiles/s" in step["why"] for step in more)
    assert (world.target("language"), steps(world, "language")) == (1, before)


def test_text_makes_language_more_and_nothing_else(world: World) -> None:
    world.begin_anew()
    before = steps(world, "vision")
    load = world.load(TEXT, rate=6.0, tokens=8)
    world.wait(lambda: world.target("language") > 1, "language is to have more")
    assert is_answered_rightly(world, (0, 1))
    wait_for_more(world, "language")
    assert is_answered_rightly(world, (2, 3))
    assert is_lossless(load.stopped())
    assert (world.target("vision"), steps(world, "vision")) == (1, before)


def test_after_the_load_both_come_down(world: World) -> None:
    world.settle()
    assert world.said("ScalingActive") == ("True", "ScaledByLoad")
    assert world.said("Ready") == ("True", "Ready")


def test_an_operator_that_is_killed_in_the_middle_goes_on(world: World) -> None:
    world.begin_anew()
    load = world.load(PICTURES, rate=2.0, tokens=1)
    world.wait(lambda: world.target("vision") > 1, "vision is to have more")
    world.installation.kill_operator()
    world.installation.start_operator()
    wait_for_more(world, "vision")
    assert is_lossless(load.stopped())
    world.settle()


def test_a_bound_that_is_reached_is_the_reason_that_is_said(world: World) -> None:
    world.begin_anew()
    world.apply(world.name, scaling={"maxGPUs": 2})
    load = world.load(PICTURES, rate=6.0, tokens=1)
    wait_for_bound(world, 2, "are wanted, but scaling.maxGPUs is 2 for both sides")
    world.wait_answers(60)  # so that the smoothed load is beyond both bounds
    world.apply(world.name)
    wait_for_bound(world, 4, "are wanted, but maxReplicas is 4")
    load.stopped()


def test_a_side_that_states_nothing_learns_what_a_replica_manages_from_a_full_one(world: World) -> None:
    world.apply(world.name, vision={key: value for key, value in VISION.items() if key != "capacity"})
    world.begin_anew()
    held = "held, because how many tiles one replica manages is not stated, and none was full yet"
    few = world.load(PICTURES, rate=0.5, tokens=1)
    world.wait_answers(2)  # the probe had a picture, too
    world.wait(
        lambda: world.status["roles"]["vision"]["why"].endswith(held), "the status says what is missing"
    )
    assert (world.target("vision"), world.said("ScalingActive")) == (1, ("False", "ScalingHeld"))
    assert not world.status["roles"]["vision"].get("capacity")
    assert is_lossless(few.stopped())
    many = world.load(
        PICTURES, rate=20.0, seconds=10, tokens=1
    )  # more than two cores manage, and it ends soon
    world.wait(lambda: world.target("vision") > 1, "vision is to have more")
    assert is_lossless(many.ended())
    learned = world.status["roles"]["vision"]["capacity"]["tilesPerSecond"]
    assert 10 < learned < 1000, "tiles that one core encodes in a second"
    first = steps(world, "vision")[-1]
    assert first["from"] == 1 and re.search(r"tiles/s / [\d.]+ per replica", first["why"]), first
    world.apply(world.name)


def test_one_budget_bounds_both_sides_together(world: World) -> None:
    slow = {"promptTokensPerSecond": 100000, "outputTokensPerSecond": 2}  # so that it wants as much as vision
    language = {**LANGUAGE, "gpus": 1, "capacity": slow}
    world.apply(world.name, language=language, scaling={"maxGPUs": 3})
    world.begin_anew()

    def split() -> list[int]:
        """Vision and language in one look; together they never have more than the larger budget."""
        found = [side["target"] for side in sides(world)]
        assert sum(found) <= 4, found
        return found

    load = world.load(BOTH, rate=4.0, tokens=8)
    world.wait(lambda: sum(split()) == 3, "the budget is spent")
    world.wait_answers(80)  # so that the smoothed load is all of it
    world.apply(world.name, language=language, scaling={"maxGPUs": 4})
    bound = "are wanted, but scaling.maxGPUs is 4 for both sides"
    world.wait(
        lambda: sum(split()) == 4 and all(side["why"].endswith(bound) for side in sides(world)),
        "the larger budget is spent, and bounds both sides",
    )
    whys = [side["why"] for side in sides(world)]
    deadline, splits = time.monotonic() + STEADY_S, [split()]
    while time.monotonic() < deadline:
        splits.append(split())
        time.sleep(0.2)
    moves = [(one, other) for one, other in pairwise(splits) if one != other]
    print(f"{whys}; {splits[0]} moved: {moves}")
    assert len(moves) <= MOST_MOVES, moves
    assert is_lossless(load.stopped())
    world.apply(world.name)


def test_a_prometheus_scales_as_well_and_when_it_is_killed_nothing_moves(
    world: World, prometheus: PrometheusServer
) -> None:
    world.begin_anew()
    load = world.load(PICTURES, rate=2.0, tokens=1)
    took_s = world.wait(lambda: world.target("vision") > 1, "vision is to have more")
    print(f"a new target after {took_s:.1f} s, the start of the load generator included")
    prometheus.kill()
    world.wait(
        lambda: world.said("MetricsAvailable") == ("False", "PrometheusUnavailable"),
        "the condition says so",
    )
    held = world.target("vision"), world.target("language")
    assert is_lossless(load.stopped())
    deadline = time.monotonic() + QUIET_S + 15
    while time.monotonic() < deadline:
        assert (world.target("vision"), world.target("language")) == held
        time.sleep(1)
    prometheus.start()
    world.wait(lambda: world.said("MetricsAvailable")[0] == "True", "the load is known again")
    world.settle()
