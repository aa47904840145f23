"""One question, four ways over the same tiles: who is asked what, and with which routes."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from internvl_engines.nano.answering import Cut, Routes, Seen
from internvl_engines.nano.evaluate import Block, answer_block, blocks_of, random_routes
from internvl_engines.nano.held_out import ask_held_out
from internvl_engines.nano.judging import WAYS
from internvl_engines.nano.pictures import (
    COLOURS,
    KINDS,
    Print,
    Scene,
    Shape,
    held_out_pair,
    held_out_text,
)
from internvl_engines.nano.questions import TASKS, Question
from internvl_engines.nano.tile_contents import tile_contents
from internvl_runtimes.preprocess.tiling import Grid, choose_grid


class FakeAnswerer:
    """Cuts as the runtime does; answers with its routes; routes every second tile of several."""

    has_router = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[bool, ...] | None, int]] = []

    def see(self, pictures: Sequence[Image.Image]) -> Seen:
        grids = [choose_grid(*p.size, min_tiles=1, max_tiles=12, tile_size=112) for p in pictures]
        cuts = tuple(Cut(grid, grid.tiles > 1) for grid in grids)
        count = sum(cut.tiles for cut in cuts)
        routes = np.arange(count) % 2 == 1 if count > 1 else np.zeros(count, np.bool_)
        return Seen(cuts, np.zeros((count, 16, 1), np.float32), np.zeros((count, 4, 1), np.float32), routes)

    def answer(
        self,
        question: str,
        seen: Seen | None = None,
        *,
        routes: Routes | None = None,
        history: Sequence[Question] = (),
    ) -> str:
        key = None if routes is None else tuple(map(bool, routes))
        self.asked.append((question, key, len(history)))
        return str(key)


def test_ways_that_agree_in_every_tile_are_asked_once() -> None:
    answerer = FakeAnswerer()
    outcomes = answer_block(answerer, Block("colour", 5, 0, 40))  # type: ignore[arg-type]
    single = [outcome for outcome in outcomes if len(outcome.tiles) == 1]
    assert 0 < len(single) < 40
    assert len(answerer.asked) == sum(len(set(outcome.answers)) for outcome in outcomes)
    for outcome in single:
        assert outcome.answers[WAYS.index("kept")] == "(False,)"
        assert outcome.answers[WAYS.index("compressed")] == "(True,)"
        assert len(set(outcome.answers)) == 2


def test_tokens_and_routes_are_those_of_the_router() -> None:
    for outcome in answer_block(FakeAnswerer(), Block("print", 5, 0, 20)):  # type: ignore[arg-type]
        chosen = sum(route for _, route in outcome.tiles)
        assert chosen == len(outcome.tiles) // 2
        assert outcome.kept_tokens == 16 * len(outcome.tiles)
        assert outcome.routed_tokens == outcome.kept_tokens - 12 * chosen


def test_the_random_router_compresses_as_many_tiles_and_none_where_there_is_no_choice() -> None:
    routes = [np.array(own, np.bool_) for own in ([0], [1, 1, 0], [1, 1, 0, 1, 0], [0, 0])]
    drawn = random_routes(routes, random.Random(3))
    assert [len(own) for own in drawn] == [1, 3, 5, 2]
    assert sum(own.sum() for own in drawn) == 5 and not drawn[0].any()
    # Seven tiles may be drawn, so five of them would fill one request or another if none was kept back.
    for seed in range(50):
        assert not any(own.all() for own in random_routes(routes, random.Random(seed)))
    assert [own.tolist() for own in random_routes(routes, random.Random(3))] == [
        own.tolist() for own in drawn
    ]


def test_each_question_is_in_one_block() -> None:
    blocks = blocks_of(120, seed=0)
    for task in (*TASKS, None):
        numbers = [n for block in blocks if block.task == task for n in range(block.first, block.stop)]
        assert numbers == list(range(120))


@pytest.mark.parametrize("task", TASKS)
def test_a_question_is_of_its_task_and_counts_as_held_out_where_something_held_out_is_shown_or_named(
    task: str,
) -> None:
    pairs = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS if held_out_pair(colour, kind)]
    counted = []
    for number in range(30):
        asked = ask_held_out(task, seed=1, number=number)
        assert asked.question.task == task
        shown = [held_out_text(line.text) for scene in asked.scenes for line in scene.prints]
        shown += [held_out_pair(s.colour, s.kind) for scene in asked.scenes for s in scene.shapes]
        texts = [f"{turn.text} {turn.answer}".lower() for turn in (*asked.history, asked.question)]
        named = [pair for pair in pairs for text in texts if pair in text]
        assert asked.held_out == (any(shown) or bool(named))
        assert number % 3 == 0 or not asked.held_out
        counted.append(asked.held_out)
    assert sum(counted) >= 5
    assert asked == ask_held_out(task, seed=1, number=29)


def test_a_question_of_several_turns_comes_with_those_before_it() -> None:
    assert all(ask_held_out("turns", seed=1, number=number).history for number in range(6))


def test_the_content_of_each_tile_is_known_from_the_scene() -> None:
    scene = Scene(
        width=448,
        height=224,
        background=(255, 255, 255),
        shapes=(Shape("circle", "red", 56, 168, 20, 0.0), Shape("square", "blue", 336, 50, 20, 0.0)),
        grid=(4, 2),
        prints=(Print("AB1", "black", 168, 56, 16),),
    )
    shown = tile_contents(scene, Cut(Grid(4, 2), has_thumbnail=True))
    assert shown == (
        "background", "print", "shapes", "shapes",
        "shapes", "background", "background", "background", "thumbnail",
    )  # fmt: skip
    assert tile_contents(scene, Cut(Grid(1, 1), has_thumbnail=False)) == ("picture of one tile",)


def test_a_corner_of_a_few_pixels_leaves_a_tile_plain() -> None:
    scene = Scene(224, 112, (255, 255, 255), (Shape("circle", "red", 93, 56, 20, 0.0),), (2, 1))
    assert tile_contents(scene, Cut(Grid(2, 1), has_thumbnail=True)) == ("shapes", "background", "thumbnail")
