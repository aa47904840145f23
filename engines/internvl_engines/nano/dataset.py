"""What one step of training learns from: samples drawn from a seed, and batches of them at chosen resolutions.

Pictures are drawn when they are needed and never twice: one takes about 3 ms, a step of training a second.
So the figures on a batch before it is learnt from are figures on pictures never seen.
A sample is encoded apart from its drawing, because ViCO shows the same one at two resolutions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from internvl_engines.nano.composing import compose_page, compose_partly_named
from internvl_engines.nano.conversation import Conversation, encode
from internvl_engines.nano.labels import PATCH_SIDE, character_places, patch_marks, visual_words
from internvl_engines.nano.pictures import (
    SEVERAL_GRIDS,
    SINGLE_GRID,
    TILE,
    Scene,
    Subject,
    compose,
    draw,
    random_grid,
)
from internvl_engines.nano.questions import TASKS, Question, ask, ask_without_picture, compose_for
from internvl_engines.nano.shape import COMMON_SYSTEM_MESSAGE, SYSTEM_MESSAGE
from internvl_engines.nano.tokenizer import END_OF_TEXT, token_id
from internvl_runtimes.preprocess.tiling import TiledImage, tile

KEEP_ROWS, COMPRESS_ROWS = 16, 4
"""Rows of one tile, in a square."""
_SMALL_COMPARISONS = 0.6


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation about pictures (or about none), not yet encoded."""

    turns: tuple[Question, ...]
    scenes: tuple[Scene, ...] = ()
    tiled: tuple[TiledImage, ...] = ()
    image_turn: int = 0
    image_last: bool = False
    system: str = SYSTEM_MESSAGE

    @property
    def tiles(self) -> int:
        """Tiles of all its pictures, thumbnails included."""
        return sum(len(picture.pixels) for picture in self.tiled)


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples encoded together."""

    samples: tuple[Sample, ...]
    compress: Tensor
    """bool [tiles]: which go through ``mlp2`` (4 rows) instead of ``mlp1`` (16 rows)."""
    ids: Tensor
    """int64 [samples, T], padded on the right."""
    before: Tensor
    """int64 [A]: for each token of an answer, the flat place in ``ids`` that predicts it."""
    tokens: Tensor
    """int64 [A]: the answers' tokens, their end tokens included."""
    answers: tuple[tuple[str, int], ...]
    """Task and number of tokens of each answer, in the order of ``tokens``."""

    def pixels(self) -> Tensor:
        """float32 [tiles, 3, S, S]."""
        arrays = [picture.pixels for sample in self.samples for picture in sample.tiled]
        return torch.from_numpy(np.concatenate(arrays))

    def words(self) -> Tensor:
        """float32 [rows, len(labels.VISUAL_WORDS)]: what each row should name, as ``labels.visual_words`` has it."""
        sides = iter([2 if compressed else 4 for compressed in self.compress.tolist()])
        parts = []
        for sample in self.samples:
            for scene, picture in zip(sample.scenes, sample.tiled, strict=True):
                parts += visual_words(scene, picture, [next(sides) for _ in picture.pixels])
        return torch.from_numpy(np.concatenate(parts))

    def several(self) -> bool:
        """Whether any conversation is about several pictures."""
        return any(len(sample.tiled) > 1 for sample in self.samples)

    def numbers(self) -> Tensor:
        """int64 [rows]: which picture of its conversation each row is of, from 0."""
        of_tiles = [
            number
            for sample in self.samples
            for number, picture in enumerate(sample.tiled)
            for _ in picture.pixels
        ]
        return torch.tensor(of_tiles).repeat_interleave(torch.where(self.compress, COMPRESS_ROWS, KEEP_ROWS))

    def marks(self) -> Tensor:
        """int64 [patches, 4]: colour, kind, character and centre on each ViT patch, as ``labels.patch_marks`` has them."""
        return self._of_pictures(patch_marks)

    def character_places(self) -> Tensor:
        """int64 [patches]: which character of its text lies on each ViT patch, from 1; 0 for none."""
        return self._of_pictures(character_places)

    def _of_pictures(self, label: Callable[[Scene, TiledImage], npt.NDArray[np.int64]]) -> Tensor:
        """What ``label`` says of each picture, one after the other."""
        parts = [
            label(scene, picture)
            for sample in self.samples
            for scene, picture in zip(sample.scenes, sample.tiled, strict=True)
        ]
        return torch.from_numpy(np.concatenate(parts))

    @property
    def of_kept(self) -> Tensor:
        """Whether each row is of a tile at the full resolution: bool [rows]."""
        return (~self.compress).repeat_interleave(torch.where(self.compress, COMPRESS_ROWS, KEEP_ROWS))


