"""Reads weights from the safetensors files of a checkpoint, only those below the prefixes asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from internvl_engines.contract.checkpoint import CheckpointInvalid


def read_weights(checkpoint: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Tensors in fp32 by their name in the checkpoint; tensors that are not wanted are never read."""
    weights: dict[str, Tensor] = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stream:
            for name in stream.keys():  # noqa: SIM118  (safe_open is not a mapping)
                if wanted(name):
                    weights[name] = stream.get_tensor(name).to(torch.float32)
    return weights


def load_into(module: nn.Module, weights: dict[str, Tensor], checkpoint: Path) -> None:
    """Fill ``module``; every parameter must be there and nothing may be left over.

    Raises:
        CheckpointInvalid: a tensor is missing, unknown or of another shape.
    """
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointInvalid(f"{checkpoint}: the weights do not fit config.json: {error}") from error
    if missing or unexpected:
        raise CheckpointInvalid(
            f"{checkpoint}: the weights do not fit config.json: missing {sorted(missing)[:3]}, "
            f"unknown {sorted(unexpected)[:3]} ({len(missing)} and {len(unexpected)} in all)."
        )
    module.eval()
