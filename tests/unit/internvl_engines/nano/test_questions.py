"""What internvl-nano is asked, held against a second reading of the scene that shares no code with the first.

The reading finds the family and the slots of a question from its text alone.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import pytest

from internvl_engines.nano.pictures import (
    COLOURS,
    KINDS,
    SEVERAL_GRIDS,
    SINGLE_GRID,
    Print,
    Scene,
    Shape,
    compose,
    held_out_pair,
    held_out_text,
    random_grid,
)
from internvl_engines.nano.questions import (
    NO_PICTURE,
    NUMBERS,
    TASKS,
    TEXT_TASKS,
    WORDINGS,
    Question,
    all_texts,
    ask,
    ask_without_picture,
    compose_for,
)
from internvl_runtimes.preprocess.tiling import count_tiles

SEEDS = 250
Slots = dict[str, str]
Read = tuple[str, Slots, str]
"""Family, slots, answer of an earlier turn."""

KIND_OF = {("crosses" if kind == "cross" else f"{kind}s"): kind for kind in KINDS}
WAYS = {
    **dict.fromkeys(("left of", "to the left of", "on the left of"), (-1, 0)),
    **dict.fromkeys(("right of", "to the right of", "on the right of"), (1, 0)),
    **dict.fromkeys(("above", "over"), (0, -1)),
    **dict.fromkeys(("below", "under", "beneath"), (0, 1)),
}
_COLOUR, _KIND, _KINDS = "|".join(COLOURS), "|".join(KINDS), "|".join(KIND_OF)
_NAME = f"(?:{_COLOUR}) (?:{_KIND})"
_THINGS = f"{_KINDS}|(?:{_COLOUR}) shapes|shapes"
SLOTS = {
    "colour": _COLOUR,
    "kind": _KIND,
    "kinds": _KINDS,
    "direction": "|".join(sorted(WAYS, key=len, reverse=True)),
    "one": _NAME,
    "other": _NAME,
    "things": _THINGS,
    "others": _THINGS,
    "text": "(?-i:[A-Z0-9]{1,5})",
    "left": r"\w+",
    "right": r"\w+",
}


def pattern_of(template: str) -> re.Pattern[str]:
    bare = re.escape(template.rstrip("?.!")).replace("\\{", "{").replace("\\}", "}")
    bare = re.sub(r"(?<!\{)colour", "colou?r", bare).replace(r"\ a\ {colour}", r"\ an?\ {colour}")
    bare = bare.replace(r"a\ {colour}", r"an?\ {colour}") if bare.lower().startswith("a") else bare
    return re.compile(
        re.sub(r"\{(\w+)\}", lambda slot: f"(?P<{slot[1]}>{SLOTS[slot[1]]})", bare), re.IGNORECASE
    )


PATTERNS = [(family, pattern_of(text)) for family, texts in WORDINGS.items() for text in texts]


@cache
def read(text: str) -> tuple[str, Slots]:
    bare = re.sub(r"^look at the pictures?\. ", "", text, flags=re.IGNORECASE).rstrip("?.!")
    found = {
        (family, tuple(match.groupdict().items()))
        for family, pattern in PATTERNS
        if (match := pattern.fullmatch(bare))
    }
    assert len(found) == 1, (text, found)
    family, slots = found.pop()
    return family, {name: value if name == "text" else value.lower() for name, value in slots}


def matching(scene: Scene, slots: Slots) -> list[Shape]:
    kind = slots.get("kind") or KIND_OF.get(slots.get("kinds", ""))
    return [
        shape
        for shape in scene.shapes
        if (kind is None or shape.kind == kind) and ("colour" not in slots or shape.colour == slots["colour"])
    ]


def things(scene: Scene, words: str) -> int:
    if words == "shapes":
        return len(scene.shapes)
    if words in KIND_OF:
        return len(matching(scene, {"kinds": words}))
    return len(matching(scene, {"colour": words.removesuffix(" shapes")}))


def named(scene: Scene, name: str) -> Shape:
    (shape,) = matching(scene, dict(zip(("colour", "kind"), name.split(), strict=True)))
    return shape


def angle(origin: Shape, x: float, y: float, way: tuple[int, int]) -> float:
    """Degrees between two bearings, by their difference."""
    off = math.degrees(math.atan2(y - origin.y, x - origin.x) - math.atan2(way[1], way[0]))
    return abs((off + 180) % 360 - 180)


def yes(true: bool) -> str:
    return "yes" if true else "no"


def only_one(shapes: Sequence[Shape]) -> Shape | None:
    assert len(shapes) <= 1, "the question has several answers"
    return shapes[0] if shapes else None


def of_colour(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    shape = only_one(matching(scene, slots))
    return shape.colour if shape else "none"


def of_shape(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    assert all(line.colour != slots["colour"] for line in scene.prints)
    shape = only_one(matching(scene, slots))
    return shape.kind if shape else "none"


def of_count(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    side = max(scene.width, scene.height)
    assert all(shape.radius * 112 / side >= 6 for shape in scene.shapes)
    if "colour" in slots and "kinds" not in slots:
        assert all(line.colour != slots["colour"] for line in scene.prints)
    if not slots:
        assert not scene.prints
    return NUMBERS[len(matching(scene, slots))]


def of_position(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    origin = only_one(matching(scene, slots))
    if origin is None:
        return "none"
    way = WAYS[slots["direction"]]
    off = sorted(
        (angle(origin, shape.x, shape.y, way), shape.colour, shape.kind)
        for shape in scene.shapes
        if shape is not origin
    )
    for line in scene.prints:
        left, top, right, bottom = line.box
        assert all(angle(origin, x, y, way) > 74.9 for x in (left, right) for y in (top, bottom))
    if not off or off[0][0] > 74.9:
        return "none"
    assert off[0][0] <= 40.1, "it is unclear whether anything lies there"
    assert len(off) == 1 or off[1][0] > 59.9, "two shapes lie there"
    return " ".join(off[0][1:])


def of_print(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    lines = [line for line in scene.prints if slots.get("colour", line.colour) == line.colour]
    assert len(lines) <= 1
    return lines[0].text if lines else "none"


def of_attribute(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    (shape,) = matching(scene, {"kind": slots["kind"]})
    return yes(shape.colour == slots["colour"])


def of_lying(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    one, other = named(scene, slots["one"]), named(scene, slots["other"])
    ways = {way for way in WAYS.values() if angle(other, one.x, one.y, way) <= 40.1}
    assert len(ways) == 1, "it clearly lies nowhere"
    return yes(WAYS[slots["direction"]] in ways)


def of_more(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    return yes(things(scene, slots["things"]) > things(scene, slots["others"]))


def of_that_colour(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    assert earlier[-1][0] in ("colour", "position")
    return of_count(scene, {"colour": earlier[-1][2].split()[0], "kind": ""}, earlier)


def of_its_colour(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    family, words, _ = earlier[-1]
    if family == "print":
        (line,) = scene.prints
        return line.colour
    assert family == "count kind"
    (shape,) = matching(scene, words)
    return shape.colour


def of_that_shape(scene: Scene, slots: Slots, earlier: Sequence[Read]) -> str:
    family, words, _ = earlier[-1]
    assert family == "count colour"
    (shape,) = matching(scene, words)
    return shape.kind


Reading = Callable[[Scene, Slots, Sequence[Read]], str]
READINGS: dict[str, Reading] = {
    "colour": of_colour,
    "shape": of_shape,
    "count kind": of_count,
    "count colour": of_count,
    "count pair": of_count,
    "count all": of_count,
    "position": of_position,
    "print": of_print,
    "print colour": of_print,
    "there is": lambda scene, slots, _: yes(bool(matching(scene, slots))),
    "is it": of_attribute,
    "does it lie": of_lying,
    "are there more": of_more,
    "is there text": lambda scene, slots, _: yes(bool(scene.prints)),
    "is there text in": lambda scene, slots, _: yes(slots["colour"] in {p.colour for p in scene.prints}),
    "and the kind": of_colour,
    "and the colour": of_shape,
    "and the kinds": of_count,
    "and the colours": of_count,
    "and a pair": lambda scene, slots, _: yes(bool(matching(scene, slots))),
    "that colour": of_that_colour,
    "that shape": of_that_shape,
    "its colour": of_its_colour,
}
CONTINUES = {
    "and the kind": {"colour", "and the kind"},
    "and the colour": {"shape", "and the colour"},
    "and the kinds": {"count kind", "and the kinds"},
    "and the colours": {"count colour", "and the colours"},
    "and a pair": {"there is", "and a pair"},
}
ORDINALS = ("first", "second", "third", "fourth")


def winner(scenes: Sequence[Scene], family: str, slots: Slots) -> str:
    if family == "which says":
        scores = [sum(line.text == slots["text"] for line in scene.prints) for scene in scenes]
    elif family == "which shows":
        scores = [bool(matching(scene, slots)) for scene in scenes]
    else:
        assert family == "which has most" or (family == "which has more" and len(scenes) == 2)
        assert all(of_count(scene, {"kinds": KINDS[0]}, ()) for scene in scenes)
        scores = [things(scene, slots["things"]) for scene in scenes]
    (best,) = [number for number, score in enumerate(scores) if score == max(scores)]
    if family in ("which says", "which shows"):
        assert sum(map(bool, scores)) == 1
    return ORDINALS[best]


def check(scenes: Sequence[Scene], asked: Sequence[Question]) -> None:
    earlier: list[Read] = []
    for question in asked:
        family, slots = read(question.text)
        if len(scenes) > 1:
            assert question.answer == winner(scenes, family, slots), question
        else:
            assert question.answer == READINGS[family](scenes[0], slots, earlier), question
        if family in CONTINUES:
            assert earlier[-1][0] in CONTINUES[family], question
        assert question.near_miss not in ("", question.answer)
        earlier.append((family, slots, question.answer))


@cache
def composed(task: str, seed: int, *, held_out: bool = False) -> tuple[list[Scene], list[Question]]:
    rng = random.Random(f"{task}:{seed}")
    scenes = compose_for(task, rng, grid=random_grid(rng), held_out=held_out)
    return scenes, ask(scenes, rng, count=3, held_out=held_out, tasks=(task,))


def scene_of(*shapes: tuple[str, str], prints: tuple[Print, ...] = ()) -> Scene:
    placed = tuple(
        Shape(kind, colour, 20.0 + 30 * n, 56.0, 12.0, 0.0) for n, (kind, colour) in enumerate(shapes)
    )
    return Scene(112, 112, (255, 255, 255), placed, SINGLE_GRID, prints)


def all_of(scene: Scene, task: str, *, seeds: int = 60) -> dict[str, str]:
    """Every question that comes up, each with its answer."""
    return {
        question.text.lower().rstrip("?.!"): question.answer
        for seed in range(seeds)
        for question in ask(scene, random.Random(seed), count=30, tasks=(task,))
    }


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_every_answer_is_what_a_second_reading_of_the_scene_says(task: str, held_out: bool) -> None:
    for seed in range(SEEDS):
        scenes, asked = composed(task, seed, held_out=held_out)
        assert asked
        assert asked[-1].task == task
        check(scenes, asked)


def test_answers_stay_right_where_tasks_are_mixed() -> None:
    seen = Counter[str]()
    for seed in range(1000):
        rng = random.Random(seed)
        scene = compose(rng, grid=random_grid(rng))
        asked = ask(scene, rng, count=rng.randint(1, 5))
        check([scene], asked)
        seen.update(question.task for question in asked)
    assert set(seen) == set(TASKS) - {"compare"}
    assert min(seen.values()) > 50


def test_a_conversation_never_asks_the_same_twice() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        asked = [read(q.text) for q in ask(compose(rng), rng, count=12)]
        whole = [(family, tuple(slots.items())) for family, slots in asked if family in READINGS]
        alone = [item for item in whole if not item[0].startswith(("and ", "that ", "its "))]
        assert len(alone) == len(set(alone))


def test_training_never_names_what_is_held_out() -> None:
    for task in TASKS:
        for seed in range(SEEDS):
            scenes, asked = composed(task, seed)
            assert not any(held_out_pair(*shape.pair) for scene in scenes for shape in scene.shapes)
            for question in asked:
                assert_nameable(question)


def test_without_a_picture_nothing_held_out_is_named_either() -> None:
    for seed in range(2000):
        question = ask_without_picture(random.Random(seed))
        assert_nameable(Question(question.task, question.text, "", ""))


def assert_nameable(question: Question) -> None:
    _, slots = read(question.text)
    said = [question.answer, question.near_miss]
    kind = slots.get("kind") or KIND_OF.get(slots.get("kinds", ""), "")
    pairs = [(slots.get("colour", ""), kind)]
    if question.task in ("colour", "shape", "refusal", "turns"):
        pairs += [(word, kind) for word in said] + [(slots.get("colour", ""), word) for word in said]
    names = [name for name in (slots.get("one"), slots.get("other"), *said) if name and " " in name]
    pairs += [(words[0], words[1]) for words in (name.split() for name in names)]
    assert not any(held_out_pair(*pair) for pair in pairs), question
    texts = [slots.get("text", ""), *(said if question.task == "print" else ())]
    if question.task == "refusal" and read(question.text)[0].startswith("print"):
        texts.append(question.near_miss)
    assert not any(held_out_text(text) for text in texts if text), question


def test_held_out_pairs_and_texts_are_asked_about_when_they_may_be() -> None:
    pairs = texts = 0
    for seed in range(SEEDS):
        _, asked = composed("position", seed, held_out=True)
        pairs += any(held_out_pair(*question.answer.split()) for question in asked)
        _, asked = composed("print", seed, held_out=True)
        texts += all(held_out_text(question.answer) for question in asked)
    assert pairs > SEEDS / 10
    assert texts == SEEDS


def test_yes_and_no_are_right_equally_often() -> None:
    answers = Counter(
        question.answer for seed in range(2 * SEEDS) for question in composed("yes or no", seed)[1]
    )
    assert 0.45 < answers["yes"] / answers.total() < 0.55


def test_most_denied_shapes_are_nearly_there() -> None:
    near = []
    for seed in range(2 * SEEDS):
        (scene,), asked = composed("yes or no", seed)
        for question in asked:
            family, slots = read(question.text)
            if family == "there is" and question.answer == "no" and scene.shapes:
                near.append(any(matching(scene, {name: slots[name]}) for name in ("colour", "kind")))
    assert sum(near) > 0.75 * len(near)


def test_counts_go_from_zero_to_eight_and_none_is_the_answer_to_half_of_them() -> None:
    answers = Counter(q.answer for seed in range(3 * SEEDS) for q in composed("count", seed)[1][:1])
    assert set(answers) == set(NUMBERS[:9])
    assert max(answers.values()) < 0.35 * answers.total()
    assert sum(answers[number] for number in NUMBERS[3:9]) > 0.25 * answers.total()


def test_each_family_and_each_wording_is_used() -> None:
    families: set[str] = set()
    for task in TASKS:
        for seed in range(SEEDS):
            families.update(read(question.text)[0] for question in composed(task, seed)[1])
    assert families == set(WORDINGS) - set(TEXT_TASKS)
    assert all(2 <= len(texts) <= 12 for texts in WORDINGS.values())


def test_turns_end_in_a_question_that_depends_on_an_earlier_one() -> None:
    lengths = set()
    for seed in range(SEEDS):
        _, asked = composed("turns", seed)
        assert asked[0].task != "turns"
        assert asked[-1].task == "turns"
        lengths.add(len(asked))
    assert lengths == {2, 3}


def test_turns_are_left_out_where_there_is_room_for_one_question() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        (question,) = ask(compose(rng), rng, count=1)
        assert question.task != "turns"


@pytest.mark.parametrize("grid", [SINGLE_GRID, *SEVERAL_GRIDS])
def test_pictures_to_compare_are_two_to_four_of_few_tiles(grid: tuple[int, int]) -> None:
    counts, tiles = set(), Counter[int]()
    for seed in range(60):
        scenes = compose_for("compare", random.Random(seed), grid=grid)
        counts.add(len(scenes))
        tiles.update(
            count_tiles(s.width, s.height, min_tiles=1, max_tiles=12, tile_size=112, use_thumbnail=True)
            for s in scenes
        )
    assert counts == {2, 3, 4}
    assert max(tiles) <= 5
    assert (max(tiles) > 1) == (grid != SINGLE_GRID)
    assert tiles[1] > tiles.total() / 2


def test_each_task_can_be_asked_about_pictures_of_any_grid() -> None:
    for task in TASKS:
        for grid in SEVERAL_GRIDS:
            rng = random.Random(task)
            assert ask(compose_for(task, rng, grid=grid), rng, count=3, tasks=(task,))


def test_the_same_seed_asks_the_same() -> None:
    for task in TASKS:
        assert composed(task, 3) == composed.__wrapped__(task, 3)


def test_a_colour_is_asked_only_of_a_kind_that_occurs_once() -> None:
    asked = all_of(scene_of(("circle", "red"), ("circle", "blue"), ("star", "green")), "colour")
    assert all("star" in text for text in asked)
    assert set(asked.values()) == {"green"}


def test_a_shape_is_not_asked_by_the_colour_of_a_text() -> None:
    line = Print("K7", "blue", 56, 90, 12)
    asked = all_of(scene_of(("circle", "green"), ("star", "blue"), prints=(line,)), "shape")
    assert set(asked.values()) == {"circle"}


def test_a_neighbour_is_named_only_where_nobody_would_argue() -> None:
    row = scene_of(("circle", "red"), ("star", "blue"), ("cross", "black"))
    asked = all_of(row, "position")
    assert asked["what is right of the blue star"] == "black cross"
    assert asked["what is left of the blue star"] == "red circle"
    assert not any("of the red circle" in text for text in asked)  # two shapes lie right of it
    refused = all_of(row, "refusal", seeds=400)
    assert refused["what is above the blue star"] == "none"
    assert "what is right of the red circle" not in refused


def test_a_text_in_the_way_leaves_a_neighbour_unasked() -> None:
    line = Print("K7", "green", 85, 30, 12)
    asked = all_of(scene_of(("circle", "red"), ("star", "blue"), prints=(line,)), "position")
    assert "what is right of the red circle" not in asked
    assert asked["what is left of the blue star"] == "red circle"


def test_nothing_is_counted_where_shapes_are_too_small_in_the_thumbnail() -> None:
    wide = Scene(1120, 112, (255, 255, 255), (Shape("star", "blue", 50, 50, 20, 0),), (10, 1))
    assert not all_of(wide, "count")
    assert all_of(wide, "shape")


def test_with_two_texts_the_colour_says_which() -> None:
    lines = Print("K7", "green", 30, 30, 12), Print("XY", "red", 30, 60, 12)
    asked = all_of(scene_of(prints=lines), "print")
    assert asked["what does the green text say"] == "K7"
    assert asked["what does the red text say"] == "XY"
    assert "what is written" not in asked


def test_a_printed_text_keeps_its_capitals_in_a_question_in_lower_case() -> None:
    texts = [q.text for seed in range(SEEDS) for q in composed("compare", seed)[1]]
    said = [text for text in texts if read(text)[0] == "which says"]
    assert any(text[0].islower() for text in said)
    assert all(re.search(r"\b[A-Z0-9]{1,5}\b", text) for text in said)


def test_no_question_says_a_orange() -> None:
    for text in (q.text for seed in range(SEEDS) for q in composed("yes or no", seed)[1]):
        assert not re.search(r"\ba orange", text, re.IGNORECASE)


def test_a_near_miss_of_a_text_differs_in_one_character() -> None:
    for seed in range(SEEDS):
        for question in composed("print", seed)[1]:
            assert len(question.near_miss) == len(question.answer)
            assert sum(a != b for a, b in zip(question.near_miss, question.answer, strict=True)) == 1


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


def test_the_texts_for_the_tokenizer_hold_every_word_of_any_question() -> None:
    known = set(re.findall(r"[a-z]+", " ".join(all_texts()).lower()))
    for task in TASKS:
        for seed in range(SEEDS):
            for question in composed(task, seed)[1]:
                family, slots = read(question.text)
                text = question.text.replace(slots["text"], "") if "text" in slots else question.text
                said = "" if task in ("print", "refusal", "turns") else question.answer
                assert set(re.findall(r"[a-z]+", f"{text} {said}".lower())) <= known, family
