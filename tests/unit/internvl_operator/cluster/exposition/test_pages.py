import math

from internvl_operator.cluster.exposition import finite, parse_page

PAGE = b"""\
# HELP ray_internvl_tiles_admitted_total Tiles of admitted requests.
# TYPE ray_internvl_tiles_admitted_total counter
ray_internvl_tiles_admitted_total{application="team.nano",replica="r}1",SessionName="s"} 61.0
ray_internvl_awaited{application="a\\"b\\\\c\\nd", input="text"} 1e3 1700000000000
ray_internvl_plain 2
ray_internvl_nan{application="a"} NaN
ray_internvl_infinite{application="a"} +Inf
ray_internvl_broken{application="a} 1
ray_internvl_wordy{application="a"} many
ray_node_cpu{ip="1"} 3
"""


def test_lines_of_ours_are_taken_apart_and_all_others_left_out():
    found = {sample.name: sample for sample in parse_page(PAGE, ("ray_internvl_",))}
    numbers = {name for name, sample in found.items() if not math.isnan(sample.value)}
    assert numbers == {"ray_internvl_tiles_admitted_total", "ray_internvl_awaited", "ray_internvl_plain"}
    assert set(found) - numbers == {"ray_internvl_nan", "ray_internvl_infinite", "ray_internvl_wordy"}
    tiles = found["ray_internvl_tiles_admitted_total"]
    assert tiles.value == 61.0
    assert tiles.labels == {"application": "team.nano", "replica": "r}1", "SessionName": "s"}
    assert found["ray_internvl_awaited"].labels["application"] == 'a"b\\c\nd', "escapes are undone"
    assert found["ray_internvl_awaited"].value == 1000.0, "the time at the end is no value"
    assert found["ray_internvl_plain"].labels == {}


def test_bytes_that_are_no_text_are_no_error():
    (sample,) = parse_page(b"\xff\xfe\nray_internvl_x 1\n", ("ray_internvl_",))
    assert sample.value == 1.0


def test_only_finite_numbers_are_numbers():
    assert [finite(value) for value in ("NaN", "+Inf", "-inf", "x", None, [], "1.5", 2)] == [
        *[None] * 6,
        1.5,
        2.0,
    ]
