"""Exact answers of internvl-nano on pictures it never saw, through the ONNX artifacts: ``make nano-eval``.

Each question is answered four ways over the same tiles (``judging.WAYS``), so what the router costs is paired.
Blocks of questions go to worker processes; a block is a function of the seed alone, so the figures are the same
with any number of processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import random
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from internvl_engines.contract.checkpoint import checkpoint_digest, read_checkpoint_config
from internvl_engines.nano.answering import Answerer, Routes, Seen
from internvl_engines.nano.held_out import Asked, ask_held_out, ask_held_out_text
from internvl_engines.nano.judging import (
    HELD_OUT_WORDS,
    OVERALL,
    SEEN_WORDS,
    SEVERAL,
    SIZES,
    TEXT_ONLY,
    WAYS,
    Judgement,
    Outcome,
    examples,
    goals,
    judge,
)
from internvl_engines.nano.pictures import draw
from internvl_engines.nano.questions import TASKS
from internvl_engines.nano.tile_contents import tile_contents

TEXT_QUESTIONS = 300
_BLOCK = 50
_REPORT_SECONDS = 5.0


class EvaluationFailed(Exception):
    """A worker process ended before its questions did; the figures of the others are worth nothing."""


@dataclass(frozen=True, slots=True)
class Block:
    """Questions [first, stop) of one task, or those without a picture (task None)."""

    task: str | None
    seed: int
    first: int
    stop: int


def evaluate(checkpoint: Path, file: Path, *, questions_per_task: int, seed: int, processes: int) -> bool:
    """Ask, print the tables, write ``file``; whether every goal was met.

    Raises:
        EvaluationFailed: a worker ended early.
    """
    began = time.monotonic()
    blocks = blocks_of(questions_per_task, seed=seed)
    outcomes = _answer_all(checkpoint, blocks, processes)
    judgement = judge(outcomes, seed=seed)
    verdict = goals(judgement, TASKS, router=read_checkpoint_config(checkpoint).flash is not None)
    seconds = time.monotonic() - began
    _print_tables(judgement)
    for goal in verdict:
        print(f"{'ok' if goal.ok else 'MISSED'}: {goal.what}: {goal.value:.2f} (goal {goal.goal})")
    body = {
        "name": "nano-eval",
        "machine": _machine(),
        "versions": _versions(),
        "goals": [goal.document() for goal in verdict],
        "raw": {
            "checkpoint": checkpoint_digest(checkpoint),
            "questions_per_task": questions_per_task,
            "seed": seed,
            "processes": processes,
            "seconds": round(seconds, 1),
            **_figures(judgement),
            "wrong": examples(outcomes),
        },
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    print(f"{len(outcomes)} questions in {seconds:.0f} s; written to {file}")
    return all(goal.ok for goal in verdict)


def blocks_of(questions_per_task: int, *, seed: int) -> list[Block]:
    """The blocks of an evaluation, in the order of the tables."""
    wanted: list[tuple[str | None, int]] = [(task, questions_per_task) for task in TASKS]
    wanted.append((None, min(TEXT_QUESTIONS, questions_per_task)))
    return [
        Block(task, seed, first, min(first + _BLOCK, count))
        for task, count in wanted
        for first in range(0, count, _BLOCK)
    ]


def answer_block(answerer: Answerer, block: Block) -> list[Outcome]:
    """The questions of one block, answered each way."""
    numbers = range(block.first, block.stop)
    if block.task is None:
        return [
            _without_picture(answerer, ask_held_out_text(seed=block.seed, number=number))
            for number in numbers
        ]
    asked = [ask_held_out(block.task, seed=block.seed, number=number) for number in numbers]
    seen = [answerer.see([draw(scene) for scene in one.scenes]) for one in asked]
    rng = random.Random(f"random router:{block.seed}:{block.task}:{block.first}")
    drawn = random_routes([one.routes for one in seen], rng)
    return [_each_way(answerer, *question) for question in zip(asked, seen, drawn, strict=True)]


def random_routes(routes: Sequence[Routes], rng: random.Random) -> list[Routes]:
    """As many compressed tiles as ``routes`` has, drawn over all requests of more than one tile.

    One tile of each request is kept, as the router of the checkpoint keeps the least compressible one.
    """
    places = []
    for request, own in enumerate(routes):
        kept = rng.randrange(len(own))
        places += [(request, tile) for tile in range(len(own)) if tile != kept]
    drawn = [np.zeros(len(own), np.bool_) for own in routes]
    for request, tile in rng.sample(places, sum(int(own.sum()) for own in routes)):
        drawn[request][tile] = True
    return drawn


def _each_way(answerer: Answerer, asked: Asked, seen: Seen, drawn: Routes) -> Outcome:
    kept = np.zeros(seen.tiles, np.bool_)
    ways = {
        "kept": kept,
        "routed": seen.routes,
        "random": drawn,
        "compressed": ~kept if answerer.has_router else kept,
    }
    known: dict[bytes, str] = {}  # ways that agree in every tile are one
    answers = []
    for way in WAYS:
        routes = ways[way]
        key = routes.tobytes()
        if key not in known:
            known[key] = answerer.answer(asked.question.text, seen, routes=routes, history=asked.history)
        answers.append(known[key])
    contents = [
        content
        for scene, cut in zip(asked.scenes, seen.cuts, strict=True)
        for content in tile_contents(scene, cut)
    ]
    return Outcome(
        task=asked.question.task,
        question=asked.question.text,
        truth=asked.question.answer,
        answers=tuple(answers),
        held_out=asked.held_out,
        pictures=len(asked.scenes),
        tiles=tuple(zip(contents, map(bool, seen.routes), strict=True)),
        kept_tokens=seen.tokens(kept),
        routed_tokens=seen.tokens(seen.routes),
    )


def _without_picture(answerer: Answerer, asked: Asked) -> Outcome:
    question = asked.question
    answer = answerer.answer(question.text)
    return Outcome(f"text: {question.task}", question.text, question.answer, (answer,) * len(WAYS))


def _answer_all(checkpoint: Path, blocks: Sequence[Block], processes: int) -> list[Outcome]:
    done: dict[Block, list[Outcome]] = {}
    began = reported = time.monotonic()
    # spawn: a fork of a process with threads of ONNX Runtime may never answer.
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_open, initargs=(checkpoint,)
    )
    try:
        waiting: dict[Future[list[Outcome]], Block] = {pool.submit(_work, block): block for block in blocks}
        for future in as_completed(waiting):
            done[waiting[future]] = future.result()
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                print(_progress(done, len(blocks), reported - began), flush=True)
    except BrokenProcessPool as error:
        raise EvaluationFailed(
            f"a worker process ended after {len(done)} of {len(blocks)} blocks: look above for its error, "
            "or whether the machine ran out of memory, and run it again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return [outcome for block in blocks for outcome in done[block]]


def _progress(done: dict[Block, list[Outcome]], blocks: int, seconds: float) -> str:
    outcomes = [outcome for several in done.values() for outcome in several]
    right = [100 * sum(outcome.right(way) for outcome in outcomes) / len(outcomes) for way in WAYS]
    shares = ", ".join(f"{way} {share:.1f}" for way, share in zip(WAYS, right, strict=True))
    left = seconds / len(done) * (blocks - len(done))
    return f"{len(outcomes)} questions, right %: {shares}; {left:.0f} s left"


_answerer: Answerer


def _open(checkpoint: Path) -> None:
    global _answerer
    _answerer = Answerer(checkpoint)


def _work(block: Block) -> list[Outcome]:
    return answer_block(_answerer, block)


def _table_groups(judgement: Judgement) -> list[str]:
    order = [*TASKS, OVERALL, *SIZES, SEVERAL, SEEN_WORDS, HELD_OUT_WORDS, TEXT_ONLY]
    order += sorted(name for name in judgement.groups if name.startswith("text: "))
    return [name for name in order if name in judgement.groups]


def _print_tables(judgement: Judgement) -> None:
    print(
        f"\n{'exact answers, %':<20}{'asked':>7}"
        + "".join(f"{way:>12}" for way in WAYS)
        + f"{'tokens cut':>12}"
    )
    for name in _table_groups(judgement):
        group = judgement.groups[name]
        figures = "".join(f"{group.percent(way):>12.1f}" for way in WAYS)
        print(f"{name:<20}{group.asked:>7}{figures}{group.cut:>12.1f}")
    print(f"\n{'tiles':<20}{'all':>7}{'compressed, %':>16}")
    for content, (chosen, count) in judgement.compressed.items():
        print(f"{content:<20}{count:>7}{100 * chosen / count:>16.1f}")
    print(f"\nkept -> routed: {judgement.loss:.2f} points lost, 95 % upper bound {judgement.loss_bound:.2f}")


def _figures(judgement: Judgement) -> dict[str, Any]:
    return {
        "groups": {
            name: {
                "asked": group.asked,
                "right": {way: group.right[way] for way in WAYS},
                "kept_tokens": group.kept_tokens,
                "routed_tokens": group.routed_tokens,
            }
            for name, group in ((name, judgement.groups[name]) for name in _table_groups(judgement))
        },
        "tiles": {
            content: {"compressed": chosen, "all": count}
            for content, (chosen, count) in judgement.compressed.items()
        },
        "loss": {"points": round(judgement.loss, 3), "upper_bound_95": round(judgement.loss_bound, 3)},
    }


def _machine() -> dict[str, object]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": os.cpu_count(), "memory_gib": round(memory, 1), "system": platform.platform()}


def _versions() -> dict[str, str]:
    packages = ("onnxruntime", "numpy", "pillow", "tokenizers")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
