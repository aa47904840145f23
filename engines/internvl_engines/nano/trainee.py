"""internvl-nano while it learns: both sides, and the losses over a batch.

Answers: cross-entropy on the tokens of the answers (and the end token), all turns of a conversation at once.
Two more terms for the vision side. Alignment: each visual row, read by the language model's own output matrix,
names colour and kind of the shape whose centre it holds (binary cross-entropy). Marking: from each ViT patch a
linear head, thrown away afterwards, tells colour and kind of the shape that lies on it (cross-entropy). Tried
without: colours come at once, but after 700 steps no kind is told from another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_engines.nano.dataset import VISUAL_WORDS, Batch
from internvl_engines.nano.pictures import COLOURS, KINDS
from internvl_engines.nano.tokenizer import END_OF_TEXT, IMG_CONTEXT, token_id
from internvl_engines.reference.language import new_language
from internvl_engines.reference.vision import Vision

ALIGNMENT = 5.0
"""Weight of the alignment term; it is a mean over words of which nearly all are absent, hence small."""


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
    """Both sides with random weights, and what only the training needs."""

    def __init__(self, config: CheckpointConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.image_token = token_id(tokenizer, IMG_CONTEXT)
        self.pad_token = token_id(tokenizer, END_OF_TEXT)
        # As an answer begins with the word, and as it stands inside a question ("Ġ" is the space before it).
        self.word_tokens = [token_id(tokenizer, form) for word in VISUAL_WORDS for form in (word, f"Ġ{word}")]
        self.word_bias = nn.Parameter(torch.full((len(self.word_tokens),), -2.0))
        self.marker = nn.Linear(config.vision.hidden_size, len(COLOURS) + len(KINDS) + 2)
        self.vision = Vision(config)
        self.language: Qwen3ForCausalLM = new_language(config.language)
        _initialise(self.vision)

    def see(self, batch: Batch) -> Seen:
        """The visual rows of a batch, and how well the vision side names and marks what they show."""
        assert batch.pixels is not None
        patches = self.vision.patches(torch.from_numpy(batch.pixels))
        rows = self.vision.compress(patches) if batch.compress else self.vision.keep(patches)
        scaled = functional.rms_norm(rows.flatten(0, 1), rows.shape[-1:])
        words = self.language.get_parameter("model.embed_tokens.weight")[self.word_tokens]
        named = functional.linear(scaled, words, self.word_bias)
        truth = torch.from_numpy(batch.words).repeat_interleave(2, dim=-1)  # both forms of each word
        alignment = functional.binary_cross_entropy_with_logits(named, truth)
        colours, kinds = self.marker(patches.flatten(0, 1)).split((len(COLOURS) + 1, len(KINDS) + 1), dim=-1)
        marks = torch.from_numpy(batch.marks)
        marking = functional.cross_entropy(colours, marks[:, 0]) + functional.cross_entropy(
            kinds, marks[:, 1]
        )
        return Seen(rows, ALIGNMENT * alignment + marking, *_named_right(named.detach(), truth))

    def answer(self, batch: Batch, rows: Tensor | None) -> tuple[Tensor, list[bool]]:
        """Summed loss of the answers' tokens, and which of them were right.

        Args:
            batch: the conversations.
            rows: the visual rows of their pictures, or None: text only.
        """
        ids, (at, tokens) = self._padded(batch)
        embeddings = self.language.get_input_embeddings()(ids)
        if rows is not None:
            embeddings = embeddings.masked_scatter((ids == self.image_token)[..., None], rows)
        # Padding stands on the right and attention is causal, so no answer ever sees it: no mask is needed.
        hidden = self.language.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        logits = self.language.lm_head(hidden.flatten(0, 1)[at])
        loss = functional.cross_entropy(logits, tokens, reduction="sum")
        return loss, (logits.argmax(-1) == tokens).tolist()

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


def _named_right(named: Tensor, truth: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    shown = truth.sum(-1) > 0
    counts = []
    for part in (slice(0, 2 * len(COLOURS), 2), slice(2 * len(COLOURS), None, 2)):
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
    """First positions [1, 1 + P, D]: sines and cosines of row and column, so that neighbours are known as such."""
    side = math.isqrt(count - 1)
    waves = torch.exp(torch.linspace(0, -math.log(32), size // 4))
    steps = torch.arange(side)[:, None] * waves
    axis = torch.cat([steps.sin(), steps.cos()], dim=1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    grid = torch.cat([rows, columns], dim=2).reshape(side * side, size)
    return torch.cat([torch.zeros(1, size), grid])[None]
