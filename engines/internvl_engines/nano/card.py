"""Fills the measured parts of the model card and of ``docs/vir.md``, so that no figure there is typed by hand.

A part stands between ``<!-- nano: NAME -->`` and ``<!-- /nano: NAME -->``, each on a line of its own. Figures come
from the file that ``make nano-eval`` wrote, shapes from the checkpoint, wordings from the questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from internvl_engines.contract.artifact import Role, onnxruntime_key
from internvl_engines.contract.checkpoint import checkpoint_digest, read_checkpoint_config, weight_files
from internvl_engines.nano.judging import WAYS
from internvl_engines.nano.questions import WORDINGS
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import find_artifact

_PART = re.compile(r"^<!-- nano: ([a-z ]+) -->\n(.*?)^<!-- /nano: \1 -->$", re.MULTILINE | re.DOTALL)
_MODULES = {
    "tower": ("vision_model.",),
    "mlp1": ("mlp1.",),
    "mlp2": ("mlp2.",),
    "router": ("pooling_before_gating.", "gating."),
    "language model": ("language_model.",),
}


class CardRefused(Exception):
    """The card cannot be filled from this: the message says what to run."""


def fill_card(card: Path, checkpoint: Path, measured: Path) -> list[str]:
    """Rewrite every marked part of ``card``; the names of the parts.

    Args:
        card: the text file; what is outside of marks stays.
        checkpoint: the folder that it describes.
        measured: what the evaluation of exactly these weights wrote.

    Raises:
        CardRefused: the figures are of other weights, or the card has a part that nobody fills.
    """
    parts = _parts(checkpoint, _figures_of(checkpoint, measured))
    filled: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in parts:
            raise CardRefused(f"{card}: nobody fills the part {name!r}; known are {', '.join(sorted(parts))}")
        filled.append(name)
        return f"<!-- nano: {name} -->\n{parts[name]()}\n<!-- /nano: {name} -->"

    text = _PART.sub(fill, card.read_text(encoding="utf-8"))
    card.write_text(text, encoding="utf-8")
    return filled


def _figures_of(checkpoint: Path, measured: Path) -> dict[str, Any]:
    if not measured.is_file():
        raise CardRefused(f"there is no {measured}: run `make nano-eval` first")
    document: dict[str, Any] = json.loads(measured.read_text(encoding="utf-8"))
    own, theirs = checkpoint_digest(checkpoint), document["raw"]["checkpoint"]
    if own != theirs:
        raise CardRefused(
            f"{measured} has the figures of {theirs}, and {checkpoint} is {own}: run `make nano-eval` again"
        )
    return document


def _parts(checkpoint: Path, document: dict[str, Any]) -> dict[str, Callable[[], str]]:
    return {
        "shape": lambda: _shape(checkpoint),
        "parity": lambda: _parity(checkpoint),
        "wordings": _wordings,
        "run": lambda: _run(document),
        "goals": lambda: _goals(document),
        "answers": lambda: _answers(document["raw"]["groups"]),
        "tiles": lambda: _tiles(document["raw"]["tiles"]),
    }


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _answers(groups: dict[str, Any]) -> str:
    head = ("exact answers, %", "asked", "kept", "routed", "random", "all compressed", "tokens cut, %")
    rows = []
    for name, group in groups.items():
        shares = [f"{100 * group['right'][way] / group['asked']:.1f}" for way in WAYS]
        cut = (
            f"{100 - 100 * group['routed_tokens'] / group['kept_tokens']:.1f}" if group["kept_tokens"] else ""
        )
        if not group["kept_tokens"]:
            shares[1:] = [""] * 3
        rows.append((f"**{name}**" if name == "overall" else name, str(group["asked"]), *shares, cut))
    return _table(head, rows)


def _tiles(tiles: dict[str, Any]) -> str:
    rows = [
        (name, str(count["all"]), f"{100 * count['compressed'] / count['all']:.1f} %")
        for name, count in tiles.items()
    ]
    return _table(("what lies on the tile", "tiles", "compressed"), rows)


def _goals(document: dict[str, Any]) -> str:
    rows = [
        (goal["what"], f"{goal['value']:.2f}", goal["goal"], "yes" if goal["ok"] else "**no**")
        for goal in document["goals"]
    ]
    return _table(("goal", "measured", "wanted", "met"), rows)


def _run(document: dict[str, Any]) -> str:
    raw, versions = document["raw"], document["versions"]
    loss = raw["loss"]
    return (
        f"Seed {raw['seed']}, {raw['questions_per_task']:,} questions a task, ONNX Runtime {versions['onnxruntime']}, "
        f"{raw['processes']} processes on {document['machine']['cores']} cores, {raw['seconds']:.0f} s. "
        f"The router costs {loss['points']:.2f} points (95 % upper bound {loss['upper_bound_95']:.2f}). "
        f"The checkpoint is `{raw['checkpoint']}`."
    )


def _shape(checkpoint: Path) -> str:
    config = read_checkpoint_config(checkpoint)
    counts = dict.fromkeys(_MODULES, 0)
    for file in weight_files(checkpoint):
        with safe_open(file, framework="np") as stream:
            for name in stream.keys():  # noqa: SIM118  (safe_open is not a mapping)
                part = next(part for part, starts in _MODULES.items() if name.startswith(starts))
                size = 1
                for length in stream.get_slice(name).get_shape():
                    size *= length
                counts[part] += size
    millions = ", ".join(f"{part} {count / 1e6:.2f}" for part, count in counts.items() if count)
    tiles, kept = config.max_dynamic_patch + 1, config.tokens_per_tile
    vision, language = config.vision, config.language
    rows = [
        ("parameters", f"{sum(counts.values()) / 1e6:.2f} million: {millions}"),
        (
            "vision",
            f"{vision.layers} layers, width {vision.hidden_size}, tiles of {config.image_size} px, patches of "
            f"{config.patch_size} px",
        ),
        (
            "tokens",
            f"{kept} a tile ({config.tokens_per_compressed_tile} when compressed), 1 to {tiles - 1} tiles and a "
            f"thumbnail: {kept} to {kept * tiles} a picture",
        ),
        (
            "language",
            f"{language.layers} layers, width {language.hidden_size}, {language.heads} heads over "
            f"{language.kv_heads} key/value heads, {language.max_position:,} positions, byte-level vocabulary of its own",
        ),
        ("template", f'`{config.template}`, system message "{config.system_message}" (config.json)'),
        ("weights", "bfloat16; the ONNX artifacts beside it are fp32"),
    ]
    if config.flash is not None:
        rows.append(
            (
                "router",
                f"relative threshold {config.flash.relative_threshold:g}, absolute threshold "
                f"{config.flash.absolute_threshold:g} (config.json)",
            )
        )
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {what} |" for name, what in rows)])


def _parity(checkpoint: Path) -> str:
    digest, stores = checkpoint_digest(checkpoint), stores_for(checkpoint)
    roles: tuple[Role, ...] = ("vision", "language")
    verified = {
        name: value
        for role in roles
        for name, value in find_artifact(
            onnxruntime_key(role, weights=digest), stores, checkpoint=checkpoint
        ).manifest.verified.items()
    }
    differences = ", ".join(f"`{name}` {value:.1e}" for name, value in verified.items())
    return f"ONNX against torch, largest absolute difference: {differences}."


def _wordings() -> str:
    return "\n".join(f"- *{name}*: {' · '.join(texts)}" for name, texts in WORDINGS.items())