def by_row(marks: Tensor, kept: Tensor) -> Tensor:
    """Marks of all tiles' patches -> those of the kept tiles, the four patches of each row after another.

    Args:
        marks: [patches, ...].
        kept: bool [tiles].
    """
    side = PATCH_SIDE // 2
    squares = marks.reshape(len(kept), side, 2, side, 2, *marks.shape[1:])[kept].transpose(2, 3)
    return squares.reshape(-1, *marks.shape[1:])


def encode_batch(samples: Sequence[Sample], compress: Sequence[bool], tokenizer: Tokenizer) -> Batch:
    """Samples as token ids, each tile at its resolution.

    Args:
        samples: at least one.
        compress: for each tile of all samples, in order.
        tokenizer: internvl-nano's.
    """
    left = list(compress)
    conversations = []
    for sample in samples:
        rows = []
        for picture in sample.tiled:
            taken, left = left[: len(picture.pixels)], left[len(picture.pixels) :]
            rows.append(sum(COMPRESS_ROWS if folded else KEEP_ROWS for folded in taken))
        conversations.append(_encode(sample, rows, tokenizer))
    return _padded(tuple(samples), torch.tensor(compress, dtype=torch.bool), conversations, tokenizer)


def unasked(samples: Sequence[Sample], compress: Sequence[bool]) -> Batch:
    """Only the pictures of samples, for what is learnt from them without a word."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return Batch(
        tuple(samples), torch.tensor(compress, dtype=torch.bool), nothing[None], nothing, nothing, ()
    )


def all_kept(samples: Sequence[Sample]) -> list[bool]:
    """Every tile at the full resolution."""
    return [False] * sum(sample.tiles for sample in samples)


def rates_by_picture(samples: Sequence[Sample], rng: random.Random, share: float) -> list[bool]:
    """Each picture compressed as a whole with probability ``share``."""
    rates: list[bool] = []
    for sample in samples:
        for picture in sample.tiled:
            rates += [rng.random() < share] * len(picture.pixels)
    return rates


@dataclass(frozen=True, slots=True)
class Drawer:
    """Draws the samples of one process's share of one step."""

    rng: random.Random
    tokenizer: Tokenizer = field(repr=False)

    def single(
        self, count: int, *, turns: int, subject: Subject = "any", tasks: Sequence[str] = TASKS
    ) -> list[Sample]:
        """Conversations about one picture of one tile."""
        return [self._about_one(SINGLE_GRID, turns, subject, tasks) for _ in range(count)]

    def several(
        self, tiles: int, *, turns: int, subject: Subject = "any", tasks: Sequence[str] = TASKS
    ) -> list[Sample]:
        """Conversations about one larger picture, all of one grid, of about ``tiles`` tiles together."""
        grid = self._large_grid()
        count = max(1, round(tiles / (grid[0] * grid[1] + 1)))
        return [self._about_one(grid, turns, subject, tasks) for _ in range(count)]

    def compared(self, count: int, *, turns: int) -> list[Sample]:
        """Conversations about two to four pictures: of one tile each, or half as many with larger ones."""
        grid = random_grid(self.rng, single=_SMALL_COMPARISONS)
        count = count if grid == SINGLE_GRID else max(1, count // 2)
        samples: list[Sample] = []
        while len(samples) < count:
            scenes = tuple(compose_for("compare", self.rng, grid=grid))
            asked = ask(scenes, self.rng, count=turns)
            if asked:
                samples.append(self._sample(scenes, tuple(asked)))
        return samples

    def pages(self, count: int) -> list[Sample]:
        """Pictures of one tile full of print, with no question."""
        return [self._sample((compose_page(self.rng),), ()) for _ in range(count)]

    def partly_named(self, count: int) -> list[Sample]:
        """Pictures of one tile with shapes of which one property has no name, with no question."""
        return [self._sample((compose_partly_named(self.rng),), ()) for _ in range(count)]

    def print_in_tiles(self, tiles: int) -> list[Sample]:
        """Larger pictures, asked for what is printed in them."""
        grid = self._large_grid()
        samples: list[Sample] = []
        while len(samples) < max(1, round(tiles / (grid[0] * grid[1] + 1))):
            scene = compose(self.rng, grid=grid, subject="print")
            asked = ask(scene, self.rng, count=1, tasks=("print",))
            if asked:
                samples.append(self._sample((scene,), tuple(asked)))
        return samples

    def texts(self, count: int) -> list[Sample]:
        """Conversations without a picture."""
        return [
            Sample(tuple(ask_without_picture(self.rng) for _ in range(2)), system=self._system())
            for _ in range(count)
        ]

    def _large_grid(self) -> tuple[int, int]:
        weights = [1 / (columns * rows) ** 0.5 for columns, rows in SEVERAL_GRIDS]
        return self.rng.choices(SEVERAL_GRIDS, weights)[0]

    def _about_one(self, grid: tuple[int, int], turns: int, subject: Subject, tasks: Sequence[str]) -> Sample:
        asked: list[Question] = []
        while not asked:  # now and then nothing has one answer
            scene = compose(self.rng, grid=grid, subject=subject)
            asked = ask(scene, self.rng, count=turns, tasks=tasks)
        sample = self._sample((scene,), tuple(asked))
        if self.rng.random() < 0.1:
            return replace(sample, turns=(ask_without_picture(self.rng), *sample.turns), image_turn=1)
        return replace(sample, image_last=self.rng.random() < 0.15)

    def _sample(self, scenes: tuple[Scene, ...], turns: tuple[Question, ...]) -> Sample:
        tiled = tuple(
            tile(draw(scene), tile_size=TILE, min_tiles=1, max_tiles=12, use_thumbnail=True)
            for scene in scenes
        )
        return Sample(turns, scenes, tiled, system=self._system())

    def _system(self) -> str:
        return COMMON_SYSTEM_MESSAGE if self.rng.random() < 0.1 else SYSTEM_MESSAGE


def _encode(sample: Sample, rows: list[int], tokenizer: Tokenizer) -> Conversation:
    return encode(
        tokenizer,
        sample.turns,
        pictures=rows,
        image_turn=sample.image_turn,
        image_last=sample.image_last,
        system=sample.system,
    )


def _padded(
    samples: tuple[Sample, ...], compress: Tensor, conversations: list[Conversation], tokenizer: Tokenizer
) -> Batch:
    width = max(len(conversation.ids) for conversation in conversations)
    ids = torch.full((len(conversations), width), token_id(tokenizer, END_OF_TEXT))
    at: list[int] = []
    for row, conversation in enumerate(conversations):
        ids[row, : len(conversation.ids)] = torch.tensor(conversation.ids)
        for answer in conversation.answers:
            at += range(row * width + answer.start, row * width + answer.stop)
    places = torch.tensor(at)
    answers = tuple(
        (answer.task, answer.stop - answer.start)
        for conversation in conversations
        for answer in conversation.answers
    )
    return Batch(samples, compress, ids, places - 1, ids.flatten()[places], answers)
