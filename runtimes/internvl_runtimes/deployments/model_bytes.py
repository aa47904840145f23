"""What a load read of the model's files: counted in a metric and told in the log, by each role in the same way."""

import logging
from dataclasses import dataclass, fields
from pathlib import Path

from internvl_runtimes.contract import metrics
from internvl_runtimes.deployments.metrics import Recorder

_LOG = logging.getLogger("ray.serve")  # reaches the replica's log


@dataclass(frozen=True, slots=True)
class ModelBytes:
    """Bytes of the files that one load read whole, each file once and at its size.

    That is what was asked of the source (a claim, a disk of the node, an image). An artifact's files are read
    twice, to check them and by the engine; the second time the kernel has them, as far as its memory allows.
    """

    description: int = 0
    """config.json and, where the role needs it, the tokenizer."""
    weights: int = 0
    """The checkpoint's safetensors, read for nothing but the revision; 0 where a seal tells their SHA-256."""
    artifact: int = 0
    """What the engine runs."""

    def tell(self, role: str, checkpoint: Path, *, seconds: float) -> None:
        """Write the line about a finished load into the log."""
        parts = ", ".join(f"{name} {value / 1e6:.1f} MB" for name, value in self._by_name().items())
        line = f"Loaded {role} from {checkpoint} in {seconds:.1f} s; read {parts}"
        if self.weights:
            line += (
                ". No seal tells what they are, or its names, sizes and times do not fit. Where the folder can be "
                "written: python -m internvl_engines seal FOLDER"
            )
        _LOG.info(line)

    def record(self, recorder: Recorder, role: str) -> None:
        """Count them."""
        for name, value in self._by_name().items():
            recorder.record(metrics.MODEL_BYTES_READ, value, role=role, what=name)

    def _by_name(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
