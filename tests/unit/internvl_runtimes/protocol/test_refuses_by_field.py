"""A wrong request names its field; a harmless one passes."""

import json
from typing import Any

import pytest

from internvl_runtimes.protocol.openai import ChatRequest, parse_chat_request
from internvl_runtimes.protocol.problems import RequestInvalid


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], **changes}


def parse(document: Any) -> ChatRequest:
    return parse_chat_request(json.dumps(document).encode())


def refusal(document: Any) -> RequestInvalid:
    with pytest.raises(RequestInvalid) as caught:
        parse(document)
    return caught.value


def user(*parts: Any) -> dict[str, Any]:
    return body(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": list(parts)}])


@pytest.mark.parametrize(
    ("document", "param"),
    [
        (body(temperature=3), "temperature"),
        (body(temperature="warm"), "temperature"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_completion_tokens=-1), "max_completion_tokens"),
        (body(stop=["a", "b", "c", "d", "e"]), "stop"),
        (body(stop=["a", ""]), "stop[1]"),
        (body(n=2), "n"),
        (body(seed=2**70), "seed"),
        (body(stream_options={"include_usage": True}), "stream_options"),
        (body(stream=True, stream_options={"include": 1}), "stream_options.include"),
        (body(internvl={"route": True}), "internvl.route"),
        (body(internvl={"routes": "perhaps"}), "internvl.routes"),
        (body(messages=[]), "messages"),
        (body(messages=[{"role": "tool", "content": "x"}]), "messages[0].role"),
        (body(messages=[{"role": "user"}]), "messages[0].content"),
        (body(messages=[{"role": "assistant", "content": "x"}]), "messages"),
        (user({"type": "text"}), "messages[1].content[0].text"),
        (user({"type": "audio", "audio": ""}), "messages[1].content[0]"),
        (user({"type": "image_url", "image_url": {}}), "messages[1].content[0].image_url.url"),
        (user({"type": "image_url", "image_url": {"url": ""}}), "messages[1].content[0].image_url.url"),
        (
            user({"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u", "detail": "high"}}),
            "messages[1].content[1].image_url.detail",
        ),
        (body(top_p=0.5), "top_p"),
        (body(presence_penalty=1), "presence_penalty"),
        (body(logprobs=True), "logprobs"),
        (body(tools=[{"type": "function"}]), "tools"),
        (body(response_format={"type": "json_object"}), "response_format"),
        (body(temprature=1), "temprature"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(document: dict[str, Any], param: str) -> None:
    assert refusal(document).param == param


@pytest.mark.parametrize(
    "harmless",
    [
        {"user": "someone"},
        {"top_p": 1},
        {"top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"logit_bias": None, "logprobs": False, "tools": []},
        {"response_format": {"type": "text"}},
        {"metadata": {"a": "b"}, "store": False, "service_tier": "auto"},
        {"n": 1},
        {"max_tokens": None},
    ],
)
def test_a_field_that_changes_nothing_is_accepted(harmless: dict[str, Any]) -> None:
    assert parse(body(**harmless)).messages[0].content == "hello"


def test_a_stop_string_is_a_list_of_one() -> None:
    assert parse(body(stop="END")).stop == ("END",)
    assert parse(body(stop=["a", "b"])).stop == ("a", "b")


def test_max_completion_tokens_goes_before_its_old_name() -> None:
    assert parse(body(max_tokens=5, max_completion_tokens=7)).answer_tokens == 7
    assert parse(body(max_tokens=5)).answer_tokens == 5


def test_an_assistant_turn_may_carry_the_empty_extras_that_clients_send_back() -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "refusal": None, "tool_calls": []},
        {"role": "user", "content": "c"},
    ]
    assert [m.role for m in parse(body(messages=turns)).messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestInvalid) as caught:
        parse_chat_request(raw)
    assert caught.value.code == "invalid_json"
