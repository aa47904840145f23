"""Training of internvl-nano: seeded, resumable, one process, two cores, about fifteen minutes.

Loss: cross-entropy on the tokens of the answers (and the end token), all turns of a conversation at once,
plus two terms for the vision side. Alignment: each visual row, read by the language model's own output matrix,
names colour and kind of the shape whose centre it holds (binary cross-entropy). Marking: from each ViT patch a
linear head, thrown away afterwards, tells colour and kind of the shape that lies on it (cross-entropy). Tried
without: colours come at once, but after 700 steps no kind is told from another.
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
from internvl_engines.nano.pictures import COLOURS, KINDS
from internvl_engines.nano.tokenizer import END_OF_TEXT, IMG_CONTEXT, token_id, train_tokenizer
from internvl_engines.reference.language import new_language
from internvl_engines.reference.vision import Vision

WARM_UP = 60
SEEING_SHARE = 0.4
"""The first part of the steps trains the vision side alone, by its own terms: it is cheap, and a language
model learns nothing from rows that mean nothing yet."""
SINGLE_TILE_SHARE = 0.6
"""Up to here only one-tile pictures: shapes and colours first, tiles after."""
ALIGNMENT = 5.0
"""Weight of the alignment term; it is a mean over words of which nearly all are absent, hence small."""
SIGHT = 0.5
"""Weight of the vision side's terms beside the answers, once both sides are trained."""
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


@dataclass(frozen=True, slots=True)
class Seen:
    """What the vision side made of a batch."""

    rows: Tensor
    """[pictures * tiles, K or C, H]."""
    loss: Tensor
    colours: tuple[int, int]
    """Shapes whose colour their row names, and shapes."""
    kinds: tuple[int, int]


