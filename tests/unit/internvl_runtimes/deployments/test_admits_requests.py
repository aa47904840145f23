"""What is refused before anything is sent, and what an admitted request will cost."""

import json
from dataclasses import replace
from typing import Any

import pytest

from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.protocol.handover import PromptTooLong
from internvl_runtimes.protocol.openai import DEFAULT_MAX_TOKENS
from internvl_runtimes.protocol.problems import ModelUnknown, RequestInvalid
from tests.unit.internvl_runtimes.deployments.fakes import TILE, data_url, gateway_config, png


def body(*images: str, text: str = "hi", **more: Any) -> bytes:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    parts.append({"type": "text", "text": text})
    return json.dumps({"model": "tiny", "messages": [{"role": "user", "content": parts}], **more}).encode()


def refusal(admission: Admission, request: bytes) -> RequestInvalid:
    with pytest.raises(RequestInvalid) as caught:
        admission.admit(request)
    return caught.value


def test_tiles_are_counted_with_the_thumbnail(admission: Admission) -> None:
    one, six = data_url(png()), data_url(png(size=(3 * TILE, 2 * TILE)))
    assert admission.admit(body(one)).tiles == 1
    assert admission.admit(body(one, six)).tiles == 1 + 7


def test_text_alone_has_no_tiles_and_no_images(admission: Admission) -> None:
    admitted = admission.admit(body())
    assert (admitted.tiles, admitted.images, admitted.prompt.image_count) == (0, (), 0)


def test_the_bound_of_tokens_counts_every_tile_as_kept(admission: Admission) -> None:
    small = admission.admit(body(data_url(png())))
    large = admission.admit(body(data_url(png(size=(3 * TILE, 2 * TILE)))))
    assert large.prompt_tokens_bound - small.prompt_tokens_bound == 6 * admission.checkpoint.tokens_per_tile


def test_the_services_own_tile_limit_holds(admission: Admission) -> None:
    limited = replace(admission, config=gateway_config(max_tiles_per_image=2))
    assert limited.admit(body(data_url(png(size=(3 * TILE, 2 * TILE))))).tiles == 3


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/a.png", "unsupported_image_url"),
        ("file:///etc/passwd", "unsupported_image_url"),
        ("data:image/png,abc", "invalid_image"),
        ("data:image/png;base64,a", "invalid_image"),
        ("data:image/png;base64,####", "invalid_image"),
        ("data:image/png;base64,aGVsbG8=", "invalid_image"),
        ("data:image/png;base64,", "invalid_image"),
    ],
)
def test_a_picture_that_cannot_be_taken_names_its_field(admission: Admission, url: str, code: str) -> None:
    error = refusal(admission, body(data_url(png()), url))
    assert (error.param, error.code) == ("messages[0].content[1].image_url.url", code)


def test_a_picture_of_too_many_pixels_is_refused_from_its_header(admission: Admission) -> None:
    limited = replace(admission, config=gateway_config(max_pixels=TILE * TILE - 1))
    error = refusal(limited, body(data_url(png())))
    assert error.param == "messages[0].content[0].image_url.url"
    assert f"{TILE}x{TILE}" in error.message


def test_too_many_pictures_are_refused(admission: Admission) -> None:
    limited = replace(admission, config=gateway_config(max_images=1))
    assert refusal(limited, body(data_url(png()), data_url(png()))).code == "too_many_images"


def test_a_picture_outside_a_user_message_is_refused(admission: Admission) -> None:
    picture = {"type": "image_url", "image_url": {"url": data_url(png())}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [picture]},
        {"role": "user", "content": "b"},
    ]
    error = refusal(admission, json.dumps({"model": "tiny", "messages": messages}).encode())
    assert error.param == "messages[1].content[0]"


def test_another_model_is_unknown(admission: Admission) -> None:
    with pytest.raises(ModelUnknown, match="'tiny'"):
        admission.admit(body(model="other"))


def test_prompt_and_answer_must_fit_together(admission: Admission) -> None:
    room = 512 - admission.admit(body()).prompt_tokens_bound
    assert admission.admit(body(max_tokens=room)).sampling.max_tokens == room
    with pytest.raises(PromptTooLong):
        admission.admit(body(max_tokens=room + 1))
    with pytest.raises(PromptTooLong):
        admission.admit(body(text="x" * 600))


def test_an_answer_without_a_limit_gets_what_is_left(admission: Admission) -> None:
    admitted = admission.admit(body())
    assert admitted.sampling.max_tokens == 512 - admitted.prompt_tokens_bound < DEFAULT_MAX_TOKENS
    assert admitted.sampling.temperature == 0.0
    assert not admitted.sampling.ignore_eos
    assert admission.admit(body(ignore_eos=True)).sampling.ignore_eos
