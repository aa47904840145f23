"""``python -m internvl_engines``: what is done to a checkpoint before it is served.

``export CHECKPOINT`` builds the artifacts that the engines run; ``seal CHECKPOINT`` spares replicas its weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from internvl_engines.contract.checkpoint import CheckpointInvalid, CheckpointNotFound, read_checkpoint_config
from internvl_engines.store.layout import checkpoint_store, seal_file
from internvl_engines.store.seal import NotSealable, write_seal


def main() -> int:
    """Parse the command line and run it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m internvl_engines")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser(
        "export", help="checkpoint -> ONNX artifacts in a store, compared with torch"
    )
    export.add_argument("checkpoint", type=Path)
    export.add_argument("--store", type=Path, help="default: CHECKPOINT/artifacts")
    export.add_argument("--role", choices=("vision", "language"), help="default: both")
    seal = commands.add_parser(
        "seal", help="note SHA-256, size and time of the weights, so that replicas need not read them"
    )
    seal.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    if options.command == "seal":
        return _seal(options.checkpoint)
    return _export(options.checkpoint, options.store or checkpoint_store(options.checkpoint), options.role)


def _seal(checkpoint: Path) -> int:
    try:
        read_checkpoint_config(checkpoint)
        print(f"{write_seal(checkpoint)}  {seal_file(checkpoint)}", flush=True)
    except (CheckpointNotFound, CheckpointInvalid, NotSealable, OSError) as error:
        print(f"Not sealed, so each replica will read the weights to know them: {error}", file=sys.stderr)
        return 1
    return 0


def _export(checkpoint: Path, store: Path, role: str | None) -> int:
    # Here, not above: torch and transformers take seconds and are only needed now.
    from internvl_engines.verify.parity import ParityFailed

    try:
        _build(checkpoint, store, role)
    except (CheckpointNotFound, CheckpointInvalid, ParityFailed) as error:
        print(error, file=sys.stderr)
        return 1
    _seal(checkpoint)  # a folder that takes none is told, and is no failed export
    return 0


def _build(checkpoint: Path, store: Path, role: str | None) -> None:
    from internvl_engines.export.language import export_language
    from internvl_engines.export.vision import export_vision

    for name, build in (("vision", export_vision), ("language", export_language)):
        if role in (None, name):
            began = time.monotonic()
            print(f"exporting {name} of {checkpoint} ...", flush=True)
            artifact = build(checkpoint, store)
            size = sum(file.bytes for file in artifact.manifest.files) / 1e6
            verified = ", ".join(f"{file} {value:.1e}" for file, value in artifact.manifest.verified.items())
            print(
                f"{artifact.folder}  {size:.1f} MB  {time.monotonic() - began:.0f} s  off by {verified}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
