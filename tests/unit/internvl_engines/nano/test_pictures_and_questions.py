"""What internvl-nano is asked: seeded, one right answer each, pixels that show what the scene says."""

import random

import pytest

from internvl_engines.nano.pictures import (
    COLOURS,
    SEVERAL_GRIDS,
    SINGLE_GRID,
    Scene,
    Shape,
    compose,
    draw,
    random_grid,
)
from internvl_engines.nano.questions import NO_PICTURE, NUMBERS, ask, ask_without_picture, facts
from internvl_runtimes.preprocess.tiling import choose_grid, count_tiles


def scene_of(*shapes: tuple[str, str]) -> Scene:
    return Scene(
        width=112,
        height=112,
        background=(255, 255, 255),
        shapes=tuple(
            Shape(kind, colour, 20.0 + 30 * n, 56.0, 12.0, 0.0) for n, (kind, colour) in enumerate(shapes)
        ),
        grid=SINGLE_GRID,
    )


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    first, again, other = (draw(compose(random.Random(seed))).tobytes() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("grid", [SINGLE_GRID, *SEVERAL_GRIDS])
def test_shapes_neither_touch_each_other_nor_the_border(grid: tuple[int, int]) -> None:
    for seed in range(20):
        scene = compose(random.Random(seed), grid=grid)
        assert 1 <= len(scene.shapes) <= 6
        for number, shape in enumerate(scene.shapes):
            assert shape.radius < min(shape.x, shape.y, scene.width - shape.x, scene.height - shape.y)
            for other in scene.shapes[:number]:
                apart = ((shape.x - other.x) ** 2 + (shape.y - other.y) ** 2) ** 0.5
                assert apart > shape.radius + other.radius


def test_pixels_at_a_shapes_centre_have_its_colour() -> None:
    for seed in range(20):
        scene = compose(random.Random(seed), grid=random_grid(random.Random(seed)))
        picture = draw(scene)
        for shape in scene.shapes:
            assert picture.getpixel((round(shape.x), round(shape.y))) == COLOURS[shape.colour]


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


def test_a_colour_is_asked_only_of_a_kind_that_occurs_once() -> None:
    asked = facts(scene_of(("circle", "red"), ("circle", "blue"), ("star", "red")))
    assert [fact for fact in asked if fact[0] == "colour"] == [("colour", {"kind": "star"}, "red")]
    assert [fact for fact in asked if fact[0] == "shape"] == [("shape", {"colour": "blue"}, "circle")]


def test_counts_are_right_and_zero_is_asked_too() -> None:
    asked = facts(scene_of(("cross", "red"), ("cross", "blue"), ("star", "red")))
    counts = {tuple(slots.values()): answer for task, slots, answer in asked if task.startswith("count")}
    assert counts[("crosses",)] == "two"
    assert counts[("stars",)] == "one"
    assert counts[("red",)] == "two"
    assert counts[()] == "three"
    assert list(counts.values()).count("zero") == 2  # one kind and one colour that are absent


def test_nothing_is_counted_where_shapes_are_too_small_in_the_thumbnail() -> None:
    wide = Scene(1120, 112, (255, 255, 255), (Shape("star", "red", 50, 50, 20, 0),), (10, 1))
    assert {fact[0] for fact in facts(wide)} == {"colour", "shape"}


def test_every_wording_is_filled_and_asks_for_the_fact() -> None:
    scene = scene_of(("circle", "red"), ("star", "blue"))
    for seed in range(200):
        for question in ask(scene, random.Random(seed), count=4):
            assert "{" not in question.text
            assert question.answer in (*COLOURS, "circle", "star", *NUMBERS)


def test_without_a_picture_sums_are_right_and_pictures_are_missed() -> None:
    seen = set()
    for seed in range(300):
        question = ask_without_picture(random.Random(seed))
        seen.add(question.task)
        if question.task == "no picture":
            assert question.answer == NO_PICTURE
        if question.task == "sum":
            words = question.text.lower().replace("?", " ").replace(".", " ").split()
            numbers = [
                int(word) if word.isdigit() else NUMBERS.index(word)
                for word in words
                if word.isdigit() or word in NUMBERS
            ]
            assert NUMBERS[sum(numbers)] == question.answer
    assert seen == {"sum", "greeting", "name", "no picture"}
