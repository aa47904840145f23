"""The gateway's measurements: the load as it arrives, once each, and how long callers wait."""

import asyncio
import json
from typing import Any

import pytest

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Metric
from internvl_runtimes.deployments import gateway
from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.handles import Lost
from internvl_runtimes.protocol.problems import DeadlinePassed, RequestInvalid, RoleUnavailable
from tests.unit.internvl_runtimes.deployments.fakes import (
    TILE,
    FakeSides,
    GatewaySetting,
    answer,
    data_url,
    gateway_config,
    png,
)


class Setting(GatewaySetting):
    async def ask(self, *images: bytes, **more: Any) -> str:
        await self.gateway.reconfigure(gateway_config())
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(image)}} for image in images
        ]
        parts.append({"type": "text", "text": "what"})
        body = {"model": "tiny", "messages": [{"role": "user", "content": parts}], **more}
        admitted = await self.gateway.admit(json.dumps(body).encode())
        return "".join([chunk.text async for chunk in self.gateway.answer(admitted, "r")])

    def gauge(self, metric: Metric, **tags: str) -> float:
        self.recorded.values.clear()
        self.gateway.record_load()
        return self.recorded.total(metric, **tags)


async def test_a_request_counts_by_what_its_headers_say(admission: Admission) -> None:
    setting = Setting(admission, FakeSides(answer()))
    await setting.ask(png(size=(2 * TILE, TILE)), png(), max_tokens=5)
    total = setting.recorded.total
    assert total(metrics.REQUESTS_ADMITTED, input="pictures") == 1
    assert total(metrics.TILES_ADMITTED) == 3 + 1, "two tiles with a thumbnail, and one"
    assert total(metrics.PROMPT_TOKENS_ADMITTED, kind="visual") == 4 * admission.checkpoint.tokens_per_tile
    assert total(metrics.OUTPUT_TOKENS_ADMITTED) == 5


async def test_prompt_tokens_are_those_without_pictures_and_visual_ones(admission: Admission) -> None:
    text, both = Setting(admission, FakeSides(answer())), Setting(admission, FakeSides(answer()))
    await text.ask()
    await both.ask(png())
    assert text.recorded.total(metrics.REQUESTS_ADMITTED, input="text") == 1
    assert text.recorded.total(metrics.PROMPT_TOKENS_ADMITTED, kind="visual") == 0
    words = text.recorded.total(metrics.PROMPT_TOKENS_ADMITTED, kind="prompt")
    admitted = both.recorded.total(metrics.PROMPT_TOKENS_ADMITTED)
    wrapped = both.recorded.total(metrics.PROMPT_TOKENS_ADMITTED, kind="prompt")
    assert 0 < words < wrapped == admitted - admission.checkpoint.tokens_per_tile


async def test_what_is_sent_again_counts_once(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Lost("node")], [Lost("actor")], answer()))
    await setting.ask(png(), max_tokens=5)
    assert len(setting.sides.generations) == 3
    total = setting.recorded.total
    assert total(metrics.REQUESTS_ADMITTED) == total(metrics.TILES_ADMITTED) == 1
    assert total(metrics.OUTPUT_TOKENS_ADMITTED) == 5


async def test_what_is_refused_counts_for_nothing(admission: Admission) -> None:
    setting = Setting(admission, FakeSides(answer()))
    with pytest.raises(RequestInvalid):
        await setting.ask(b"no picture")
    counted = {name for name, value, _ in setting.recorded.values if value}
    assert counted == set()


async def test_a_request_is_awaited_until_its_first_token(admission: Admission) -> None:
    setting = Setting(admission, FakeSides(answer()))
    reached, go_on = asyncio.Event(), asyncio.Event()
    generate = setting.sides.generate

    async def held(*given: Any) -> Any:
        reached.set()
        await go_on.wait()
        async for chunk in generate(*given):
            yield chunk

    setting.sides.generate = held  # type: ignore[method-assign]
    asked = asyncio.ensure_future(setting.ask(png(), max_tokens=5))
    await reached.wait()
    assert setting.gauge(metrics.AWAITED, input="pictures") == 1
    assert setting.gauge(metrics.AWAITED, input="text") == 0
    go_on.set()
    assert await asked == "red"
    assert setting.gauge(metrics.AWAITED) == 0


async def test_a_text_is_awaited_while_language_has_no_replica_and_not_beyond_its_deadline(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "DEADLINE_S", 0.05)
    setting = Setting(admission, FakeSides(answer()))
    reached = asyncio.Event()

    async def queued(*given: Any) -> Any:
        reached.set()
        await asyncio.Event().wait()
        yield given

    setting.sides.generate = queued  # type: ignore[method-assign]
    asked = asyncio.ensure_future(setting.ask(max_tokens=5))
    await reached.wait()
    assert setting.gauge(metrics.AWAITED, input="text") == 1
    with pytest.raises(DeadlinePassed):
        await asked
    assert setting.gauge(metrics.AWAITED) == 0


async def test_tiles_are_awaited_until_a_vision_replica_takes_them(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([], endless=True))
    asked = asyncio.ensure_future(setting.ask(png(size=(2 * TILE, TILE))))
    while not setting.sides.generations:
        await asyncio.sleep(0)
    (encode,) = setting.sides.pending
    encode.is_queued = True
    assert setting.gauge(metrics.AWAITED_TILES) == 3
    encode.is_queued = False
    assert setting.gauge(metrics.AWAITED_TILES) == 0
    assert setting.gauge(metrics.AWAITED, input="pictures") == 1, "its first token has not come"
    asked.cancel()
    await asyncio.wait([asked])


async def test_tiles_are_awaited_again_between_two_tries(admission: Admission) -> None:
    setting = Setting(admission, FakeSides([Lost("node")], answer()))
    found = []

    async def pause(seconds: float) -> None:
        found.append(setting.gauge(metrics.AWAITED_TILES))

    setting.gateway._pause = pause
    await setting.ask(png())
    assert found == [1]


@pytest.mark.parametrize("failing", [True, False])
async def test_a_request_that_never_gets_a_token_is_not_awaited_for_ever(
    admission: Admission, failing: bool
) -> None:
    setting = Setting(admission, FakeSides([Lost("node")] if failing else [], endless=not failing))
    asked = asyncio.ensure_future(setting.ask(png()))
    if failing:
        with pytest.raises(RoleUnavailable):
            await asked
    else:
        while not setting.sides.generations:
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
    assert setting.gauge(metrics.AWAITED) == setting.gauge(metrics.AWAITED_TILES) == 0


async def test_the_time_to_the_first_token_holds_lost_attempts_and_that_between_tokens_is_for_one(
    admission: Admission,
) -> None:
    setting = Setting(admission, FakeSides([Lost("node")], answer()))
    generate = setting.sides.generate

    async def slow(*given: Any) -> Any:
        setting.clock.now += 2.0
        async for chunk in generate(*given):
            yield chunk
            setting.clock.now += 0.5

    setting.sides.generate = slow  # type: ignore[method-assign]
    await setting.ask(png())
    assert setting.recorded.total(metrics.TIME_TO_FIRST_TOKEN, input="pictures") == pytest.approx(4.1)
    assert setting.recorded.total(metrics.BETWEEN_TOKENS) == pytest.approx(0.25), (
        "two tokens in half a second"
    )
