"""The losses of the later stages against their formulas, and two processes against one."""

import contextlib
import functools
import math
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
pytest.importorskip("transformers", reason="needs the training environment")


def test_preference_losses_are_those_of_the_paper() -> None:
    from internvl_engines.nano.stages import mpo

    policy = torch.tensor([[-1.0, -6.0], [-4.0, -2.0]])
    reference = torch.tensor([[-2.0, -3.0], [-3.0, -2.0]])
    pairs = mpo.losses(policy, reference, torch.tensor([2, 4]), shift=0.05)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    rewards = [(0.1 * 1.0, 0.1 * -3.0), (0.1 * -1.0, 0.0)]
    preference = -sum(math.log(sigmoid(c - r)) for c, r in rewards) / 2
    quality = -sum(math.log(sigmoid(c - 0.05)) + math.log(sigmoid(0.05 - r)) for c, r in rewards) / 2
    assert pairs.preference.item() == pytest.approx(preference, rel=1e-5)
    assert pairs.quality.item() == pytest.approx(quality, rel=1e-5)
    assert pairs.generation.item() == pytest.approx((1 / 2 + 4 / 4) / 2)
    assert pairs.total.item() == pytest.approx(0.8 * preference + 0.2 * quality + 0.75, rel=1e-5)


def test_consistency_is_the_divergence_from_the_reference() -> None:
    from internvl_engines.nano.stages.vico import consistency

    reference, student = (
        torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log(),
        torch.tensor([[0.6, 0.4], [0.5, 0.5]]).log(),
    )
    divergence = 0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4)
    assert consistency(reference, student).tolist() == pytest.approx([divergence, 0.0], abs=1e-6)
    # The direction matters: what the reference holds possible must stay so.
    assert consistency(student, reference)[0].item() != pytest.approx(divergence, rel=1e-2)


def test_half_of_the_pictures_are_compressed_and_some_larger_ones_mix_both_rates() -> None:
    from internvl_engines.nano.dataset import Drawer
    from internvl_engines.nano.stages.vico import drawn_rates

    rng = random.Random(0)
    samples = Drawer(rng, tokenizer()).several(60, turns=1)
    mixed, compressed, tiles = 0, 0, 0
    for _ in range(300):
        rates = drawn_rates(samples, rng)
        assert len(rates) == sum(sample.tiles for sample in samples)
        compressed, tiles = compressed + sum(rates), tiles + len(rates)
        first = rates[: samples[0].tiles]
        mixed += 0 < sum(first) < len(first)
    assert compressed / tiles == pytest.approx(0.5, abs=0.06)
    assert 0.3 < mixed / 300 < 0.55


@functools.cache
def tokenizer():
    from internvl_engines.nano.tokenizer import train_tokenizer

    return train_tokenizer()


def trainee(seed: int):
    from internvl_engines.nano.checkpoint import config_of
    from internvl_engines.nano.trainee import Trainee

    torch.manual_seed(seed)
    return Trainee(config_of(tokenizer()), tokenizer())


class DrawnBefore:
    """Stands in for a `Drawer`: the same samples whatever is asked for."""

    def __init__(self, samples) -> None:
        self.samples, self.tokenizer, self.rng = samples, tokenizer(), random.Random(0)

    def several(self, tiles, **how):
        return self.samples

    compared = print_in_tiles = several


def routing(window: list[float], samples):
    """A step of the router's stage with these ratios remembered: the stage, its progress and its model."""
    from internvl_engines.nano.progress import Progress
    from internvl_engines.nano.stages.lesson import Surroundings
    from internvl_engines.nano.stages.router import Router

    model, reference = trainee(1).train(), trainee(2)
    lesson = Router(model, Surroundings(lambda figures: figures, lambda stage: reference.state_dict()))
    model.requires_grad_(False)
    for parameter in lesson.moving():
        parameter.requires_grad_(True)
    lesson.remember({"window": window})
    progress = Progress()
    lesson.backward(DrawnBefore(samples), progress)
    return lesson, progress, model, reference.eval()


def small_picture():
    from internvl_engines.nano.dataset import Drawer

    samples = Drawer(random.Random(3), tokenizer()).several(1, turns=1)
    assert len(samples) == 1 and samples[0].tiles > 2
    return samples


