"""``python -m internvl_engines export CHECKPOINT``: build the artifacts that the engines run."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from internvl_engines.contract.checkpoint import CheckpointInvalid, CheckpointNotFound
from internvl_engines.store.layout import checkpoint_store


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
    options = parser.parse_args()
    # Here, not above: torch and transformers take seconds and are only needed now.
    from internvl_engines.verify.parity import ParityFailed

    try:
        _export(options.checkpoint, options.store or checkpoint_store(options.checkpoint), options.role)
    except (CheckpointNotFound, CheckpointInvalid, ParityFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _export(checkpoint: Path, store: Path, role: str | None) -> None:
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
