"""What the nodes say that replicas read of a model's files: with a seal their own part, and no weights besides."""

import os
import shutil
from pathlib import Path
from typing import Any

from internvl_engines.store.seal import write_seal
from internvl_runtimes.contract import serve_args
from internvl_runtimes.contract.serve_args import ModelSource
from tests.local.dataplane.service import (
    MODEL,
    SERVICE_APPLICATION,
    VISION_APPLICATION,
    Service,
    eventually,
    picture,
    question,
)

NAME = "ray_internvl_model_read_bytes_total"
NODES = {"vision": "vision", "language": "language", "gateway": "head"}
DEPLOYMENTS = {
    "vision": (VISION_APPLICATION, serve_args.VISION_DEPLOYMENT),
    "language": (SERVICE_APPLICATION, serve_args.LANGUAGE_DEPLOYMENT),
    "gateway": (SERVICE_APPLICATION, serve_args.GATEWAY_DEPLOYMENT),
}


def _replica(service: Service, role: str) -> str:
    application, deployment = DEPLOYMENTS[role]
    # The dashboard may take longer than one try on a busy machine; it then shows nothing.
    applications = eventually("the applications", service.nodes.applications)
    replicas = applications[application]["deployments"][deployment]["replicas"]
    return str(next(r["replica_id"] for r in replicas if r["state"] == "RUNNING"))


def test_replicas_that_load_a_sealed_model_read_their_part_and_no_weights(
    service: Service, checkpoint: Path, tmp_path: Path
) -> None:
    sealed = shutil.copytree(checkpoint, tmp_path / "sealed")
    for file in sealed.glob("*.safetensors"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    write_seal(sealed)
    replicas = {role: _replica(service, role) for role in NODES}

    def counted(role: str) -> dict[str, float]:
        """By this replica; nodes go on telling for a while what those before it counted."""
        tags = {"role": role, "replica": replicas[role]}
        return {
            what: service.metric(NODES[role], NAME, what=what, **tags) or 0.0
            for what in ("description", "weights", "artifact")
        }

    def size(pattern: str, base: Path = sealed) -> int:
        return sum(file.stat().st_size for file in base.glob(pattern))

    config, tokenizer = size("config.json"), size("tokenizer.json")
    vision, language = (
        size("*", next(sealed.glob(f"artifacts/*/content/{graph}")).parent)
        for graph in ("vit.onnx", "decoder.onnx")
    )
    part = {
        "vision": {"description": config, "weights": 0, "artifact": vision},
        "language": {"description": config + tokenizer, "weights": 0, "artifact": language},
        "gateway": {"description": config + tokenizer, "weights": 0, "artifact": 0},
    }
    eventually("all to tell of a load", lambda: all(counted(role)["description"] for role in NODES))
    before = {role: counted(role) for role in NODES}

    def grown() -> dict[str, dict[str, float]]:
        return {
            role: {what: value - before[role][what] for what, value in counted(role).items()}
            for role in NODES
        }

    model = {"model": ModelSource(uri=sealed.as_uri(), name=MODEL)}
    changes: dict[str, dict[str, Any]] = {
        role: {**model, "generation": f"{role[0]}8"} for role in ("vision", "language", "gateway")
    }
    service.apply(**changes)
    assert service.ask(question(picture(80))).status_code == 200
    assert {role: _replica(service, role) for role in NODES} == replicas
    # What a load counts last of each.
    last = {"vision": "artifact", "language": "artifact", "gateway": "description"}
    eventually("all to tell of another", lambda: all(grown()[role][what] for role, what in last.items()))
    assert grown() == part