def test_a_tiles_ratio_is_the_divergence_with_it_compressed_over_that_with_every_tile_kept() -> None:
    from internvl_engines.nano.dataset import encode_batch

    samples = small_picture()
    lesson, _, model, reference = routing([], samples)

    def divergence(compressed: int | None) -> float:
        rates = [tile == compressed for tile in range(samples[0].tiles)]
        with torch.no_grad():
            kept = reference.look_and_answer(encode_batch(samples, [False] * len(rates), tokenizer()))
            student = model.look_and_answer(encode_batch(samples, rates, tokenizer()))
        told = kept.softmax(-1)
        return (told * (told.log() - student.log_softmax(-1))).sum(-1).mean().item()

    model.eval()
    expected = [(divergence(tile) + 1e-3) / (divergence(None) + 1e-3) for tile in range(samples[0].tiles)]
    assert lesson.remembered()["window"] == pytest.approx(expected, rel=1e-4)
    assert len(set(expected)) > 1


@pytest.mark.parametrize(("small", "labelled_compress"), [(0.58, True), (0.62, False)])
def test_six_in_ten_of_the_remembered_ratios_are_labelled_compress_and_only_the_router_learns(
    small: float, labelled_compress: bool
) -> None:
    from internvl_engines.nano.stages.router import WINDOW

    samples = small_picture()
    window = [0.0] * round(WINDOW * small) + [1e6] * round(WINDOW * (1 - small))
    random.Random(0).shuffle(window)
    lesson, progress, model, _ = routing(window, samples)
    assert progress.asked["labelled compress"] == samples[0].tiles
    assert progress.right["labelled compress"] == labelled_compress * samples[0].tiles
    assert len(lesson.remembered()["window"]) == WINDOW
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learning and all(
        name.startswith(("vision.gating.", "vision.pooling_before_gating.")) for name in learning
    )


def test_rows_of_mixed_rates_are_each_tiles_own() -> None:
    model = trainee(0).eval()
    patches = torch.randn(3, 64, 160)
    with torch.no_grad():
        rows = model.rows(patches, torch.tensor([False, True, False]))
        kept, folded = model.vision.keep(patches), model.vision.compress(patches)
    assert torch.allclose(rows, torch.cat([kept[0], folded[1], kept[2]]), atol=1e-6)


def test_each_row_is_numbered_by_the_picture_that_the_prompt_puts_it_in() -> None:
    from internvl_engines.nano.dataset import Drawer, encode_batch
    from internvl_engines.nano.tokenizer import IMG_CONTEXT, IMG_END, token_id

    rng = random.Random(5)
    samples = [sample for _ in range(4) for sample in Drawer(rng, tokenizer()).compared(2, turns=1)]
    rates = [rng.random() < 0.5 for sample in samples for _ in range(sample.tiles)]
    batch = encode_batch(samples, rates, tokenizer())
    row, end = token_id(tokenizer(), IMG_CONTEXT), token_id(tokenizer(), IMG_END)
    expected = []
    for ids in batch.ids.tolist():
        number = 0
        for token in ids:
            if token == row:
                expected.append(number)
            number += token == end
    assert batch.several() and set(expected) >= {0, 1, 2}
    assert batch.numbers().tolist() == expected


def test_each_patch_of_a_text_knows_which_of_its_characters_it_shows() -> None:
    from internvl_engines.nano.dataset import Drawer, all_kept, encode_batch
    from internvl_engines.nano.prints import CHARACTERS

    drawer, shown = Drawer(random.Random(5), tokenizer()), 0
    for samples in (drawer.single(6, turns=1, subject="print"), drawer.several(12, turns=1, subject="print")):
        batch = encode_batch(samples, all_kept(samples), tokenizer())
        texts = [
            {line.text for line in scene.prints}
            for sample in samples
            for scene, picture in zip(sample.scenes, sample.tiled, strict=True)
            for _ in range(64 * len(picture.pixels))
        ]
        characters, places = batch.marks()[:, 2].tolist(), batch.character_places().tolist()
        for text, character, place in zip(texts, characters, places, strict=True):
            assert (character > 0) == (place > 0)
            if place:
                shown += 1
                assert CHARACTERS[character - 1] in {line[place - 1 : place] for line in text}
    assert shown > 30


