"""When which request goes out."""

import io
import json
import random
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from internvl_operator.errors import Rejected
from internvl_operator.load.bodies import Asked, Bodies
from internvl_operator.load.pictures import VARIANTS, Pictures, encode_png
from internvl_operator.load.plans import Rate, plan_rate
from internvl_operator.load.shapes import Shape, Size, parse_mix
from internvl_operator.load.traces import Replay, replay


def rate(**changes):
    given = {
        "per_s": 10.0,
        "duration_s": 100.0,
        "mix": parse_mix("text"),
        "prompt_tokens": 5,
        "output_tokens": 7,
    }
    return Rate(**{**given, **changes})


def test_constant_arrivals_are_even():
    assert [round(p.at_s, 6) for p in plan_rate(rate(per_s=4, duration_s=1.0, arrivals="constant"))] == [
        0.25,
        0.5,
        0.75,
        1.0,
    ]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_many_callers():
    times = [planned.at_s for planned in plan_rate(rate(duration_s=1000))]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)


def test_a_seed_names_a_plan():
    plans = [list(plan_rate(rate(seed=seed, mix=parse_mix("text,8x8")))) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


def test_a_mix_is_drawn_by_its_shares():
    mix = parse_mix("text=3,448x448=1,2*896x448=0")
    chance = random.Random(1)
    drawn = [mix.draw(chance) for _ in range(10_000)]
    assert drawn.count(()) == pytest.approx(7500, rel=0.05)
    assert drawn.count((Size(448, 448),)) == 10_000 - drawn.count(())
    assert parse_mix("2*896x448").draw(chance) == (Size(896, 448),) * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("picture=1", "'picture' is no kind"),
        ("448x=1", "'448x' is no kind"),
        ("text=much", "'text=much' has no share"),
        ("text=-1", "'text=-1' has no share"),
        ("text=nan", "'text=nan' has no share"),
        ("text=0", "every share is 0"),
        ("90000x90000", "more than"),
        ("", "'' is no kind"),
    ],
)
def test_a_mix_that_cannot_be_read_names_the_part(text, said):
    with pytest.raises(Rejected, match=r"^--mix: ") as fault:
        parse_mix(text)
    assert said in str(fault.value)


def test_pictures_can_be_opened_have_their_size_and_differ():
    drawn = [encode_png(Size(60, 40), seed=seed) for seed in range(3)]
    assert len(set(drawn)) == 3
    for png in drawn:
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert (image.size, image.mode) == ((60, 40), "RGB")


def test_a_size_is_drawn_a_few_times_however_many_requests_go_out():
    pictures = Pictures()
    assert len({pictures.data_url(Size(8, 8), number) for number in range(1000)}) == VARIANTS


def test_a_body_is_what_an_openai_server_takes_and_no_two_have_the_same_text():
    bodies = Bodies(Asked(model="m"))
    first, second = (json.loads(bodies.make(Shape(6, 9, (Size(8, 8),)))) for _ in range(2))
    assert {key: first[key] for key in ("model", "max_tokens", "stream")} == {
        "model": "m",
        "max_tokens": 9,
        "stream": True,
    }
    assert "ignore_eos" not in first
    picture, text = first["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert len(text["text"].split()) == 6
    assert text["text"] != second["messages"][0]["content"][1]["text"]


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
AZURE_PICTURES = """TIMESTAMP,NumImages,ContextTokens,GeneratedTokens
2024-10-15 12:00:00.0000000,0,30,44
2024-10-15 12:00:01.5000000,9,1396,109
"""
MOONCAKE = """{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 3500, "input_length": 7322, "output_length": 490, "hash_ids": [0]}
"""
OURS = """{"at": 5, "prompt_tokens": 20, "output_tokens": 4}
{"at": 6.5, "prompt_tokens": 20, "output_tokens": 4, "pictures": "2*448x224"}
"""


def plan_of(text: str, folder: Path, **changes):
    file = folder / "trace"
    file.write_text(text)
    given = {"file": file, "most_prompt_tokens": 10**6, "most_output_tokens": 10**6, "size": Size(448, 448)}
    return [
        (round(p.at_s, 4), p.shape.prompt_tokens, p.shape.output_tokens, p.shape.pictures)
        for p in replay(Replay(**{**given, **changes}))
    ]


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        (AZURE, [(0, 374, 44, ()), (4.3146, 396, 109, ())]),
        (AZURE_PICTURES, [(0, 30, 44, ()), (1.5, 1396, 109, (Size(448, 448),) * 3)]),
        (MOONCAKE, [(0, 6758, 500, ()), (0.5, 7322, 490, ())]),
        (OURS, [(0, 20, 4, ()), (1.5, 20, 4, (Size(448, 224),) * 2)]),
    ],
)
def test_a_trace_is_read_by_its_own_form(tmp_path, text, plan):
    assert plan_of(text, tmp_path) == plan


def test_a_trace_can_be_sent_faster_shorter_and_with_smaller_requests(tmp_path):
    faster = plan_of(MOONCAKE, tmp_path, speed=5.0, most_prompt_tokens=100, most_output_tokens=8)
    assert faster == [(0, 100, 8, ()), (0.1, 100, 8, ())]
    assert len(plan_of(MOONCAKE, tmp_path, duration_s=0.5)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (AZURE + "yesterday,1,2\n", "line 4 of"),
        (AZURE + "2023-11-16 18:15:51.0,1\n", "line 4 of"),
        (MOONCAKE + "nothing\n", "line 3 of"),
        (MOONCAKE + '{"timestamp": 1, "input_length": 1, "output_length": 1}\n', "line 3 of"),
        (MOONCAKE + '{"timestamp": 9000, "input_length": 1}\n', "no 'output_length'"),
        ("colour\nred\n", "no 'NumImages'|no 'TIMESTAMP'"),
        (OURS + '{"at": 9, "prompt_tokens": 1, "output_tokens": 1, "pictures": "many"}\n', "'many'"),
    ],
)
def test_a_line_that_is_none_of_a_trace_is_named(tmp_path, text, said):
    with pytest.raises(Rejected, match=r"^--trace: ") as fault:
        plan_of(text, tmp_path)
    assert any(each in str(fault.value) for each in said.split("|"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Rejected, match=r"^--trace: .*nowhere"):
        next(
            replay(
                Replay(file=tmp_path / "nowhere", most_prompt_tokens=1, most_output_tokens=1, size=Size(8, 8))
            )
        )
