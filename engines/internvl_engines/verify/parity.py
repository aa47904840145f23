"""Runs ONNX graphs beside the torch modules they came from and measures the largest difference.

Called by ``export`` before an artifact becomes visible, and by the parity tests. Inputs are random and
seeded; the shapes go through one tile, several, an empty past, a long one, a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

# As in the runtimes: ONNX Runtime reports its use to its makers unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float32]

TILE_COUNTS = (1, 2, 7, 13)
DECODER_SHAPES = ((1, 1, 7), (3, 9, 0), (8, 1, 200), (1, 64, 0), (2, 4, 11))
"""(batch, new tokens, past tokens)."""


class ParityFailed(Exception):
    """An exported graph computes something else than the reference: nothing is written to the store."""


def open_graph(file: Path, *, threads: int = 1) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run_graph(session: ort.InferenceSession, inputs: Sequence[Tensor]) -> list[Array]:
    """Run a graph on inputs in the order of its declaration."""
    names = [value.name for value in session.get_inputs()]
    arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    outputs: list[Array] = session.run(None, arrays)
    return outputs


def largest_difference(
    module: nn.Module, session: ort.InferenceSession, cases: Iterable[tuple[Tensor, ...]]
) -> float:
    """Largest absolute difference over all outputs and cases; NaN as soon as one value is NaN."""
    worst = 0.0
    for inputs in cases:
        with torch.no_grad():
            expected = module(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for want, got in zip(expected, run_graph(session, inputs), strict=True):
            if tuple(got.shape) != tuple(want.shape):
                raise ParityFailed(f"the graph gives shape {got.shape}, the reference {tuple(want.shape)}")
            if got.size:
                # Not Python's max, which passes NaN over.
                worst = float(np.maximum(worst, np.abs(got - want.numpy()).max()))
    return worst


def require(name: str, difference: float, *, tolerance: float) -> None:
    """Refuse a difference above the tolerance (NaN included).

    Raises:
        ParityFailed: names the graph and both figures.
    """
    if not difference <= tolerance:
        raise ParityFailed(
            f"{name} differs from the reference by {difference:.2e}, tolerated is {tolerance:.0e}; "
            "the artifact was not written."
        )


def tile_cases(*shape: int, seed: int = 0) -> list[tuple[Tensor, ...]]:
    """Random inputs [N, *shape] for several numbers of tiles."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(count, *shape, generator=generator),) for count in TILE_COUNTS]


def decoder_case(
    batch: int, new: int, past: int, *, hidden: int, layers: int, kv_heads: int, head_dim: int, seed: int = 0
) -> tuple[Tensor, ...]:
    """Random inputs of the decoder graph, in its order: every sequence sees its whole past and is causal."""
    generator = torch.Generator().manual_seed(seed)
    cache = (layers, batch, kv_heads, past, head_dim)
    positions = torch.arange(past, past + new).expand(batch, new).contiguous()
    mask = torch.arange(past + new)[None, :] <= torch.arange(past, past + new)[:, None]
    return (
        torch.randn(batch, new, hidden, generator=generator),
        positions,
        mask.expand(batch, 1, new, past + new).contiguous(),
        torch.randn(cache, generator=generator),
        torch.randn(cache, generator=generator),
    )
