"""An artifact store in a folder: find an artifact by key, check it, write a new one at once or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from internvl_engines.contract.artifact import ArtifactFile, ArtifactKey, Manifest
from internvl_engines.contract.checkpoint import file_sha256
from internvl_engines.store.layout import artifact_folder, content_folder, manifest_file


class ArtifactMissing(Exception):
    """No store holds the artifact: the message gives the command that builds it."""


class ArtifactCorrupt(Exception):
    """An artifact's files are not those that its manifest names: it must be deleted and built again."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A complete artifact on this machine."""

    folder: Path
    manifest: Manifest

    @property
    def bytes(self) -> int:
        """Size of all files of the content."""
        return sum(file.bytes for file in self.manifest.files)

    def file(self, name: str) -> Path:
        """Path of one file of the content.

        Raises:
            ArtifactCorrupt: the manifest does not list it.
        """
        if all(entry.path != name for entry in self.manifest.files):
            raise ArtifactCorrupt(
                f"{manifest_file(self.folder)} lists no file {name}: build the artifact again."
            )
        return content_folder(self.folder) / name


def find_artifact(key: ArtifactKey, stores: Sequence[Path], *, checkpoint: Path | None = None) -> Artifact:
    """The artifact with this key from the first store that holds it, its files checked against the manifest.

    Args:
        key: what is wanted.
        stores: folders to search, in order; ``layout.stores_for`` gives them for a checkpoint.
        checkpoint: only for the message when nothing is found.

    Raises:
        ArtifactMissing: no store holds it.
        ArtifactCorrupt: the first one found is damaged.
    """
    for store in stores:
        folder = artifact_folder(store, key)
        if manifest_file(folder).is_file():
            return read_artifact(folder, key=key)
    searched = ", ".join(str(store) for store in stores) or "no store"
    raise ArtifactMissing(
        f"No {key.role} artifact for {key.engine} ({key.precision}, {key.recipe}) of weights {key.weights[:19]}... "
        f"in {searched}. Build it where torch is installed: "
        f"python -m internvl_engines export {checkpoint or 'CHECKPOINT'} --role {key.role}"
    )


def read_artifact(folder: Path, *, key: ArtifactKey) -> Artifact:
    """Read the artifact in ``folder`` and check every file's size and SHA-256.

    Raises:
        ArtifactCorrupt: the manifest is unreadable or of another key, or a file differs from it.
    """
    try:
        manifest = Manifest.model_validate_json(manifest_file(folder).read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise ArtifactCorrupt(f"{manifest_file(folder)} cannot be read ({error}): {_REBUILD}") from error
    if manifest.key != key:
        raise ArtifactCorrupt(f"{manifest_file(folder)} is the manifest of another key: {_REBUILD}")
    for entry in manifest.files:
        _check_file(content_folder(folder) / entry.path, entry)
    return Artifact(folder=folder, manifest=manifest)


def write_artifact(
    store: Path,
    key: ArtifactKey,
    fill: Callable[[Path], None],
    *,
    geometry: dict[str, int],
    verify: Callable[[Path], dict[str, float]],
    tools: dict[str, str],
) -> Artifact:
    """Write an artifact: ``fill`` puts the files into a folder aside, ``verify`` measures them, one rename shows it.

    An artifact of the same key that is already there is replaced. When ``fill`` or ``verify`` raises, the
    store is as before.
    """
    store.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=store))
    try:
        content = content_folder(aside)
        content.mkdir()
        fill(content)
        manifest = Manifest(
            key=key,
            files=_describe(content),
            geometry=geometry,
            verified=verify(content),
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            tools=tools,
        )
        manifest_file(aside).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        aside.chmod(0o755)  # mkdtemp makes it private; other users run the engines
        folder = artifact_folder(store, key)
        _replace(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return Artifact(folder=folder, manifest=manifest)


_REBUILD = "delete the artifact's folder and export it again."


def _describe(content: Path) -> tuple[ArtifactFile, ...]:
    files = sorted(file for file in content.rglob("*") if file.is_file())
    return tuple(
        ArtifactFile(
            path=file.relative_to(content).as_posix(), sha256=file_sha256(file), bytes=file.stat().st_size
        )
        for file in files
    )


def _check_file(file: Path, entry: ArtifactFile) -> None:
    if not file.is_file():
        raise ArtifactCorrupt(f"{file} is missing: {_REBUILD}")
    if (size := file.stat().st_size) != entry.bytes:
        raise ArtifactCorrupt(f"{file} has {size} bytes, its manifest says {entry.bytes}: {_REBUILD}")
    if file_sha256(file) != entry.sha256:
        raise ArtifactCorrupt(f"{file} differs from the SHA-256 in its manifest: {_REBUILD}")


def _replace(aside: Path, folder: Path) -> None:
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
        os.rename(folder, old / "artifact")
        os.rename(aside, folder)
        shutil.rmtree(old)
    else:
        os.rename(aside, folder)
