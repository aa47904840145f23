"""Training of internvl-nano: seeded, resumable, one process a core.

What is learnt when stands in ``schedule``, each stage in a file of ``stages``, pictures in ``dataset``.
Every finished stage leaves its weights in the working folder, so a stage can be done again alone.
"""

from __future__ import annotations

import functools
import os
import random
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from internvl_engines.nano.checkpoint import config_of, write_checkpoint
from internvl_engines.nano.dataset import Drawer
from internvl_engines.nano.precision import fastest_precision, product_precision
from internvl_engines.nano.processes import average_gradients, gathered, together
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.schedule import STAGES, Schedule, Stage, StageName, stage_before, stage_named
from internvl_engines.nano.stages.both import Both
from internvl_engines.nano.stages.find import Find
from internvl_engines.nano.stages.lesson import Lesson, Surroundings
from internvl_engines.nano.stages.look import Look
from internvl_engines.nano.stages.mpo import Mpo
from internvl_engines.nano.stages.read import Read
from internvl_engines.nano.stages.router import Router
from internvl_engines.nano.stages.see import See
from internvl_engines.nano.stages.settle import Settle
from internvl_engines.nano.stages.speak import Speak
from internvl_engines.nano.stages.spell import Spell
from internvl_engines.nano.stages.vico import Vico
from internvl_engines.nano.tokenizer import train_tokenizer
from internvl_engines.nano.trainee import Trainee

LESSONS: dict[StageName, type[Lesson]] = {
    "see": See,
    "read": Read,
    "look": Look,
    "spell": Spell,
    "speak": Speak,
    "find": Find,
    "settle": Settle,
    "both": Both,
    "mpo": Mpo,
    "vico": Vico,
    "router": Router,
}
_KEYS = {"step", "schedule", "precision", "model", "optimizers", "remembered"}
"""Of a state's content."""
_HEADS = ("marker.", "placer.", "orientation.", "language.lm_head.")
_DECAY = 0.03
_MATRIX_RATE = 2.5
"""Muon's learning rate against AdamW's. After 100 steps of ``speak`` the loss was 0.77 with 1, 0.70 with 2.5 and
with 5, and 0.77 with AdamW alone."""
SAVE_EVERY = 100
REPORT_EVERY = 25


class StateUnusable(Exception):
    """A file in the working folder cannot be gone on from; the message says which and what to do."""


def train(work: Path, schedule: Schedule, *, stages: tuple[Stage, ...] = STAGES, workers: int = 2) -> None:
    """Do the stages that are not done yet, going on where a training stopped.

    Args:
        work: folder of the states, one file a stage.
        schedule: how much to learn.
        stages: which; each needs the stage before it done.
        workers: processes. Another number draws other samples.

    Raises:
        StateUnusable: a state is missing, damaged, of another schedule or number of processes, began with weights
            that are no longer there, or was begun by a processor that multiplies in another precision.
    """
    work.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        state = _State.of(work, stage, schedule, workers)
        if state.done:
            print(f"{stage.name}: done before ({_file(work, stage)})", flush=True)
            continue
        _check_neighbours(work, stage, state)
        together(workers, functools.partial(_learn, work, schedule, stage))


def write_trained(work: Path, after: StageName, folder: Path, *, flash: bool) -> None:
    """The model as a stage left it, as a checkpoint folder in the layout of the published ones.

    Raises:
        StateUnusable: that stage is not done.
    """
    tokenizer = train_tokenizer()
    model = Trainee(config_of(tokenizer), tokenizer)
    _load(model, _weights_after(work, after), _file(work, stage_named(after)))
    write_checkpoint(folder, model.vision, model.language, tokenizer, flash=flash)


@dataclass(frozen=True, slots=True)
class _State:
    """How far a stage has come."""

    step: int
    done: bool
    content: Mapping[str, Any] | None

    @classmethod
    def of(cls, work: Path, stage: Stage, schedule: Schedule, workers: int) -> _State:
        file = _file(work, stage)
        if not file.is_file():
            return cls(0, False, None)
        content = _read(file)
        asked = (schedule.share, schedule.seed, workers)
        if tuple(content["schedule"]) != asked:
            raise StateUnusable(
                f"{file} belongs to (share, seed, processes) {tuple(content['schedule'])}, not {asked}: "
                "delete it to do the stage again, or name another --work"
            )
        step, steps, done = content["step"], schedule.steps(stage), content["optimizers"] is None
        if step > steps or done != (step == steps):
            raise StateUnusable(
                f"{file} is of step {step}{', the last' if done else ''}; the stage has {steps} steps now: "
                "delete it to do the stage again"
            )
        here = product_precision()
        if not done and content["precision"] != here:
            raise StateUnusable(
                f"{file} was begun with products in {content['precision']}, and this processor does them in {here}: "
                "go on with a processor like the first, or delete it to do the stage again"
            )
        return cls(step, done, content)


def _check_neighbours(work: Path, stage: Stage, state: _State) -> None:
    """The stage before is done; no later one has learnt from this one already when it begins anew."""
    before = stage_before(stage)
    if before is not None:
        _weights_after(work, before.name)
    later = [_file(work, after) for after in STAGES[STAGES.index(stage) + 1 :]]
    stale = [file.name for file in later if file.is_file()]
    if state.content is None and stale:
        raise StateUnusable(
            f"{_file(work, stage)} is missing, and {', '.join(stale)} began with it: put it back, or delete these, too"
        )