def test_rows_learn_where_they_are_in_the_first_layers_alone() -> None:
    from internvl_engines.nano.dataset import Drawer, all_kept, encode_batch

    drawer = Drawer(random.Random(5), tokenizer())
    for samples, several in ((drawer.compared(2, turns=1), True), (drawer.single(2, turns=1), False)):
        model = trainee(0).train()
        batch = encode_batch(samples, all_kept(samples), tokenizer())
        rows = model.rows(model.patches(batch), batch.compress).detach()
        logits, orientation = model.logits_and_orientation(batch, rows)
        assert torch.allclose(logits, model.logits(batch, rows), atol=1e-5)
        orientation.backward()
        learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert any("layers.2." in name for name in learning)
        assert not any("layers.3." in name or name.startswith("vision") for name in learning)
        assert ("orientation.picture.weight" in learning) == several
        assert {"orientation.place.weight", "orientation.character.weight"} <= learning


@pytest.mark.timeout(300)
def test_two_processes_average_their_gradients_and_share_their_figures(tmp_path: Path) -> None:
    from internvl_engines.nano.processes import together

    together(2, functools.partial(_learn_a_little, tmp_path))
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for result in results:
        # Rank 0 has the gradient 1, rank 1 has 2; only rank 0 uses the second parameter, with the gradient 3.
        assert result["gradients"] == [1.5, 1.5]
        assert result["shared"] == [0.0, 1.0, 10.0]


def test_a_property_without_a_name_is_not_marked_and_named_by_no_word() -> None:
    from internvl_engines.nano.dataset import Drawer, all_kept, unasked
    from internvl_engines.nano.labels import IGNORE_INDEX, VISUAL_WORDS
    from internvl_engines.nano.pictures import COLOURS, KINDS

    samples = Drawer(random.Random(5), tokenizer()).partly_named(8)
    batch = unasked(samples, all_kept(samples))
    colours, kinds = batch.marks()[:, 0], batch.marks()[:, 1]
    shown = (colours != 0) | (kinds != 0)
    assert torch.equal(shown & (colours == IGNORE_INDEX), shown & (kinds != IGNORE_INDEX))
    shapes = [shape for sample in samples for shape in sample.scenes[0].shapes]
    expected = [shape.colour for shape in shapes if shape.colour in COLOURS]
    expected += [shape.kind for shape in shapes if shape.kind in KINDS]
    assert len(expected) == len(shapes) > 20
    named = (batch.words() == 1).sum(0)
    assert all(number <= expected.count(word) for word, number in zip(VISUAL_WORDS, named, strict=True))
    assert named.sum() > 0.9 * len(expected)  # two of a kind now and then share a row


def test_a_pair_that_is_held_out_is_neither_shown_nor_denied() -> None:
    from internvl_engines.nano.dataset import Drawer, all_kept, unasked
    from internvl_engines.nano.labels import UNTOLD, VISUAL_WORDS
    from internvl_engines.nano.pictures import COLOURS, KINDS
    from internvl_engines.nano.scenes import HELD_OUT_PAIRS

    drawer = Drawer(random.Random(5), tokenizer())
    samples = drawer.single(30, turns=1, subject="shapes") + drawer.partly_named(10)
    batch = unasked(samples, all_kept(samples))
    words, untold = batch.words(), 0
    for colour, kind in HELD_OUT_PAIRS:
        of_colour, of_kind = (words[:, VISUAL_WORDS.index(word)] for word in (colour, kind))
        # Two shapes in one row may show both.
        assert (of_kind[of_colour == 1] != 0).all() and (of_colour[of_kind == 1] != 0).all()
        untold += int((of_kind[of_colour == 1] == UNTOLD).sum())
    assert untold > 10

    model = trainee(0)
    with torch.no_grad():
        patches = model.patches(batch)
        rows = model.rows(patches, batch.compress)
        before = model.sight(batch, patches, rows).loss
        marks = batch.marks()
        colour, kind = next(
            (c, k) for c, k in HELD_OUT_PAIRS if (marks[:, 0] == 1 + list(COLOURS).index(c)).any()
        )
        there = marks[:, 0] == 1 + list(COLOURS).index(colour)
        held = 1 + len(COLOURS) + 1 + KINDS.index(kind)  # of the marker's logits: colours, then kinds

        def loss_with(more_of_the_kind: float, at: torch.Tensor) -> torch.Tensor:
            marker = model.marker.forward

            def more(patches: torch.Tensor) -> torch.Tensor:
                logits = marker(patches)
                logits[at, held] += more_of_the_kind
                return logits

            model.marker.forward = more
            try:
                return model.sight(batch, patches, rows).loss
            finally:
                model.marker.forward = marker

        assert loss_with(5.0, there) == before
        assert loss_with(5.0, marks[:, 0] == 0) > before


