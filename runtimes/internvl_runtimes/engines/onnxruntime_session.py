"""Opens ONNX Runtime sessions the way every engine here wants them. Called by both ONNX Runtime engines."""

import os
from pathlib import Path
from typing import Any

# Otherwise it keeps a database of its use, with an id of the machine, in the user's cache, to be sent to its makers.
# Only its environment at the time of the import decides.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from internvl_runtimes.engines.base import EngineFailed


def open_session(model: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """A CPU session of `threads` intra-op threads that wait without spinning.

    The thread count is the replica's CPU request: with ONNX Runtime's own default (all cores) small models run
    up to 25 times slower on a shared machine. Spinning threads would take the CPU from other replicas.

    Raises:
        EngineFailed: the file is missing or not a graph that this ONNX Runtime takes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; they are raised too
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        raise EngineFailed(f"ONNX Runtime refused {model}: {error}") from error


def run_session(session: onnxruntime.InferenceSession, inputs: dict[str, Any]) -> list[Any]:
    """Run once and return all outputs in the graph's order.

    Raises:
        EngineFailed: the run failed.
    """
    try:
        outputs: list[Any] = session.run(None, inputs)
    except Exception as error:  # its exceptions share no base class
        raise EngineFailed(f"ONNX Runtime failed: {error}") from error
    return outputs
