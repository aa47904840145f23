"""A user's questions get the right answers, over REST."""

import json

import httpx
import pytest

from tests.local.service.world import World, chat


@pytest.fixture(scope="module")
def url(world: World, main_service: str) -> str:
    return str(world.wait_ready(main_service)["status"]["url"])


def test_one_proxy_has_the_port_to_itself(world: World, url: str) -> None:
    details = world.installation.ray.get_json("/api/serve/applications/")
    assert details["proxy_location"] == "HeadOnly"
    assert len(details["proxies"]) == 1, "of several, one without routes would answer 404"


def test_fresh_pictures_of_one_tile_are_answered_rightly(world: World, url: str) -> None:
    assert world.answers_rightly(url)


def test_fresh_pictures_of_several_tiles_are_answered_rightly(world: World, url: str) -> None:
    assert world.answers_rightly(url, grid=(3, 2))


def test_a_question_without_a_picture_is_answered(world: World, url: str) -> None:
    assert world.ask(url, "What is two plus three?") == "five"


def test_the_streamed_answer_is_the_whole_answer(world: World, url: str) -> None:
    picture, question, _ = world.draw()
    whole = world.ask(url, question, picture)
    pieces: list[str] = []
    body = chat(question, picture, stream=True, stream_options={"include_usage": True})
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    pieces = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert "".join(pieces) == whole
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_a_wrong_request_names_its_field(url: str) -> None:
    body = chat("What is this?", None)
    body["messages"][0]["content"].append(
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    )
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages[0].content[1].image_url.url"
