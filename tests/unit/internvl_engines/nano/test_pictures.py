"""Scenes and their pictures: seeded, nothing touches, pixels show what the scene says, held-out stays out."""

import random

import numpy as np
import pytest
from PIL import ImageColor

from internvl_engines.nano.composing import compose_partly_named
from internvl_engines.nano.pictures import (
    COLOURS,
    KINDS,
    SEVERAL_GRIDS,
    SINGLE_GRID,
    Print,
    Scene,
    Shape,
    compose,
    draw,
    held_out_pair,
    held_out_text,
    random_grid,
)
from internvl_engines.nano.prints import CHARACTERS
from internvl_engines.nano.scenes import UNNAMED_KINDS
from internvl_runtimes.preprocess.tiling import choose_grid, count_tiles


def random_scene(seed: int, *, held_out: bool = False) -> Scene:
    rng = random.Random(seed)
    return compose(rng, grid=random_grid(rng), held_out=held_out)


def distance(line: Print, shape: Shape) -> float:
    left, top, right, bottom = line.box
    x, y = min(max(shape.x, left), right), min(max(shape.y, top), bottom)
    return float(np.hypot(shape.x - x, shape.y - y))


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    first, again, other = (draw(compose(random.Random(seed))).tobytes() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("grid", [SINGLE_GRID, *SEVERAL_GRIDS])
def test_shapes_and_prints_touch_neither_each_other_nor_the_border(grid: tuple[int, int]) -> None:
    for seed in range(60):
        scene = compose(random.Random(seed), grid=grid)
        assert scene.shapes or scene.prints
        for number, shape in enumerate(scene.shapes):
            assert shape.radius < min(shape.x, shape.y, scene.width - shape.x, scene.height - shape.y)
            for other in scene.shapes[:number]:
                apart = ((shape.x - other.x) ** 2 + (shape.y - other.y) ** 2) ** 0.5
                assert apart > shape.radius + other.radius
            assert all(distance(line, shape) > shape.radius for line in scene.prints)
        for number, line in enumerate(scene.prints):
            left, top, right, bottom = line.box
            assert left >= 1
            assert top >= 1
            assert right <= scene.width - 1
            assert bottom <= scene.height - 1
            for other_line in scene.prints[:number]:
                box = other_line.box
                assert left > box[2] or right < box[0] or top > box[3] or bottom < box[1]


def test_scenes_show_one_to_eight_shapes_or_prints_of_one_to_five_characters() -> None:
    scenes = [random_scene(seed) for seed in range(2000)]
    without, prints = [s for s in scenes if not s.prints], [s for s in scenes if s.prints]
    assert {len(scene.shapes) for scene in without} == set(range(1, 9))
    assert {len(scene.shapes) for scene in prints} == set(range(4))
    assert {len(scene.prints) for scene in prints} == {1, 2}
    texts = [line.text for scene in prints for line in scene.prints]
    assert {len(text) for text in texts} == set(range(1, 6))
    assert set("".join(texts)) == set(CHARACTERS)
    assert all(len(scene.print_colours) == len(scene.prints) for scene in scenes)


@pytest.mark.parametrize("subject", ["shapes", "print"])
def test_a_subject_can_be_asked_for(subject: str) -> None:
    for seed in range(100):
        scene = compose(random.Random(seed), subject="print" if subject == "print" else "shapes")
        assert bool(scene.prints) == (subject == "print")


def test_pixels_at_a_shapes_centre_have_its_colour() -> None:
    for seed in range(60):
        scene = random_scene(seed)
        picture = draw(scene)
        for shape in scene.shapes:
            assert picture.getpixel((round(shape.x), round(shape.y))) == COLOURS[shape.colour]


def test_all_ink_of_a_print_lies_in_the_boxes_of_its_characters_and_fills_them() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        scene = compose(rng, grid=random_grid(rng), subject="print")
        bare = Scene(scene.width, scene.height, scene.background, (), scene.grid, scene.prints[:1])
        ink = (np.asarray(draw(bare)) != scene.background).any(axis=2)
        for _, left, top, right, bottom in scene.prints[0].characters:
            box = ink[int(top) : int(bottom), int(left) : int(right)]
            assert box.any(axis=0)[[0, -1]].all()
            assert box.any(axis=1)[[0, -1]].all()
            ink[int(top) : int(bottom), int(left) : int(right)] = False
        assert not ink.any()


def test_characters_are_spelt_in_order_and_about_as_high_as_the_print_says() -> None:
    line = Print("AB12X", "red", 100, 50, 20)
    assert "".join(box[0] for box in line.characters) == line.text
    lefts = [box[1] for box in line.characters]
    assert lefts == sorted(lefts)
    assert all(abs((bottom - top) - 20) <= 2 for _, _, top, _, bottom in line.characters)
    left, top, right, bottom = line.box
    assert abs((left + right) / 2 - 100) <= 1
    assert abs((top + bottom) / 2 - 50) <= 2


def test_most_prints_of_large_pictures_are_small_in_a_tile_and_half_of_them_lie_within_one() -> None:
    heights, within = [], []
    for seed in range(400):
        rng = random.Random(seed)
        scene = compose(rng, grid=rng.choice(SEVERAL_GRIDS), subject="print")
        grid = choose_grid(scene.width, scene.height, min_tiles=1, max_tiles=12, tile_size=112)
        for line in scene.prints:
            heights.append(line.height * grid.rows * 112 / scene.height)
            left, top, right, bottom = line.box
            wide, high = scene.width / grid.columns, scene.height / grid.rows
            within.append(left // wide == right // wide and top // high == bottom // high)
    assert np.mean([12 < height < 23 for height in heights]) > 0.7
    assert min(heights) > 11
    assert 0.4 < np.mean(within) < 0.85


def test_a_single_grid_makes_one_tile_and_the_others_several_up_to_thirteen() -> None:
    counts = set()
    for seed in range(60):
        for grid in (SINGLE_GRID, *SEVERAL_GRIDS):
            scene = compose(random.Random(seed), grid=grid)
            tiles = count_tiles(
                scene.width, scene.height, min_tiles=1, max_tiles=12, tile_size=112, use_thumbnail=True
            )
            assert (tiles == 1) == (grid == SINGLE_GRID)
            counts.add(tiles)
    assert {1, 3, 4, 5, 7, 9, 10, 13} <= counts
    assert choose_grid(448, 336, min_tiles=1, max_tiles=12, tile_size=112).tiles == 12


def test_large_pictures_often_have_a_tile_of_nothing_but_background() -> None:
    empty = []
    for seed in range(200):
        rng = random.Random(seed)
        picture = np.asarray(draw(compose(rng, grid=rng.choice([(2, 2), (3, 2), (3, 3), (4, 3)]))))
        side = 3
        parts = [
            part for band in np.array_split(picture, side) for part in np.array_split(band, side, axis=1)
        ]
        empty.append(any((part == part[0, 0]).all() for part in parts))
    assert np.mean(empty) > 0.5


def test_one_text_in_eight_and_six_pairs_with_no_colour_or_kind_twice_are_held_out() -> None:
    rng = random.Random(0)
    texts = {"".join(rng.choices(CHARACTERS, k=4)) for _ in range(8000)}
    assert 0.11 < np.mean([held_out_text(text) for text in texts]) < 0.14
    pairs = [(colour, kind) for colour in COLOURS for kind in KINDS if held_out_pair(colour, kind)]
    assert len(pairs) == len({colour for colour, _ in pairs}) == len({kind for _, kind in pairs}) == 6


def test_training_never_sees_what_is_held_out() -> None:
    for seed in range(3000):
        scene = random_scene(seed)
        assert not any(held_out_pair(shape.colour, shape.kind) for shape in scene.shapes)
        assert not any(held_out_text(line.text) for line in scene.prints)


def test_what_is_held_out_is_all_that_is_printed_and_in_two_of_three_scenes_a_shape() -> None:
    scenes = [random_scene(seed, held_out=True) for seed in range(2000)]
    assert all(held_out_text(line.text) for scene in scenes for line in scene.prints)
    shown = [
        any(held_out_pair(shape.colour, shape.kind) for shape in scene.shapes)
        for scene in scenes
        if scene.shapes
    ]
    assert 0.62 < np.mean(shown) < 0.85  # a scene may show one by chance, too


def test_a_partly_named_shape_has_a_name_for_its_colour_or_its_kind_and_never_for_both() -> None:
    named_kinds, named_colours = set(), set()
    for seed in range(300):
        scene = compose_partly_named(random.Random(seed))
        assert scene.shapes and not scene.prints
        for shape in scene.shapes:
            assert (shape.colour in COLOURS) != (shape.kind in KINDS)
            if shape.colour not in COLOURS:
                red, green, blue = ImageColor.getrgb(shape.colour)
                for colour, (r, g, b) in COLOURS.items():
                    apart = 150 if held_out_pair(colour, shape.kind) else 75
                    assert np.hypot.reduce((red - r, green - g, blue - b)) > apart
        named_kinds |= {shape.kind for shape in scene.shapes} & set(KINDS)
        named_colours |= {shape.colour for shape in scene.shapes} & set(COLOURS)
    assert named_kinds == set(KINDS) and named_colours == set(COLOURS)
    for kind in (*KINDS, *UNNAMED_KINDS):
        shape = Shape(kind, "#12c840", 56, 56, 30, 0)
        picture = draw(Scene(112, 112, (255, 255, 255), (shape,), SINGLE_GRID))
        assert picture.getpixel((56, 56)) == (0x12, 0xC8, 0x40)