def test_a_print_across_a_shape_may_make_a_held_out_pair_of_their_marks() -> None:
    from internvl_engines.nano.dataset import Sample, unasked
    from internvl_engines.nano.pictures import TILE, Print, Scene, Shape, draw
    from internvl_runtimes.preprocess.tiling import tile

    shapes, prints = (Shape("circle", "pink", 56, 56, 40, 0),), (Print("K", "cyan", 56, 56, 20),)
    scene = Scene(112, 112, (255, 255, 255), shapes, (1, 1), prints)
    tiled = tile(draw(scene), tile_size=TILE, min_tiles=1, max_tiles=12, use_thumbnail=True)
    batch, model = unasked([Sample((), (scene,), (tiled,))], [False]), trainee(0)
    with torch.no_grad():
        patches = model.patches(batch)
        assert torch.isfinite(model.sight(batch, patches, model.rows(patches, batch.compress)).loss)


@pytest.mark.timeout(300)
def test_processes_end_with_whoever_started_them(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=_in_the_background, args=(tmp_path,))
    parent.start()

    def numbers() -> list[int]:
        return [int(file.read_text()) for file in tmp_path.glob("*.pid") if file.read_text()]

    try:
        poll(lambda: len(numbers()) == 2)
        parent.kill()
        parent.join()
        poll(lambda: not any(is_running(number) for number in numbers()))
    finally:
        parent.kill()
        for number in numbers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def is_running(number: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


def poll(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _in_the_background(folder: Path) -> None:
    from internvl_engines.nano.processes import together

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    together(2, functools.partial(_write_and_wait, folder))


def _write_and_wait(folder: Path, rank: int, workers: int) -> None:
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    signal.pause()


@pytest.mark.timeout(300)
def test_a_process_that_fails_ends_the_training_with_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    from torch.multiprocessing import ProcessRaisedException

    from internvl_engines.nano.processes import together

    with pytest.raises(ProcessRaisedException):
        together(2, _fail_in_one)
    assert "ValueError: no more pictures" in capfd.readouterr().err


@pytest.mark.timeout(300)
def test_a_process_that_is_killed_ends_the_other_one_too() -> None:
    from torch.multiprocessing import ProcessExitedException

    from internvl_engines.nano.processes import together

    with pytest.raises(ProcessExitedException, match="SIGKILL"):
        together(2, _be_killed_in_one)


def _learn_a_little(folder: Path, rank: int, workers: int) -> None:
    from internvl_engines.nano.processes import average_gradients, gathered

    always, sometimes = torch.nn.Parameter(torch.zeros(())), torch.nn.Parameter(torch.zeros(()))
    loss = always * (rank + 1) + (sometimes * 3 if rank == 0 else 0)
    loss.backward()
    average_gradients([always, sometimes], workers)
    shared = gathered([0.0, 1.0] if rank == 0 else [10.0], workers)
    gradients = [parameter.grad.item() for parameter in (always, sometimes)]
    torch.save({"gradients": gradients, "shared": shared}, folder / f"{rank}.pt")


def _be_killed_in_one(rank: int, workers: int) -> None:
    from internvl_engines.nano.processes import gathered

    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    gathered([1.0], workers)


def _fail_in_one(rank: int, workers: int) -> None:
    from internvl_engines.nano.processes import gathered

    if rank == 1:
        raise ValueError("no more pictures")
    gathered([1.0], workers)


def test_a_quarter_of_a_patch_knows_that_the_centre_of_a_shape_lies_in_it() -> None:
    from internvl_engines.nano.dataset import Drawer, all_kept, unasked

    samples = Drawer(random.Random(5), tokenizer()).single(20, turns=1, subject="shapes")
    centres = unasked(samples, all_kept(samples)).marks()[:, 3].reshape(20, 8, 8)
    for sample, of_picture in zip(samples, centres, strict=True):
        (scene,) = sample.scenes
        told = sorted(
            ((column + 0.25 + (quarter - 1) % 2 / 2) / 8, (row + 0.25 + (quarter - 1) // 2 / 2) / 8)
            for row, line in enumerate(of_picture.tolist())
            for column, quarter in enumerate(line)
            if quarter
        )
        assert len(told) == len(scene.shapes)
        for shape in scene.shapes:
            near = [
                place
                for place in told
                if abs(place[0] - shape.x / scene.width) <= 1 / 32 + 1e-9
                and abs(place[1] - shape.y / scene.height) <= 1 / 32 + 1e-9
            ]
            assert len(near) == 1