def _learn(work: Path, schedule: Schedule, stage: Stage, rank: int, workers: int) -> None:
    torch.manual_seed(schedule.seed)
    tokenizer = train_tokenizer()
    model = Trainee(config_of(tokenizer), tokenizer)
    before = stage_before(stage)
    if before is not None:
        _load(model, _weights_after(work, before.name), _file(work, before))
    model.train()
    around = Surroundings(functools.partial(_shared, workers), functools.partial(_weights_after, work))
    lesson = LESSONS[stage.name](model, around)
    model.requires_grad_(False)
    moving = list(dict.fromkeys(lesson.moving()))
    for parameter in moving:
        parameter.requires_grad_(True)
    optimizers = _new_optimizers(model, moving, stage.tower_rate)
    first = _resume(_State.of(work, stage, schedule, workers), _file(work, stage), model, optimizers, lesson)
    began, progress = time.monotonic(), Progress()
    for step in range(first, schedule.steps(stage)):
        place = f"{schedule.seed}:{stage.name}:{step}:{rank}"
        torch.manual_seed(zlib.crc32(place.encode()))  # dropout: stateless, so that a training can go on
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(stage, step) * group["lr_scale"]
        model.zero_grad(set_to_none=True)
        with fastest_precision():
            lesson.backward(Drawer(random.Random(place), tokenizer), progress)
        average_gradients(moving, workers)
        nn.utils.clip_grad_norm_(moving, 1.0)
        with fastest_precision():
            for optimizer in optimizers:
                optimizer.step()
        finished, last = step + 1, step + 1 == schedule.steps(stage)
        if rank == 0 and (finished % REPORT_EVERY == 0 or last):
            elapsed = time.monotonic() - began
            left = elapsed / (finished - first) * (schedule.steps(stage) - finished)
            at = f"{stage.name} {finished}/{schedule.steps(stage)}  {elapsed:.0f} s, {left:.0f} s left"
            print(f"{at}  {progress.line()}", flush=True)
            progress = Progress()
        if rank == 0 and (finished % SAVE_EVERY == 0 or last):
            _save(_file(work, stage), finished, last, model, optimizers, lesson, schedule, workers)


def _shared(workers: int, figures: list[float]) -> list[float]:
    return gathered(figures, workers)


def _new_optimizers(
    model: Trainee, moving: list[nn.Parameter], tower_rate: float
) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices between hidden states, AdamW for the rest; biases, norms and scales are not decayed.

    Each group's "lr_scale" is its learning rate as a part of the stage's; ``tower_rate`` is that of the vision tower.
    Muon: K. Jordan (2024), with the step sizes of "Muon is Scalable for LLM Training" (arXiv 2502.16982), section
    2.2, so that its rates are of AdamW's size.
    """
    inner = {
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and not name.startswith(_HEADS) and "embed" not in name
    }
    of_tower = set(model.vision.vision_model.parameters())
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for part, scale in ((of_tower, tower_rate), (set(moving) - of_tower, 1.0)):
        mine = [p for p in moving if p in part]
        hidden = [p for p in mine if p in inner]
        decayed = [p for p in mine if p not in inner and p.ndim >= 2]
        plain = [p for p in mine if p.ndim < 2]
        if hidden:
            matrices.append({"params": hidden, "lr_scale": scale * _MATRIX_RATE})
        others.append({"params": decayed, "weight_decay": _DECAY, "lr_scale": scale})
        others.append({"params": plain, "weight_decay": 0.0, "lr_scale": scale})
    adamw = torch.optim.AdamW(others, betas=(0.9, 0.98))
    if not matrices:
        return (adamw,)
    return torch.optim.Muon(matrices, weight_decay=_DECAY, adjust_lr_fn="match_rms_adamw"), adamw


def _save(
    file: Path,
    step: int,
    last: bool,
    model: Trainee,
    optimizers: tuple[torch.optim.Optimizer, ...],
    lesson: Lesson,
    schedule: Schedule,
    workers: int,
) -> None:
    """Write all that a training needs to go on, at once or not at all; a finished stage needs no optimizer."""
    aside = file.with_suffix(".writing")
    content = {
        "step": step,
        "schedule": (schedule.share, schedule.seed, workers),
        "precision": product_precision(),
        "model": model.state_dict(),
        "optimizers": None if last else [optimizer.state_dict() for optimizer in optimizers],
        "remembered": lesson.remembered(),
    }
    with aside.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())  # or a power cut may leave the new name with nothing in it
    os.replace(aside, file)


def _resume(
    state: _State,
    file: Path,
    model: Trainee,
    optimizers: tuple[torch.optim.Optimizer, ...],
    lesson: Lesson,
) -> int:
    if state.content is None:
        return 0
    _load(model, state.content["model"], file)
    for optimizer, held in zip(optimizers, state.content["optimizers"], strict=True):
        scales = [group["lr_scale"] for group in optimizer.param_groups]
        optimizer.load_state_dict(held)
        for group, scale in zip(optimizer.param_groups, scales, strict=True):
            group["lr_scale"] = scale  # the schedule's of now, as the rate is
    lesson.remember(state.content["remembered"])
    return state.step


def _load(model: Trainee, weights: Mapping[str, Tensor], file: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StateUnusable(
            f"{file} is of a model of another shape: delete it to do the stage again"
        ) from error


def _weights_after(work: Path, stage: StageName) -> Mapping[str, Tensor]:
    file = _file(work, stage_named(stage))
    if not file.is_file():
        raise StateUnusable(f"{file} is missing: do the stage {stage!r} first (--stage {stage})")
    content = _read(file)
    if content["optimizers"] is not None:
        raise StateUnusable(f"{file} is of a stage that is not finished: go on with --stage {stage}")
    weights: Mapping[str, Tensor] = content["model"]
    return weights


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(file, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise StateUnusable(f"{file} cannot be read ({error}): delete it to do the stage again") from error
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise StateUnusable(f"{file} is no state of a stage: delete it to do the stage again")
    return content


def _file(work: Path, stage: Stage) -> Path:
    return work / f"{stage.name}.pt"
