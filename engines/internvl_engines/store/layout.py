"""Where things lie in an artifact store. Pure: no file is touched here.

``<store>/<first 32 hex digits of the key's digest>/manifest.json`` and ``.../content/<files>``.
A checkpoint folder may carry a store of its own, ``<checkpoint>/artifacts``, and beside it ``<checkpoint>/seal.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from internvl_engines.contract.artifact import ArtifactKey


def artifact_folder(store: Path, key: ArtifactKey) -> Path:
    """Folder of the artifact with this key."""
    return store / key.digest.removeprefix("sha256:")[:32]


def manifest_file(folder: Path) -> Path:
    """Manifest of the artifact in ``folder``; it exists exactly when the artifact is complete."""
    return folder / "manifest.json"


def content_folder(folder: Path) -> Path:
    """Folder of the artifact's files."""
    return folder / "content"


def checkpoint_store(checkpoint: Path) -> Path:
    """The store that a checkpoint folder carries itself."""
    return checkpoint / "artifacts"


def seal_file(checkpoint: Path) -> Path:
    """Seal of a checkpoint, where it has one."""
    return checkpoint / "seal.json"


def stores_for(checkpoint: Path, configured: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The stores to search for artifacts of ``checkpoint``, in order: the configured ones, then its own."""
    return (*configured, checkpoint_store(checkpoint))
