"""What the demo shows of the router: frames on the picture, a sentence about tokens, read from the gateway's answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from e2e.demo.asking import AskingFailed, read_answer, write_request
from e2e.demo.pictures import draw_questions
from e2e.demo.routes import COMPRESSED, KEPT, PictureRoutes, draw_routes, tokens_saved
from internvl_engines.nano.pictures import COLOURS, KINDS

ROUTES = PictureRoutes(2, 1, (16, 4, 16))


def reply(**changes: Any) -> str:
    body = {
        "choices": [{"message": {"content": "red"}}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 2},
        "internvl": {"images": [{"columns": 2, "rows": 1, "tokens_per_tile": [16, 4, 16]}]},
        **changes,
    }
    return f"HTTP/1.1 200 OK\r\nServer-Timing: encode;dur=3.5\r\n\r\n{json.dumps(body)}"


def test_each_tile_has_the_frame_of_its_route_and_the_thumbnail_stands_beside() -> None:
    drawn = draw_routes(Image.new("RGB", (200, 100), "white"), ROUTES, kept_tokens=16, side=100)
    assert drawn.size == (312, 100)
    frames = [drawn.getpixel((x, 99)) for x in (50, 150, 262)]
    assert frames == [KEPT, COMPRESSED, KEPT]
    assert drawn.getpixel((206, 50)) == (255, 255, 255)


def test_a_tile_has_a_dot_for_each_of_its_tokens() -> None:
    drawn = draw_routes(Image.new("RGB", (200, 100), "white"), ROUTES, kept_tokens=16, side=100)
    middles = ((12.5, 37.5, 62.5, 87.5), (125, 175))
    kept = [drawn.getpixel((int(x), int(y))) for x in middles[0] for y in middles[0][1:]]
    compressed = [drawn.getpixel((x, y)) for x in middles[1] for y in (25, 75)]
    assert set(kept) == {KEPT} and set(compressed) == {COMPRESSED}


def test_one_tile_has_no_thumbnail() -> None:
    alone = PictureRoutes(1, 1, (16,))
    assert draw_routes(Image.new("RGB", (50, 50)), alone, kept_tokens=16, side=80).size == (80, 80)


def test_the_saved_tokens_are_said() -> None:
    sentence = "1 of 3 tiles compressed: 36 visual tokens instead of 48 (25 % saved)"
    assert tokens_saved([ROUTES], 16) == sentence


def test_the_routes_are_asked_for_and_read_from_the_answer(tmp_path: Path) -> None:
    write_request(tmp_path / "request.json", model="m", question="q", picture=None)
    assert json.loads((tmp_path / "request.json").read_text())["internvl"] == {"routes": True}
    answer = read_answer(reply())
    assert (answer.text, answer.images, answer.stage_ms) == ("red", (ROUTES,), {"encode": 3.5})


def test_a_refusal_is_shown_in_the_gateways_words() -> None:
    with pytest.raises(AskingFailed, match="no such model"):
        read_answer('HTTP/1.1 404 Not Found\r\n\r\n{"error": {"message": "no such model"}}')


def test_the_three_questions_have_their_answers(tmp_path: Path) -> None:
    one, several, text = draw_questions(tmp_path, seed=5)
    assert one.picture is not None and several.picture is not None and text.picture is None
    assert one.expected in {*COLOURS, *KINDS} and several.expected in {*COLOURS, *KINDS}
    assert one.expected and text.expected
