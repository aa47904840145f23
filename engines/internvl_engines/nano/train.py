"""Training of internvl-nano: seeded, resumable, one process on two cores.

Stages and their reasons are in ``stages``, losses in ``trainee``, pictures in ``dataset``. The router keeps its
first weights: training it is a stage of its own, not built yet.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from internvl_engines.nano.checkpoint import config_of, write_checkpoint
from internvl_engines.nano.dataset import Batch, batches_of_step
from internvl_engines.nano.progress import Progress
from internvl_engines.nano.stages import Schedule, StageName
from internvl_engines.nano.tokenizer import train_tokenizer
from internvl_engines.nano.trainee import Trainee

SIGHT = 0.5
"""Weight of the vision side's terms beside the answers, while both sides learn."""
SAVE_EVERY = 50
REPORT_EVERY = 25


def train(out: Path, work: Path, schedule: Schedule) -> None:
    """Train, going on from ``work`` if a training stopped there, and write the checkpoint to ``out``.

    Raises:
        ValueError: ``work`` holds the state of another schedule.
    """
    torch.manual_seed(schedule.seed)
    tokenizer = train_tokenizer()
    model = Trainee(config_of(tokenizer), tokenizer)
    optimizer = new_optimizer(model)
    work.mkdir(parents=True, exist_ok=True)
    first = _resume(work / "state.pt", model, optimizer, schedule)
    _loop(model, optimizer, schedule, tokenizer, first, work / "state.pt")
    write_checkpoint(out, model.vision, model.language, tokenizer)
    print(f"checkpoint written to {out}", flush=True)


def new_optimizer(model: Trainee) -> torch.optim.AdamW:
    """AdamW; biases, norms and scales are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )


def _loop(
    model: Trainee,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    tokenizer: Tokenizer,
    first: int,
    state: Path,
) -> None:
    began, progress = time.monotonic(), Progress()
    model.train()
    for step in range(first, schedule.steps):
        stage, _ = schedule.at(step)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        batches = batches_of_step(step, seed=schedule.seed, stage=stage.name, tokenizer=tokenizer)
        optimizer.zero_grad(set_to_none=True)
        _backward(model, batches, stage.name, progress)
        progress.steps += 1
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == schedule.steps:
            elapsed = time.monotonic() - began
            left = elapsed / (step + 1 - first) * (schedule.steps - step - 1)
            place = f"{stage.name} {step + 1}/{schedule.steps}  {elapsed:.0f} s, {left:.0f} s left"
            print(f"{place}  {progress.line()}", flush=True)
            progress = Progress()
        if (step + 1) % SAVE_EVERY == 0:
            save_state(state, step + 1, model, optimizer, schedule)


def _backward(model: Trainee, batches: list[Batch], stage: StageName, progress: Progress) -> None:
    answers = sum(len(conversation.answers) for batch in batches for conversation in batch.conversations)
    for batch in batches:
        seen = None
        if batch.pixels is not None:
            with torch.set_grad_enabled(stage != "speak"):
                seen = model.see(batch)
            progress.add_seen(seen)
        if stage == "see":
            assert seen is not None
            seen.loss.backward()  # type: ignore[no-untyped-call]
            continue
        summed, right = model.answer(batch, None if seen is None else seen.rows)
        progress.add_answers(batch, summed.item() / answers, right)
        loss = summed / answers
        if seen is not None and stage == "both":
            loss = loss + SIGHT * seen.loss
        loss.backward()  # type: ignore[no-untyped-call]


def save_state(
    file: Path, step: int, model: Trainee, optimizer: torch.optim.Optimizer, schedule: Schedule
) -> None:
    """Write all that a training needs to go on after ``step`` steps, at once or not at all."""
    aside = file.with_suffix(".writing")
    torch.save(
        {
            "step": step,
            "schedule": (schedule.steps, schedule.seed),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
        },
        aside,
    )
    os.replace(aside, file)


def _resume(file: Path, model: Trainee, optimizer: torch.optim.Optimizer, schedule: Schedule) -> int:
    if not file.is_file():
        return 0
    state = torch.load(file, weights_only=True)
    if tuple(state["schedule"]) != (schedule.steps, schedule.seed):
        raise ValueError(
            f"{file} is the state of another schedule {state['schedule']}: delete it to start anew"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    print(f"going on from step {state['step']} ({file})", flush=True)
    return int(state["step"])
