"""Both sides go when no request comes; a text starts language, a picture both; each is answered and Ready stays True.

In the order in which they stand: each test goes on from where the one before has left the service.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from e2e.scaling.world import LANGUAGE, VISION, World
from tests.local.scaling.asking import Known, about_a_picture, is_right, without_a_picture

IDLE_S = 45
"""The shortest that there is."""
SLEEPS_WITHIN_S = 3 * IDLE_S + 300
"""Vision's idleness, then a probe and what is kept after it, and what a busy machine takes."""
RESTS = {"minReplicas": 0}
SIDES = {"vision": {**VISION, **RESTS}, "language": {**LANGUAGE, **RESTS}}
EDITED = {**SIDES, "language": {**SIDES["language"], "cpu": "600m"}}
SCALING = {"idle": f"{IDLE_S}s"}
AT_ZERO = {"vision": 0, "language": 0}


@pytest.fixture(scope="module")
def sleeping(world: World) -> Iterator[World]:
    """A service without a replica of either side; at the end another one stands in its place, with a fixed least."""
    world.apply(world.name, **SIDES, scaling=SCALING)
    world.wait(lambda: is_asleep(world), "both sides rest", within_s=SLEEPS_WITHIN_S)
    yield world
    awake = {"vision": {**VISION, "minReplicas": 1}, "language": {**LANGUAGE, "minReplicas": 1}}
    world.begin_anew(**awake)


def is_asleep(world: World) -> bool:
    at_zero = ("True", "AtZero")
    told = [world.status["roles"][role]["replicas"] for role in ("vision", "language")]
    is_said = world.said("VisionReady") == world.said("LanguageReady") == at_zero and told == ["0/0", "0/0"]
    return is_said and world.serve_replicas() == AT_ZERO


def steps(world: World, role: str) -> list[tuple[int, int]]:
    """Changes of a side's number, oldest first."""
    told = world.status["roles"][role].get("lastScaling", [])
    return [(step["from"], step["to"]) for step in reversed(told)]


@contextmanager
def ready_throughout(world: World) -> Iterator[None]:
    """Ready is never seen to be anything but True."""
    ended, seen = Event(), set[tuple[str, str]]()

    def watch() -> None:
        while not ended.wait(0.5):
            seen.add(world.said("Ready"))

    with ThreadPoolExecutor(1) as pool:
        watching: Future[None] = pool.submit(watch)
        try:
            yield
        finally:
            ended.set()
        watching.result()
    assert seen <= {("True", "Ready")}, seen


def slept(world: World, role: str) -> int:
    """How often a side went to zero; its changes follow one another."""
    told = steps(world, role)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(told)), told
    return sum(to == 0 for _, to in told)


def are_right(world: World, questions: Sequence[Known]) -> None:
    """All at once: each is answered, and most rightly."""
    with ThreadPoolExecutor(len(questions)) as pool:
        right = list(pool.map(lambda known: is_right(world, known), questions))
    assert sum(right) >= 3 * len(questions) // 4, right


def test_it_sleeps_and_says_so(sleeping: World) -> None:
    assert sleeping.said("Ready") == ("True", "Ready")
    for role in ("vision", "language"):
        side = sleeping.status["roles"][role]
        assert side["replicas"] == "0/0"
        assert slept(sleeping, role) == 1, "it went once, and nothing brought it back"
    assert "no request for 45 s" in sleeping.status["roles"]["language"]["why"]
    (said,) = [item for item in sleeping.status["conditions"] if item["type"] == "Ready"]
    assert "the next request starts those that it needs" in said["message"]
    sleeping.stays(lambda: is_asleep(sleeping), "no probe starts one")


def test_an_operator_that_is_started_anew_lets_it_sleep(sleeping: World) -> None:
    before = sleeping.status
    sleeping.installation.stop_operator()
    sleeping.installation.start_operator()
    sleeping.stays(lambda: is_asleep(sleeping), "it sleeps on")
    assert sleeping.status["probe"] == before["probe"]
    assert sleeping.said("ProbePassed") == ("True", "Ready")


def test_a_text_wakes_language_alone_and_is_answered_rightly(sleeping: World) -> None:
    with ready_throughout(sleeping):
        are_right(sleeping, [without_a_picture(seed) for seed in range(4)])
        sleeping.wait(lambda: sleeping.said("LanguageReady") == ("True", "Ready"), "language runs")
        sleeping.wait(lambda: sleeping.said("ProbePassed") == ("True", "Ready"), "it was probed")
    assert sleeping.serve_replicas()["vision"] == 0
    assert steps(sleeping, "language")[-1][1] > 0
    assert (slept(sleeping, "vision"), slept(sleeping, "language")) == (1, 1)


def test_it_sleeps_again_and_its_own_probe_does_not_keep_it_awake(sleeping: World) -> None:
    with ready_throughout(sleeping):
        sleeping.wait(lambda: is_asleep(sleeping), "both sides rest", within_s=SLEEPS_WITHIN_S)
        sleeping.stays(lambda: is_asleep(sleeping), "nothing brings it back")
    assert (slept(sleeping, "vision"), slept(sleeping, "language")) == (1, 2)


def test_pictures_wake_both_and_are_answered_rightly(sleeping: World) -> None:
    with ready_throughout(sleeping):
        are_right(sleeping, [about_a_picture(seed) for seed in range(8)])
        sleeping.wait(lambda: sleeping.said("VisionReady") == ("True", "Ready"), "vision runs")
        sleeping.wait(lambda: sleeping.said("ProbePassed") == ("True", "Ready"), "both sides were probed")
        sleeping.wait(lambda: is_asleep(sleeping), "both sides rest again", within_s=SLEEPS_WITHIN_S + 300)
    assert slept(sleeping, "vision") == 2


def test_an_edit_waits_for_a_request_and_is_proven_then(sleeping: World) -> None:
    before = sleeping.status["roles"]["language"]["generation"]
    sleeping.apply(sleeping.name, **EDITED, scaling=SCALING)
    sleeping.wait(lambda: sleeping.status["roles"]["language"]["generation"] != before, "the edit is seen")
    sleeping.wait(lambda: sleeping.said("Progressing")[0] == "False", "it is written")
    assert sleeping.said("Ready") == ("True", "Ready") and sleeping.serve_replicas() == AT_ZERO
    assert sleeping.said("ProbePassed") == ("Unknown", "AtZero")
    are_right(sleeping, [without_a_picture(seed) for seed in range(4, 8)])
    sleeping.wait(lambda: sleeping.said("ProbePassed") == ("True", "Ready"), "it was probed")
    sleeping.wait(lambda: sleeping.said("Ready") == ("True", "Ready"), "and is ready")
