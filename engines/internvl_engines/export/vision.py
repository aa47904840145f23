"""The vision artifact: tower, projectors and, for Flash, the router, a graph each.

They are separate graphs so that the encoder runs, for each tile, only the projector that its route chose.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from internvl_engines.contract.artifact import (
    PROJECTOR_COMPRESS,
    PROJECTOR_KEEP,
    ROUTER,
    VIT,
    ArtifactKey,
    onnxruntime_key,
)
from internvl_engines.contract.checkpoint import checkpoint_digest
from internvl_engines.export.graph import export_graph, tool_versions
from internvl_engines.reference.model import load_vision
from internvl_engines.reference.vision import Vision
from internvl_engines.store.local import Artifact, write_artifact
from internvl_engines.verify.parity import largest_difference, open_graph, require, tile_cases

TOLERANCE = 2e-3
"""Largest difference of feature rows in fp32; rows reach some tens, sums run over a thousand products."""


class _Part(nn.Module):
    """One method of the vision side as a module of its own; the modules inside keep their weights."""

    def __init__(self, vision: Vision, part: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.vision = vision
        self._part = part

    def forward(self, values: Tensor) -> Tensor:
        return self._part(values)


def export_vision(checkpoint: Path, store: Path) -> Artifact:
    """Export the vision side of ``checkpoint`` into ``store`` after comparing it with the reference.

    Raises:
        ParityFailed: a graph differs from torch by more than the tolerance; the store is left as it was.
    """
    vision = load_vision(checkpoint)
    parts = _parts(vision)

    def fill(content: Path) -> None:
        for name, (part, shape, source, target) in parts.items():
            export_graph(
                part,
                content / name,
                inputs={source: torch.randn(2, *shape)},
                outputs=(target,),
                dynamic={source: {0: torch.export.Dim("tiles", min=1, max=4096)}},
            )

    def verify(content: Path) -> dict[str, float]:
        measured = {}
        for name, (part, shape, _, _) in parts.items():
            difference = largest_difference(part, open_graph(content / name), tile_cases(*shape))
            require(name, difference, tolerance=TOLERANCE)
            measured[name] = difference
        return measured

    return write_artifact(
        store, vision_key(checkpoint), fill, geometry=_geometry(vision), verify=verify, tools=tool_versions()
    )


def vision_key(checkpoint: Path) -> ArtifactKey:
    """Key of the vision artifact of a checkpoint."""
    return onnxruntime_key("vision", weights=checkpoint_digest(checkpoint))


def _parts(vision: Vision) -> dict[str, tuple[nn.Module, tuple[int, ...], str, str]]:
    """File name -> module, input shape without the batch, input name, output name."""
    config = vision.config
    pixels = (3, config.image_size, config.image_size)
    patches = (config.patches_per_tile, config.vision.hidden_size)
    parts: dict[str, tuple[nn.Module, tuple[int, ...], str, str]] = {
        VIT: (_Part(vision, vision.patches), pixels, "pixel_values", "patches"),
        PROJECTOR_KEEP: (_Part(vision, vision.keep), patches, "patches", "features"),
    }
    if config.flash:
        parts[ROUTER] = (
            _Part(vision, vision.compress_probability),
            patches,
            "patches",
            "compress_probability",
        )
        parts[PROJECTOR_COMPRESS] = (_Part(vision, vision.compress), patches, "patches", "features")
    return {name: (part.eval(), *rest) for name, (part, *rest) in parts.items()}  # type: ignore[misc]


def _geometry(vision: Vision) -> dict[str, int]:
    config = vision.config
    geometry = {
        "S": config.image_size,
        "P": config.patches_per_tile,
        "D": config.vision.hidden_size,
        "K": config.tokens_per_tile,
        "H": config.language.hidden_size,
    }
    # C says that the artifact has router and second projector.
    return geometry | {"C": config.tokens_per_compressed_tile} if config.flash else geometry
