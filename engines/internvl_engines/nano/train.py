"""Training of internvl-nano: seeded, resumable, one process, two cores, about fifteen minutes.

Loss: cross-entropy on the tokens of the answers (and the end token), all turns of a conversation at once,
plus an alignment term: each visual row, read by the language model's own output matrix, names colour and kind of
the shape whose centre it holds (binary cross-entropy). Without it the language model needs long to find that
the rows mean anything.
Both projectors are trained, the rate drawn per batch; the router keeps its first weights (a later stage's job).
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_engines.nano.checkpoint import config_of, write_checkpoint
from internvl_engines.nano.dataset import VISUAL_WORDS, Batch, batches_of_step
from internvl_engines.nano.tokenizer import END_OF_TEXT, IMG_CONTEXT, token_id, train_tokenizer
from internvl_engines.reference.language import new_language
from internvl_engines.reference.vision import Vision

WARM_UP = 60
SEEING_SHARE = 0.35
"""The first part of the steps trains the vision side alone, by the alignment term: it is cheap, and a language
model learns nothing from rows that mean nothing yet."""
SINGLE_TILE_SHARE = 0.55
"""Up to here only one-tile pictures: shapes and colours first, tiles after."""
ALIGNMENT = 5.0
"""Weight of the alignment term; it is a mean over words of which nearly all are absent, hence small."""
SAVE_EVERY = 50
REPORT_EVERY = 25


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int = 1600
    peak: float = 1.5e-3
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up, then a cosine down to a hundredth of the peak."""
        if step < WARM_UP:
            return self.peak * (step + 1) / WARM_UP
        done = (step - WARM_UP) / max(1, self.steps - WARM_UP)
        return self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class Trainee(nn.Module):
    """Both sides, with the loss over a batch."""

    def __init__(
        self, config: CheckpointConfig, *, image_token: int, pad_token: int, word_tokens: list[int]
    ) -> None:
        super().__init__()
        self.word_tokens = word_tokens
        self.word_bias = nn.Parameter(torch.full((len(word_tokens),), -2.0))  # of the training only
        self.vision = Vision(config)
        self.language: Qwen3ForCausalLM = new_language(config.language)
        self.image_token, self.pad_token = image_token, pad_token
        _initialise(self.vision)

    def alignment(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Visual rows [pictures * tiles, K or C, H], and how badly they name what they show."""
        assert batch.pixels is not None
        patches = self.vision.patches(torch.from_numpy(batch.pixels))
        rows = self.vision.compress(patches) if batch.compress else self.vision.keep(patches)
        seen = functional.rms_norm(rows.flatten(0, 1), rows.shape[-1:])
        words = self.language.get_parameter("model.embed_tokens.weight")[self.word_tokens]
        named = functional.linear(seen, words, self.word_bias)
        return rows, functional.binary_cross_entropy_with_logits(named, torch.from_numpy(batch.words))

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor, list[bool]]:
        """Summed loss of the answers' tokens, mean loss of the alignment, and which tokens were right."""
        ids, (at, tokens) = self._padded(batch)
        embeddings = self.language.get_input_embeddings()(ids)
        alignment = torch.zeros(())
        if batch.pixels is not None:
            rows, alignment = self.alignment(batch)
            embeddings = embeddings.masked_scatter((ids == self.image_token)[..., None], rows)
        # Padding stands on the right and attention is causal, so no answer ever sees it: no mask is needed.
        hidden = self.language.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        logits = self.language.lm_head(hidden.flatten(0, 1)[at])
        answers = functional.cross_entropy(logits, tokens, reduction="sum")
        return answers, alignment, (logits.argmax(-1) == tokens).tolist()

    def _padded(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        width = max(len(conversation.ids) for conversation in batch.conversations)
        ids = torch.full((len(batch.conversations), width), self.pad_token)
        at: list[int] = []
        for row, conversation in enumerate(batch.conversations):
            ids[row, : len(conversation.ids)] = torch.tensor(conversation.ids)
            for answer in conversation.answers:
                at += range(row * width + answer.start, row * width + answer.stop)
        places = torch.tensor(at)
        return ids, (places - 1, ids.flatten()[places])


@dataclass(slots=True)
class Progress:
    """Loss and share of wholly right answers since the last report, by task."""

    loss: float = 0.0
    alignment: float = 0.0
    batches: int = 0
    right: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def add(self, batch: Batch, loss: float, alignment: float, right_tokens: list[bool]) -> None:
        """Count one batch's answers; an answer is right when all its tokens are."""
        self.loss += loss
        self.add_alignment(alignment)
        at = 0
        for conversation in batch.conversations:
            for answer in conversation.answers:
                size = answer.stop - answer.start
                self.asked[answer.task] = self.asked.get(answer.task, 0) + 1
                self.right[answer.task] = self.right.get(answer.task, 0) + all(right_tokens[at : at + size])
                at += size

    def add_alignment(self, alignment: float) -> None:
        """Count a batch's alignment term."""
        self.alignment += alignment
        self.batches += 1

    def line(self) -> str:
        """Loss, then percent right over all and by task."""
        total = 100 * sum(self.right.values()) / max(1, sum(self.asked.values()))
        tasks = "  ".join(
            f"{task} {100 * self.right[task] / self.asked[task]:.0f}" for task in sorted(self.asked)
        )
        count = max(1, self.batches)
        losses = f"loss {self.loss / count:.3f} + {self.alignment / count:.3f}"
        return f"{losses}  right {total:.1f} %  ({tasks})"


def train(out: Path, work: Path, schedule: Schedule) -> None:
    """Train, going on from ``work`` if a training stopped there, and write the checkpoint to ``out``.

    Raises:
        ValueError: ``work`` holds the state of another schedule.
    """
    torch.manual_seed(schedule.seed)
    tokenizer = train_tokenizer()
    config = config_of(tokenizer)
    model = new_trainee(config, tokenizer)
    optimizer = _optimizer(model, schedule)
    work.mkdir(parents=True, exist_ok=True)
    first = _resume(work / "state.pt", model, optimizer, schedule)
    _loop(model, optimizer, schedule, tokenizer, first, work / "state.pt")
    write_checkpoint(out, model.vision, model.language, tokenizer)
    print(f"checkpoint written to {out}", flush=True)


def new_trainee(config: CheckpointConfig, tokenizer: Tokenizer) -> Trainee:
    """Both sides with random weights, and the tokens that the losses need."""
    return Trainee(
        config,
        image_token=token_id(tokenizer, IMG_CONTEXT),
        pad_token=token_id(tokenizer, END_OF_TEXT),
        word_tokens=[token_id(tokenizer, word) for word in VISUAL_WORDS],
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
    for step in range(first, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        done = step / schedule.steps
        several = done >= SINGLE_TILE_SHARE
        batches = batches_of_step(step, seed=schedule.seed, several=several, tokenizer=tokenizer)
        if done < SEEING_SHARE:
            _learn_to_see(model, optimizer, batches[:1], progress)
        else:
            _learn(model, optimizer, batches, progress)
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == schedule.steps:
            elapsed = time.monotonic() - began
            left = elapsed / (step + 1 - first) * (schedule.steps - step - 1)
            print(
                f"step {step + 1}/{schedule.steps}  {elapsed:.0f} s, {left:.0f} s left  {progress.line()}",
                flush=True,
            )
            progress = Progress()
        if (step + 1) % SAVE_EVERY == 0:
            _save(state, step + 1, model, optimizer, schedule)


def _learn_to_see(
    model: Trainee, optimizer: torch.optim.Optimizer, batches: list[Batch], progress: Progress
) -> None:
    model.train()
    optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        _, alignment = model.alignment(batch)
        alignment.backward()  # type: ignore[no-untyped-call]
        progress.add_alignment(alignment.item())
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _learn(
    model: Trainee, optimizer: torch.optim.Optimizer, batches: list[Batch], progress: Progress
) -> None:
    answers = sum(len(conversation.answers) for batch in batches for conversation in batch.conversations)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        summed, alignment, right = model.losses(batch)
        loss = summed / answers + ALIGNMENT * alignment
        loss.backward()  # type: ignore[no-untyped-call]
        progress.add(batch, summed.item() / answers, alignment.item(), right)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _optimizer(model: Trainee, schedule: Schedule) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0.0}],
        lr=schedule.peak,
        betas=(0.9, 0.98),
    )


def _initialise(vision: Vision) -> None:
    tower = vision.vision_model
    nn.init.normal_(tower.embeddings.class_embedding, std=0.02)
    nn.init.normal_(tower.embeddings.position_embedding, std=0.02)
    for name, parameter in tower.named_parameters():
        if name.endswith((".ls1", ".ls2")):
            nn.init.ones_(parameter)  # five layers need no damping


def _save(
    file: Path, step: int, model: Trainee, optimizer: torch.optim.Optimizer, schedule: Schedule
) -> None:
    aside = file.with_suffix(".writing")
    torch.save(
        {
            "step": step,
            "schedule": (schedule.steps, schedule.peak, schedule.seed),
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
    if tuple(state["schedule"]) != (schedule.steps, schedule.peak, schedule.seed):
        raise ValueError(
            f"{file} is the state of another schedule {state['schedule']}: delete it to start anew"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    print(f"going on from step {state['step']} ({file})", flush=True)
    return int(state["step"])
