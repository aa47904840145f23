"""One torch module -> one ONNX file, and the versions of the tools that made it."""

from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from internvl_engines.contract.artifact import OPSET


def export_graph(
    module: nn.Module,
    file: Path,
    *,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    dynamic: dict[str, dict[int, Any]],
) -> None:
    """Export ``module`` with named inputs and outputs, weights inside the file, ``dynamic`` axes left open."""
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(dynamic.get(name, {}) for name in inputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(file), external_data=False)


def tool_versions() -> dict[str, str]:
    """Versions that may change what an export computes."""
    return {name: version(name) for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")}