class Trainee(nn.Module):
    """Both sides, with the loss over a batch."""

    def __init__(
        self, config: CheckpointConfig, *, image_token: int, pad_token: int, word_tokens: list[int]
    ) -> None:
        super().__init__()
        self.word_tokens = word_tokens
        self.marker = nn.Linear(
            config.vision.hidden_size, len(COLOURS) + len(KINDS) + 2
        )  # of the training only
        self.word_bias = nn.Parameter(torch.full((len(word_tokens),), -2.0))  # of the training only
        self.vision = Vision(config)
        self.language: Qwen3ForCausalLM = new_language(config.language)
        self.image_token, self.pad_token = image_token, pad_token
        _initialise(self.vision)

    def see(self, batch: Batch) -> Seen:
        """The visual rows of a batch, and how well the vision side names and marks what they show."""
        assert batch.pixels is not None
        patches = self.vision.patches(torch.from_numpy(batch.pixels))
        rows = self.vision.compress(patches) if batch.compress else self.vision.keep(patches)
        scaled = functional.rms_norm(rows.flatten(0, 1), rows.shape[-1:])
        words = self.language.get_parameter("model.embed_tokens.weight")[self.word_tokens]
        named, truth = functional.linear(scaled, words, self.word_bias), torch.from_numpy(batch.words)
        alignment = functional.binary_cross_entropy_with_logits(named, truth)
        colours, kinds = self.marker(patches.flatten(0, 1)).split((len(COLOURS) + 1, len(KINDS) + 1), dim=-1)
        marks = torch.from_numpy(batch.marks)
        marking = functional.cross_entropy(colours, marks[:, 0]) + functional.cross_entropy(
            kinds, marks[:, 1]
        )
        loss = ALIGNMENT * alignment + marking
        return Seen(rows, loss, *_named_right(named.detach(), truth))

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor, list[bool]]:
        """Summed loss of the answers' tokens, loss of the vision side, and which tokens were right."""
        ids, (at, tokens) = self._padded(batch)
        embeddings = self.language.get_input_embeddings()(ids)
        sight = torch.zeros(())
        if batch.pixels is not None:
            seen = self.see(batch)
            sight = seen.loss
            embeddings = embeddings.masked_scatter((ids == self.image_token)[..., None], seen.rows)
        # Padding stands on the right and attention is causal, so no answer ever sees it: no mask is needed.
        hidden = self.language.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        logits = self.language.lm_head(hidden.flatten(0, 1)[at])
        answers = functional.cross_entropy(logits, tokens, reduction="sum")
        return answers, sight, (logits.argmax(-1) == tokens).tolist()

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
    sight: float = 0.0
    batches: int = 0
    right: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def add(self, batch: Batch, loss: float, sight: float, right_tokens: list[bool]) -> None:
        """Count one batch's answers; an answer is right when all its tokens are."""
        self.loss += loss
        self.sight += sight
        self.batches += 1
        at = 0
        for conversation in batch.conversations:
            for answer in conversation.answers:
                size = answer.stop - answer.start
                self.asked[answer.task] = self.asked.get(answer.task, 0) + 1
                self.right[answer.task] = self.right.get(answer.task, 0) + all(right_tokens[at : at + size])
                at += size

    def add_seen(self, seen: Seen) -> None:
        """Count a batch of the stage that trains the vision side alone."""
        self.sight += seen.loss.item()
        self.batches += 1
        for task, (right, asked) in (("colour seen", seen.colours), ("kind seen", seen.kinds)):
            self.right[task] = self.right.get(task, 0) + right
            self.asked[task] = self.asked.get(task, 0) + asked

    def line(self) -> str:
        """Loss, then percent right over all and by task."""
        total = 100 * sum(self.right.values()) / max(1, sum(self.asked.values()))
        tasks = "  ".join(
            f"{task} {100 * self.right[task] / self.asked[task]:.0f}" for task in sorted(self.asked)
        )
        count = max(1, self.batches)
        losses = f"loss {self.loss / count:.3f} + {self.sight / count:.3f}"
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
        seen = model.see(batch)
        seen.loss.backward()  # type: ignore[no-untyped-call]
        progress.add_seen(seen)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def _learn(
    model: Trainee, optimizer: torch.optim.Optimizer, batches: list[Batch], progress: Progress
) -> None:
    answers = sum(len(conversation.answers) for batch in batches for conversation in batch.conversations)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        summed, sight, right = model.losses(batch)
        loss = summed / answers + SIGHT * sight
        loss.backward()  # type: ignore[no-untyped-call]
        progress.add(batch, summed.item() / answers, sight.item(), right)
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


def _named_right(named: Tensor, truth: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    shown = truth.sum(-1) > 0
    counts = []
    for part in (slice(0, len(COLOURS)), slice(len(COLOURS), None)):
        best = named[shown][:, part].argmax(-1, keepdim=True)
        counts.append((int(truth[shown][:, part].gather(1, best).sum()), int(shown.sum())))
    return counts[0], counts[1]


def _initialise(vision: Vision) -> None:
    tower = vision.vision_model
    nn.init.normal_(tower.embeddings.class_embedding, std=0.02)
    with torch.no_grad():
        tower.embeddings.position_embedding.copy_(_positions(*tower.embeddings.position_embedding.shape[1:]))
    for name, parameter in tower.named_parameters():
        if name.endswith((".ls1", ".ls2")):
            nn.init.ones_(parameter)  # five layers need no damping


def _positions(count: int, size: int) -> Tensor:
    """First positions [1, 1 + P, D]: sines and cosines of row and column, so that neighbours are known as such.

    From small random ones the tower takes several times as many steps to tell a star from a diamond.
    """
    side = math.isqrt(count - 1)
    waves = torch.exp(torch.linspace(0, -math.log(32), size // 4))
    steps = torch.arange(side)[:, None] * waves
    axis = torch.cat([steps.sin(), steps.cos()], dim=1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    grid = torch.cat([rows, columns], dim=2).reshape(side * side, size)
    return torch.cat([torch.zeros(1, size), grid])[None]


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
