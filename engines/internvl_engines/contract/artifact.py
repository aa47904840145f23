"""What was built for an engine: its name (a digest of all that makes it) and its manifest.

Called by the exporter, which writes artifacts, by the runtimes, which find them by key, and by the operator.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["vision", "language"]

OPSET = 20
"""ONNX operator set of the graphs; 20 is the version whose export was verified."""

# A recipe names what the graphs compute and how they are split. A change of either is a new number, so an
# artifact of an older recipe is never found by a newer runtime.
_RECIPES: dict[Role, str] = {"vision": "onnx-vision-1", "language": "onnx-language-1"}

VIT = "vit.onnx"
PROJECTOR_KEEP = "projector_keep.onnx"
PROJECTOR_COMPRESS = "projector_compress.onnx"
ROUTER = "router.onnx"
EMBEDDINGS = "embeddings.npy"
DECODER = "decoder.onnx"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArtifactKey(_Value):
    """Everything that makes an artifact; equal keys mean interchangeable artifacts."""

    role: Role
    engine: str
    weights: str
    """Digest of the checkpoint, see ``checkpoint_digest``."""
    recipe: str
    precision: str
    device: str
    opset: int

    @property
    def digest(self) -> str:
        """``sha256:`` of the key's canonical JSON (sorted names, no spaces, ASCII)."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"


class ArtifactFile(_Value):
    """One file of an artifact, by its path below ``content/``."""

    path: str
    sha256: str
    bytes: int


class Manifest(_Value):
    """``manifest.json`` of an artifact: what it is, what it was measured to be, and who made it."""

    key: ArtifactKey
    files: tuple[ArtifactFile, ...]
    geometry: dict[str, int]
    """The sizes that a caller must respect, by the letters of the graph's shapes (S, P, D, K, C, H, ...)."""
    verified: dict[str, float]
    """Measured against the reference when it was built; names say what, all are absolute differences."""
    built_at: str
    """UTC, ISO 8601."""
    tools: dict[str, str]
    """Versions of the tools that built it."""


def onnxruntime_key(role: Role, *, weights: str) -> ArtifactKey:
    """The key of the fp32 ONNX artifact for the CPU: what the exporter writes and ``onnxruntime`` asks for."""
    return ArtifactKey(
        role=role,
        engine="onnxruntime",
        weights=weights,
        recipe=_RECIPES[role],
        precision="fp32",
        device="cpu",
        opset=OPSET,
    )
