"""internvl-nano while it learns: both sides, and what every stage computes from a batch.

The vision side has three terms of its own. Alignment: each visual row, read by the language model's own output
matrix, names colour and kind of the shape, or the character, whose centre it holds (binary cross-entropy).
Marking: from each ViT patch a linear head, thrown away afterwards, tells colour, kind and character of what lies
on it (cross-entropy). Tried without: colours come at once, but after 700 steps no kind is told from another.
It tells as well in which quarter of the patch a centre lies. Tried without: of shapes that are no more than a third
of a tile apart 79 % of the positions were told rightly, of others 95 %.
Placing: from each row of a kept tile such a head tells the same of its four patches. Tried without: patches told
86 % of the characters, rows 59 % of them in their order, and no text of several characters was read.

The language side has terms of its own as well: ``orientation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_engines.nano.dataset import COMPRESS_ROWS, KEEP_ROWS, Batch, by_row
from internvl_engines.nano.labels import UNTOLD, VISUAL_WORDS, untold_marks
from internvl_engines.nano.orientation import Orientation
from internvl_engines.nano.pictures import COLOURS, KINDS
from internvl_engines.nano.prints import CHARACTERS
from internvl_engines.nano.tokenizer import IMG_CONTEXT, token_id
from internvl_engines.reference.language import new_language
from internvl_engines.reference.vision import Vision

ALIGNMENT = 10.0
"""Weight of the alignment term; it is a mean over words of which nearly all are absent, hence small."""
_BARE = 0.1
"""Weight of a patch that shows nothing: most do, and characters would be drowned."""
_MARKS = {
    "colours": len(COLOURS) + 1,
    "kinds": len(KINDS) + 1,
    "characters": len(CHARACTERS) + 1,
    "centres": 1 + 4,
}
"""By sort, how many marks there are; 0 is none."""
_UNTOLD_KINDS, _UNTOLD_COLOURS = map(torch.from_numpy, untold_marks())


@dataclass(frozen=True, slots=True)
class Sight:
    """How well the vision side names and marks what it sees."""

    loss: Tensor
    named: dict[str, tuple[int, int]]
    """By sort of mark: patches named right, and patches that show one."""


class Trainee(nn.Module):
    """Both sides with random weights, and what only the training needs."""

    def __init__(self, config: CheckpointConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.image_token = token_id(tokenizer, IMG_CONTEXT)
        self.word_tokens, self.word_of_token = _word_tokens(tokenizer)
        self.word_bias = nn.Parameter(torch.full((len(self.word_tokens),), -2.0))
        self.marker = nn.Linear(config.vision.hidden_size, sum(_MARKS.values()))
        self.placer = nn.Linear(config.language.hidden_size, 4 * sum(_MARKS.values()))
        self.vision = Vision(config)
        self.language: Qwen3ForCausalLM = new_language(config.language)
        _initialise(self.vision)
        self.orientation = Orientation(config.language.hidden_size)

    def patches(self, batch: Batch) -> Tensor:
        """ViT patches of all tiles: float32 [tiles, P, D]."""
        return self.vision.patches(batch.pixels()).float()

    def rows(self, patches: Tensor, compress: Tensor) -> Tensor:
        """Visual rows of all tiles in order: [tiles, P, D], bool [tiles] -> [rows, H]."""
        if not compress.any():
            return self.vision.keep(patches).flatten(0, 1).float()
        if compress.all():
            return self.vision.compress(patches).flatten(0, 1).float()
        kept = self.vision.keep(patches[~compress]).flatten(0, 1)
        folded = self.vision.compress(patches[compress]).flatten(0, 1)
        counts = torch.where(compress, COMPRESS_ROWS, KEEP_ROWS)
        of_tile = compress.repeat_interleave(counts)  # bool [rows]
        rows = kept.new_empty(len(of_tile), kept.shape[1])
        rows = rows.masked_scatter(~of_tile[:, None], kept).masked_scatter(of_tile[:, None], folded)
        return rows.float()

    def sight(self, batch: Batch, patches: Tensor, rows: Tensor) -> Sight:
        """The vision side's own terms over a batch."""
        scaled = functional.rms_norm(rows, rows.shape[-1:])
        words = self.language.get_parameter("model.embed_tokens.weight")[self.word_tokens]
        named = functional.linear(scaled, words, self.word_bias).float()
        truth = batch.words()[:, self.word_of_token]
        told = truth != UNTOLD
        alignment = functional.binary_cross_entropy_with_logits(named[told], truth[told])
        marks = batch.marks()
        marking, seen = _marking(self.marker(patches.flatten(0, 1)), marks)
        placing, placed = _marking(
            self.placer(scaled[batch.of_kept]).unflatten(-1, (4, -1)).flatten(0, 1),
            by_row(marks, ~batch.compress),
        )
        counts = {f"{sort} seen": count for sort, count in seen.items()}
        counts |= {f"{sort} in rows": count for sort, count in placed.items()}
        return Sight(ALIGNMENT * alignment + marking + placing, counts)

    def logits(self, batch: Batch, rows: Tensor | None) -> Tensor:
        """What the language model expects at each token of the answers: [A, V].

        Args:
            batch: the conversations.
            rows: the visual rows of their pictures, or None: text only.
        """
        return self._logits(batch, self._through_language(batch, rows)[-1])

    def logits_and_orientation(self, batch: Batch, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """``logits``, and the language side's own terms over a batch; 0 for one without pictures."""
        if rows is None:
            return self.logits(batch, rows), torch.zeros(())
        hidden = self._through_language(batch, rows, all_layers=True)
        at_image = batch.ids == self.image_token
        return self._logits(batch, hidden[-1]), self.orientation(batch, [layer[at_image] for layer in hidden])

    def _through_language(
        self, batch: Batch, rows: Tensor | None, *, all_layers: bool = False
    ) -> Sequence[Tensor]:
        """Hidden states [samples, T, H] after the last layer; or also the embeddings and those after each layer."""
        embeddings = self.language.get_input_embeddings()(batch.ids)
        if rows is not None:
            at_image = (batch.ids == self.image_token)[..., None]
            embeddings = embeddings.masked_scatter(at_image, rows.to(embeddings.dtype))
        # Padding stands on the right and attention is causal, so no answer ever sees it: no mask is needed.
        out = self.language.model(inputs_embeds=embeddings, use_cache=False, output_hidden_states=all_layers)
        return out.hidden_states if all_layers else (out.last_hidden_state,)

    def _logits(self, batch: Batch, hidden: Tensor) -> Tensor:
        return self.language.lm_head(hidden.flatten(0, 1)[batch.before]).float()  # type: ignore[no-any-return]

    def look_and_answer(self, batch: Batch) -> Tensor:
        """``logits`` of a batch with its pictures, each tile at its resolution."""
        if not len(batch.compress):
            return self.logits(batch, None)
        return self.logits(batch, self.rows(self.patches(batch), batch.compress))


def _marking(told: Tensor, marks: Tensor) -> tuple[Tensor, dict[str, tuple[int, int]]]:
    """Cross-entropy of the sorts of marks; by sort, how many are told right and how many there are.

    Args:
        told: logits [N, sum(_MARKS.values())].
        marks: int64 [N, len(_MARKS)].
    """
    loss, counts = told.new_zeros(()), {}
    colours, kinds, *others = torch.split(told.float(), list(_MARKS.values()), dim=-1)
    colour, kind = marks[:, 0].clamp(min=0), marks[:, 1].clamp(min=0)
    colours = _without(colours, _UNTOLD_COLOURS[kind], colour)
    kinds = _without(kinds, _UNTOLD_KINDS[colour], kind)
    for sort, logits, truth in zip(_MARKS, (colours, kinds, *others), marks.unbind(1), strict=True):
        shown = truth > 0
        right = (logits.detach()[shown].argmax(-1) == truth[shown]).sum()
        counts[sort] = int(right), int(shown.sum())
        if len(truth):
            weights = torch.ones(logits.shape[1])
            weights[0] = _BARE
            loss = loss + functional.cross_entropy(logits, truth, weights)
    return loss, counts


def _without(logits: Tensor, untold: Tensor, truth: Tensor) -> Tensor:
    """Logits of which those that shall not be denied have no part; the true one has, if a print lies across a shape."""
    return logits.masked_fill(untold.scatter(1, truth[:, None], False), -math.inf)


def _word_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Tokens that name a visual word, and the index of each one's word.

    A colour or a kind has two: as an answer begins with it, and as it stands inside a question ("Ġ" is the space
    before it). A character has one.
    """
    tokens, words = [], []
    for index, word in enumerate(VISUAL_WORDS):
        for form in (word,) if len(word) == 1 else (word, f"Ġ{word}"):
            tokens.append(token_id(tokenizer, form))
            words.append(index)
    return tokens, words


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
