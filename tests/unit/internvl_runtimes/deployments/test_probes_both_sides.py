"""The semantic probe tells each side's truth."""

import asyncio
from typing import Any

import numpy as np
import pytest

from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.handles import Lost
from internvl_runtimes.deployments.probe import Probe
from internvl_runtimes.protocol.handover import Overloaded
from internvl_runtimes.protocol.problems import RoleUnavailable
from tests.unit.internvl_runtimes.deployments.fakes import (
    REVISION,
    Clock,
    FakeSides,
    ImageFeatures,
    answer,
    features,
)


def probe(admission: Admission, sides: FakeSides, clock: Clock | None = None) -> Probe:
    return Probe(admission=admission, vision=sides, language=sides, clock=clock or Clock())


async def test_two_working_sides_pass(admission: Admission) -> None:
    said = await probe(admission, FakeSides(answer("red"))).ask()
    assert said.ok and said.features_differ
    assert (said.gateway.generation, said.vision.generation, said.language.generation) == ("g1", "v1", "l1")
    assert said.vision.revision == said.language.revision == REVISION
    assert said.text == "red"


async def test_a_vision_side_that_ignores_its_input_fails(admission: Admission) -> None:
    sides = FakeSides(answer())
    sides.encode_outcome = lambda request: features(ImageFeatures(1, 1, (2,)))
    said = await probe(admission, sides).ask()
    assert not said.ok and not said.features_differ and not said.vision.ok
    assert "same features" in said.vision.error
    assert said.language.ok


async def test_rows_that_are_no_numbers_fail(admission: Admission) -> None:
    sides = FakeSides(answer())
    sides.encode_outcome = lambda request: features(
        ImageFeatures(1, 1, (2,)), fill=np.nan if request.images[0][50] % 2 else 1.0
    )
    assert not (await probe(admission, sides).ask()).vision.ok


async def test_a_lost_vision_side_is_not_the_language_sides_fault(admission: Admission) -> None:
    sides = FakeSides(answer())
    sides.encode_outcome = lambda request: Lost("vision: ActorDiedError")
    said = await probe(admission, sides).ask()
    assert not said.ok and not said.vision.ok and said.language.ok
    assert "ActorDiedError" in said.vision.error


async def test_a_broken_language_side_is_told(admission: Admission) -> None:
    said = await probe(admission, FakeSides([RoleUnavailable("no replica")])).ask()
    assert not said.ok and said.vision.ok and not said.language.ok
    assert said.language.error == "no replica"


@pytest.mark.parametrize(
    ("error", "is_busy"),
    [(TimeoutError(), True), (Overloaded("64 wait"), True), (Lost("vision: ActorDiedError"), False)],
)
async def test_a_side_that_has_no_time_for_it_is_told_from_a_broken_one(
    admission: Admission, error: Exception, is_busy: bool
) -> None:
    sides = FakeSides(answer())
    sides.encode_outcome = lambda request: error
    said = (await probe(admission, sides).ask()).vision
    assert said is not None and not said.ok and said.busy is is_busy


async def test_two_checkpoints_are_told_apart(admission: Admission) -> None:
    said = await probe(admission, FakeSides(answer(revision="sha256:other"))).ask()
    assert not said.ok
    assert "sha256:other" in said.language.error


async def test_many_who_ask_at_once_get_one_answer(admission: Admission) -> None:
    sides, clock = FakeSides(answer()), Clock()
    one = probe(admission, sides, clock)
    answers = await asyncio.gather(*(one.ask() for _ in range(5)))
    assert all(said is answers[0] for said in answers)
    encodes = len(sides.encodes)
    clock.now += 1.1
    second: Any = await one.ask()
    assert second is not answers[0]
    assert len(sides.encodes) == 2 * encodes


async def test_language_is_asked_alone_while_vision_rests(admission: Admission) -> None:
    sides = FakeSides(answer("hello"))
    said = await probe(admission, sides).ask(sees=False)
    assert said.ok and said.vision is None and said.text == "hello"
    assert (said.gateway.generation, said.language.generation) == ("g1", "l1")
    assert not sides.encodes, "a picture would start a replica"


async def test_an_answer_without_vision_is_none_for_those_who_ask_both(admission: Admission) -> None:
    one = probe(admission, FakeSides(answer()))
    assert (await one.ask(sees=False)).vision is None
    assert (await one.ask()).vision is not None


async def test_a_broken_language_side_is_told_also_without_vision(admission: Admission) -> None:
    said = await probe(admission, FakeSides([RoleUnavailable("no replica")])).ask(sees=False)
    assert not said.ok and said.language.error == "no replica"
