"""Vision goes when no picture comes; text is answered all the while; a picture starts it again and is answered.

In the order in which they stand: each test goes on from where the one before has left the service.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2e.scaling.world import SERVICES, VISION, World
from tests.local.scaling.asking import about_a_picture, ask, is_right

IDLE_S = 45
"""The shortest that there is."""
RESTS = {**VISION, "minReplicas": 0}
EDITED = {**RESTS, "cpu": "600m"}
SCALING = {"idle": f"{IDLE_S}s"}


@pytest.fixture(scope="module")
def began() -> datetime:
    """Before vision may go: what other tests did to the service is older."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def resting(world: World, began: datetime) -> Iterator[World]:
    """A service whose vision is at zero since `began`; at the end it has a fixed least again."""
    world.wait(lambda: datetime.now(UTC) > began + timedelta(seconds=1), "the second of `began` is over")
    world.apply(world.name, vision=RESTS, scaling=SCALING)
    world.wait(lambda: world.said("VisionReady") == ("True", "AtZero"), "vision rests", within_s=IDLE_S + 300)
    yield world
    world.apply(world.name, vision={**VISION, "minReplicas": 1}, scaling=SCALING)


def of_vision(world: World) -> dict[str, Any]:
    """What the status says of vision."""
    return dict(world.status["roles"]["vision"])


def version(world: World) -> str:
    answer = world.installation.cluster.client.request("GET", f"{SERVICES}/{world.name}")
    return str(answer.document["metadata"]["resourceVersion"])


def test_text_is_answered_and_the_service_is_ready(resting: World, began: datetime) -> None:
    resting.wait(lambda: resting.serve_replicas()["vision"] == 0, "Serve has no vision replica")
    assert ask(resting, "What is your name?")
    assert resting.said("Ready") == ("True", "Ready")
    resting.wait(lambda: of_vision(resting)["replicas"] == "0/0", "the status has no replica")
    assert "no picture for 45 s" in of_vision(resting)["why"]
    steps = [
        (step["from"], step["to"])
        for step in of_vision(resting)["lastScaling"]
        if datetime.fromisoformat(step["time"]) > began
    ]
    assert steps == [(1, 0)], "it went once, and nothing brought it back"
    assert resting.serve_replicas()["vision"] == 0, "neither a text nor a probe starts one"


def test_an_operator_that_is_started_anew_writes_nothing(resting: World) -> None:
    resting.wait(lambda: resting.said("ProbePassed")[0] == "True", "language was probed")
    before = version(resting)
    resting.installation.stop_operator()
    resting.installation.start_operator()
    resting.stays(
        lambda: (version(resting), resting.serve_replicas()["vision"]) == (before, 0), "it rests on"
    )


def test_an_edit_of_vision_waits_for_a_picture(resting: World) -> None:
    before = resting.status["roles"]["vision"]["generation"]
    resting.apply(resting.name, vision=EDITED, scaling=SCALING)
    resting.wait(lambda: resting.status["roles"]["vision"]["generation"] != before, "the edit is seen")
    resting.wait(lambda: resting.said("Progressing")[0] == "False", "it is written")
    assert resting.said("Ready") == ("True", "Ready") and resting.serve_replicas()["vision"] == 0
    (said,) = [item for item in resting.status["conditions"] if item["type"] == "VisionReady"]
    assert said["reason"] == "AtZero" and "is probed then" in said["message"]


def test_pictures_wake_it_and_are_answered_rightly(resting: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        right = list(pool.map(lambda seed: is_right(resting, about_a_picture(seed)), range(8)))
    assert sum(right) >= 6, right
    resting.wait(lambda: resting.ready("vision") >= 1, "the status has the replica")
    resting.wait(lambda: resting.said("Ready") == ("True", "Ready"), "what was edited passed its probe")
    resting.wait(lambda: resting.said("ProbePassed")[0] == "True", "both sides were probed")
    steps = resting.status["roles"]["vision"]["lastScaling"]
    assert any(step["from"] == 0 and step["to"] >= 1 for step in steps)
