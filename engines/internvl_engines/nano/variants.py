"""Checkpoints of other forms for tests, made from internvl-nano in seconds: ``make nano-variants``.

``dense``: without Flash, as most published models are. ``hf``: the dense one in the layout of the ``-HF`` releases.
``tower``: the tower of the 6B family (RMSNorm, qk-norm, no qkv bias), its weights random. ``reward``: VisualPRM's
form, which scores the steps of a solution; untaught, so it has the form and no judgement. None of them is shipped.
The readers here take all but ``hf``, which they refuse with a sentence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from internvl_engines.contract.checkpoint import CheckpointInvalid, read_checkpoint_config
from internvl_engines.nano.hf_layout import hf_config, hf_name_parts
from internvl_engines.nano.shape import FLASH_PARTS
from internvl_engines.reference.vision import Vision
from internvl_engines.reference.weights import read_weights

_TOWER = "vision_model."
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def make_dense(source: Path, target: Path) -> None:
    """``source`` without router and ``mlp2``: it answers as ``source`` does with every tile kept."""
    document = {key: value for key, value in _config(source).items() if not key.startswith("flash_")}
    weights = read_weights(source, lambda name: not name.startswith(FLASH_PARTS))
    _write(source, target, document, weights)


def make_hf(source: Path, target: Path) -> None:
    """``source`` in the layout of the ``-HF`` releases, which has no place for Flash: it is left out.

    Names and config.json are those that ``InternVLForConditionalGeneration`` of transformers reads.
    """
    weights = read_weights(source, lambda name: not name.startswith(FLASH_PARTS))
    renamed = {new: part for name, value in weights.items() for new, part in hf_name_parts(name, value)}
    _write(source, target, hf_config(_config(source), source), renamed)


def make_other_tower(source: Path, target: Path) -> None:
    """``source`` with an untrained tower of the 6B kind: for loading, exporting and parity, not for answers."""
    document = _config(source)
    document["vision_config"] |= {"norm_type": "rms_norm", "qk_normalization": True, "qkv_bias": False}
    target.mkdir(parents=True, exist_ok=True)
    _write_config(target, document)
    weights = read_weights(source, lambda name: not name.startswith(_TOWER))
    torch.manual_seed(0)
    tower = Vision(read_checkpoint_config(target)).vision_model
    weights |= {f"{_TOWER}{name}": value for name, value in tower.state_dict().items()}
    _write(source, target, document, weights)


def make_reward(source: Path, target: Path) -> None:
    """``source`` as a dense model under VisualPRM's class name: ``reward`` asks it for ``+`` and ``-``."""
    make_dense(source, target)
    document = _config(target) | {"architectures": ["InternVLRewardModel"]}
    _write_config(target, document)


VARIANTS: dict[str, Callable[[Path, Path], None]] = {
    "dense": make_dense,
    "hf": make_hf,
    "tower": make_other_tower,
    "reward": make_reward,
}


def make_variants(source: Path, folder: Path, names: tuple[str, ...] = tuple(VARIANTS)) -> list[Path]:
    """Write the variants to ``folder/internvl-nano-<name>``; what was there under these names is replaced."""
    made = []
    for name in names:
        target = folder / f"internvl-nano-{name}"
        shutil.rmtree(target, ignore_errors=True)
        VARIANTS[name](source, target)
        made.append(target)
    return made


def export_variant(checkpoint: Path) -> str:
    """Export what can be served; one line about it."""
    from internvl_engines.export.language import export_language
    from internvl_engines.export.vision import export_vision
    from internvl_engines.store.layout import checkpoint_store

    try:
        read_checkpoint_config(checkpoint)
    except CheckpointInvalid as error:
        return f"{checkpoint.name}: not served here: {error}"
    for export in (export_vision, export_language):
        export(checkpoint, checkpoint_store(checkpoint))
    return f"{checkpoint.name}: exported"


def _config(checkpoint: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return document


def _write(source: Path, target: Path, document: dict[str, Any], weights: dict[str, Tensor]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _write_config(target, document)
    halves = {name: value.to(torch.bfloat16).contiguous() for name, value in sorted(weights.items())}
    save_file(halves, target / "model.safetensors", metadata={"format": "pt"})
    for name in _TOKENIZER_FILES:
        shutil.copyfile(source / name, target / name)


def _write_config(target: Path, document: dict[str, Any]) -> None:
    (target / "config.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
