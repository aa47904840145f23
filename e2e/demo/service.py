"""The service that the demo and the benchmarks apply: the first sample, with the models of this checkout."""

from e2e.demo.parts import ROOT

SAMPLE = ROOT / "manifests" / "samples" / "internvlservice.nano.yaml"
MODELS_IN_SAMPLE = "/opt/internvl/models"
MODELS = ROOT / "engines" / "internvl_engines" / "models"
SERVICE = "internvl"
MODEL = "internvl-nano"


def sample() -> str:
    """The manifest, its models' folder replaced by this checkout's."""
    return SAMPLE.read_text().replace(MODELS_IN_SAMPLE, str(MODELS))
