"""Exact answers of internvl-nano on pictures it never saw, through the ONNX artifacts: ``make nano-eval``.

Held out means other seeds: training draws from integer seeds, this from names that start with ``held-out``.
"""

from __future__ import annotations

import json
import os
import platform
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from internvl_engines.nano.answering import Answerer
from internvl_engines.nano.pictures import compose, draw, random_grid
from internvl_engines.nano.questions import PICTURE_TASKS, Question, ask, ask_without_picture

GOAL = 95.0
_REPORT_SECONDS = 5.0
_TEXT_QUESTIONS = 300
_EXAMPLES = 20


@dataclass(slots=True)
class Score:
    """Right and asked, by group; wrong ones kept as examples."""

    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    wrong: list[dict[str, str]] = field(default_factory=list)

    def add(self, question: Question, answer: str, *groups: str) -> None:
        """Count one answer in each of its groups."""
        ok = answer == question.answer
        for group in groups:
            self.asked[group] += 1
            self.right[group] += ok
        if not ok and len(self.wrong) < _EXAMPLES:
            self.wrong.append({"question": question.text, "answer": answer, "right": question.answer})

    def percent(self, group: str) -> float:
        """Exact answers in percent."""
        return 100 * self.right[group] / self.asked[group]


def evaluate(checkpoint: Path, file: Path, *, pictures: int, seed: str) -> bool:
    """Ask, print the table, write ``file``; whether the goal was met."""
    answerer, score = Answerer(checkpoint), Score()
    began = reported = time.monotonic()
    for number in range(pictures):
        _ask_about_picture(answerer, random.Random(f"held-out:{seed}:{number}"), score)
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            left = (reported - began) / (number + 1) * (pictures - number - 1)
            print(f"{number + 1}/{pictures}  {score.percent('overall'):.1f} %  {left:.0f} s left", flush=True)
    rng = random.Random(f"held-out:{seed}:text")
    for _ in range(_TEXT_QUESTIONS):
        question = ask_without_picture(rng)
        score.add(question, answerer.answer(question.text), f"text: {question.task}", "text only")
    _report(score, file, checkpoint, pictures, time.monotonic() - began)
    return score.percent("overall") >= GOAL


def _ask_about_picture(answerer: Answerer, rng: random.Random, score: Score) -> None:
    questions: list[Question] = []
    while not questions:  # now and then a picture has nothing with one answer
        scene = compose(rng, grid=random_grid(rng))
        questions = ask(scene, rng, count=1)
    picture, question = draw(scene), questions[0]
    tiles = answerer.tiles(picture)
    size = "1 tile" if tiles == 1 else "2-6 tiles" if tiles <= 6 else "7-13 tiles"
    score.add(question, answerer.answer(question.text, picture), question.task, size, "overall")


def _report(score: Score, file: Path, checkpoint: Path, pictures: int, seconds: float) -> None:
    groups = [*PICTURE_TASKS, "1 tile", "2-6 tiles", "7-13 tiles", "overall"]
    groups += sorted(group for group in score.asked if group.startswith("text"))
    print(f"\n{'group':<20}{'asked':>7}{'exact %':>9}")
    for group in (group for group in groups if score.asked[group]):
        print(f"{group:<20}{score.asked[group]:>7}{score.percent(group):>9.1f}")
    overall = score.percent("overall")
    goal = {
        "what": f"exact answers on {pictures} held-out pictures, percent",
        "value": round(overall, 2),
        "goal": f">= {GOAL:g}",
        "ok": overall >= GOAL,
    }
    print(
        f"\n{'ok' if goal['ok'] else 'MISSED'}: {goal['what']}: {goal['value']} (goal {goal['goal']}), {seconds:.0f} s"
    )
    raw = {
        "checkpoint": str(checkpoint),
        "seconds": round(seconds, 1),
        "exact": {group: [score.right[group], score.asked[group]] for group in groups if score.asked[group]},
        "wrong": score.wrong,
    }
    body = {"name": "nano-eval", "machine": _machine(), "versions": _versions(), "raw": raw, "goals": [goal]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"written to {file}")


def _machine() -> dict[str, object]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": os.cpu_count(), "memory_gib": round(memory, 1), "system": platform.platform()}


def _versions() -> dict[str, str]:
    packages = ("onnxruntime", "numpy", "pillow", "tokenizers")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
