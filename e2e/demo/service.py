"""The service that the demo and the benchmarks apply: the first sample, with the models of this checkout.

`python -m e2e.demo.service FILE` writes it, for `make up`.
"""

import sys
from pathlib import Path

from e2e.demo.parts import ROOT

SAMPLE = ROOT / "manifests" / "samples" / "internvlservice.nano.yaml"
MODELS_IN_SAMPLE = "/opt/internvl/models"
MODELS = ROOT / "engines" / "internvl_engines" / "models"
SERVICE = "internvl"
MODEL = "internvl-nano"


def sample() -> str:
    """The manifest, its models' folder replaced by this checkout's."""
    return SAMPLE.read_text().replace(MODELS_IN_SAMPLE, str(MODELS))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(sample())
