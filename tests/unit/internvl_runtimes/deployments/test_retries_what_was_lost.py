"""The gateway on losses, cancellation and time."""

import asyncio
import json
from contextlib import aclosing

import pytest

from internvl_runtimes.contract import metrics
from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.gateway import DEADLINE_S, LOST_RETRIES
from internvl_runtimes.deployments.handles import Lost
from internvl_runtimes.protocol.handover import Chunk, FeaturesInvalid, Overloaded, PictureUnreadable
from internvl_runtimes.protocol.problems import DeadlinePassed, RequestInvalid, RoleUnavailable
from tests.unit.internvl_runtimes.deployments.fakes import (
    FakeSides,
    GatewaySetting,
    answer,
    data_url,
    gateway_config,
    png,
)


class Setting(GatewaySetting):
    """A configured gateway over fake sides."""

    async def chunks(self, *, picture: bool = True) -> list[Chunk]:
        await self.gateway.reconfigure(gateway_config())
        parts = [{"type": "image_url", "image_url": {"url": data_url(png())}}] if picture else []
        parts.append({"type": "text", "text": "x"})  # type: ignore[dict-item]
        body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": parts}]}).encode()
        admitted = await self.gateway.admit(body)
        return [chunk async for chunk in self.gateway.answer(admitted, "r1")]

    async def text(self, *, picture: bool = True) -> str:
        return "".join(chunk.text for chunk in await self.chunks(picture=picture))


async def test_the_encode_is_passed_on_unresolved(admission: Admission) -> None:
    setting = Setting(admission, FakeSides(answer()))
    assert await setting.text() == "red"
    assert setting.sides.generations[0][1] is setting.sides.pending[0]
    assert setting.sides.generations[0][0].image_count == 1


async def test_text_alone_never_touches_vision(admission: Admission) -> None:
    setting = Setting(admission, FakeSides(answer()))
    assert await setting.text(picture=False) == "red"
    assert setting.sides.encodes == []
    assert setting.sides.generations[0][1] is None


async def test_what_was_lost_before_the_first_chunk_is_encoded_and_generated_again(
    admission: Admission,
) -> None:
    setting = Setting(admission, FakeSides([Lost("node")], [Lost("actor")], answer()))
    assert await setting.text() == "red"
    assert len(setting.sides.encodes) == len(setting.sides.generations) == 3
    assert setting.recorded.total(metrics.REENCODES) == 2
    assert all(pending.cancelled for pending in setting.sides.pending)


async def test_a_side_that_stays_lost_is_unavailable_after_bounded_retries(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Lost("node")]))
    with pytest.raises(RoleUnavailable):
        await setting.text()
    assert len(setting.sides.generations) == 1 + LOST_RETRIES


async def test_a_loss_in_the_middle_of_an_answer_is_not_retried(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Chunk("r", (1,)), Lost("actor")]))
    with pytest.raises(RoleUnavailable, match="middle"):
        await setting.text()
    assert len(setting.sides.generations) == 1


async def test_invalid_features_are_encoded_again_once_and_then_fail_loudly(admission: Admission) -> None:
    healed = Setting(admission, FakeSides([FeaturesInvalid("digest")], answer()))
    assert await healed.text() == "red"
    broken = Setting(admission, FakeSides([FeaturesInvalid("digest")]))
    with pytest.raises(FeaturesInvalid):
        await broken.text()
    assert len(broken.sides.encodes) == 2


async def test_a_picture_that_vision_cannot_read_names_its_field(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([PictureUnreadable(0, "ends too early")]))
    with pytest.raises(RequestInvalid) as caught:
        await setting.text()
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert len(setting.sides.generations) == 1


async def test_a_full_queue_is_not_retried(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Overloaded("full")]))
    with pytest.raises(Overloaded):
        await setting.text()
    assert len(setting.sides.generations) == 1


async def test_nothing_is_sent_again_after_the_deadline(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Lost("node")]))
    generate = setting.sides.generate

    async def late(*args: object) -> object:
        setting.clock.now += DEADLINE_S
        async for chunk in generate(*args):  # type: ignore[arg-type]
            yield chunk

    setting.sides.generate = late  # type: ignore[method-assign,assignment]
    with pytest.raises((RoleUnavailable, DeadlinePassed)):
        await setting.text()
    assert len(setting.sides.generations) <= 1


async def test_closing_an_answer_closes_the_generation_and_cancels_the_encode(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Chunk("r", (1,))], endless=True))
    await setting.gateway.reconfigure(gateway_config())
    body = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(png())}}]}
    admitted = await setting.gateway.admit(json.dumps({"model": "tiny", "messages": [body]}).encode())

    async def watch() -> None:
        async with aclosing(setting.gateway.answer(admitted, "r1")) as chunks:
            async for _ in chunks:
                pass

    task = asyncio.ensure_future(watch())
    while not setting.sides.generations:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert setting.sides.closed == 1
    assert setting.sides.pending[0].cancelled


async def test_the_last_chunk_tells_the_times_that_only_the_gateway_knows(admission: Admission) -> None:
    setting = Setting(admission, FakeSides(answer()))
    finished = (await setting.chunks())[-1].finished
    assert finished is not None
    assert finished.seconds["encode"] == 0.3
    assert finished.seconds["transfer"] == finished.seconds["total"] == 0.0
