"""Questions through the real proxy, gateway, vision encoder and language model."""

import asyncio
import io
import json
import random
from typing import Any

import httpx
from PIL import Image

from e2e.demo.pictures import SHAPE_TASKS
from internvl_engines.nano import pictures, questions
from tests.local.dataplane.service import Service, picture, png, question, right_answers


def text_of(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def events_of(reply: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_is_that_of_the_sides_without_anything_between(
    service: Service, large_picture: bytes
) -> None:
    bodies = [
        question(picture(1)),
        question(picture(2), picture(3)),
        question(large_picture),
        question(text="What is two plus three?"),
    ]
    right = right_answers(service.checkpoint, bodies)
    assert [text_of(service.ask(body)) for body in bodies] == right


def test_a_streamed_answer_ends_with_reason_times_usage_and_done(service: Service) -> None:
    body = question(picture(4))
    whole = service.ask(body)
    streamed = events_of(service.ask({**body, "stream": True, "stream_options": {"include_usage": True}}))
    deltas = [event["choices"][0]["delta"] for event in streamed[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == text_of(whole)
    last, usage = streamed[-2], streamed[-1]
    assert last["choices"][0]["finish_reason"] in ("stop", "length")
    assert last["internvl"]["tiles"] == 1
    assert last["internvl"]["seconds"]["total"] >= last["internvl"]["seconds"]["encode"] > 0
    assert usage["choices"] == [] and usage["usage"] == whole.json()["usage"]


def test_a_whole_answer_carries_its_stage_times_and_its_request_id(service: Service) -> None:
    url = service.url + "/v1/chat/completions"
    reply = httpx.post(url, json=question(picture(5)), headers={"x-request-id": "my-own.id_1"}, timeout=290)
    stages = dict(part.strip().split(";dur=") for part in reply.headers["server-timing"].split(","))
    assert set(stages) == {
        "queue", "decode", "encode", "transfer", "wait", "prefill", "generate", "total",
    }  # fmt: skip
    parts = sum(float(value) for stage, value in stages.items() if stage != "total")
    assert parts <= float(stages["total"]) * 1.05 + 1
    assert reply.headers.get_list("x-request-id") == ["my-own.id_1"]
    assert reply.json()["id"] == "chatcmpl-my-own.id_1"


def test_the_routes_are_told_on_request_and_agree_with_the_usage(
    service: Service, large_picture: bytes
) -> None:
    plain = picture(1, Image.open(io.BytesIO(large_picture)).size)
    body = question(large_picture, plain, picture(4), internvl={"routes": True})
    whole = service.ask(body).json()
    images = whole["internvl"]["images"]
    assert [image["columns"] * image["rows"] for image in images] == [12, 12, 1]
    printed, background, single = (image["tokens_per_tile"] for image in images)
    assert [len(printed), len(background), len(single)] == [13, 13, 1]  # several tiles have a thumbnail
    assert min(printed) == max(printed) > min(background)
    tokens = sum(printed + background + single)
    assert tokens == whole["usage"]["prompt_tokens_details"]["image_tokens"]
    streamed = events_of(service.ask({**body, "stream": True}))
    assert streamed[-1]["internvl"]["images"] == images


def drawn_question(seed: int) -> tuple[dict[str, Any], str]:
    """A question about a picture of one of several sizes, and what is true of it."""
    rng = random.Random(f"a hundred:{seed}")
    while True:
        scene = pictures.compose(rng, grid=pictures.random_grid(rng), subject="shapes")
        if asked := questions.ask(scene, rng, count=1, tasks=SHAPE_TASKS):
            return question(png(pictures.draw(scene)), text=asked[0].text, temperature=0), asked[0].answer


def test_a_hundred_concurrent_pictures_each_get_their_own_answer(service: Service) -> None:
    asked = [drawn_question(seed) for seed in range(100)]
    bodies = [body for body, _ in asked]
    right = right_answers(service.checkpoint, bodies)
    assert len(set(right)) > 10  # else a mix-up could go unnoticed
    assert sum(answer == truth for answer, (_, truth) in zip(right, asked, strict=True)) > 75

    async def ask_all() -> list[str]:
        service.apply(language={"max_waiting": 100, "generation": "l2"})
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(timeout=290, limits=limits) as client:
            url = service.url + "/v1/chat/completions"
            return [text_of(r) for r in await asyncio.gather(*(client.post(url, json=b) for b in bodies))]

    assert asyncio.run(ask_all()) == right


def test_an_answer_of_a_wanted_length(service: Service) -> None:
    reply = service.ask(question(picture(8), max_tokens=40, ignore_eos=True)).json()
    assert reply["usage"]["completion_tokens"] == 40
    assert reply["choices"][0]["finish_reason"] == "length"


def test_a_truncated_picture_is_refused_by_its_field(service: Service) -> None:
    whole = picture(6, (300, 300))
    reply = service.ask(question(picture(7), whole[: len(whole) // 2]))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages[0].content[1].image_url.url"
    assert reply.json()["error"]["code"] == "invalid_image"
