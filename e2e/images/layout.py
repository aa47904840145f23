"""One folder of images in the OCI image layout, layers not compressed; containerd reads it through a tar."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

DOMAIN = "internvl.local"
"""Images that are nowhere but on the nodes: always with `imagePullPolicy: Never` or `IfNotPresent`."""

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_REFERENCE = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_CHUNK_BYTES = 2**20
_LAYOUT_FILE = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()


@dataclass(frozen=True, slots=True)
class Image:
    """One image: `runtime:3f2a...`, the tag being the digest of what it was made from."""

    repository: str
    tag: str

    @property
    def reference(self) -> str:
        """What the layout calls it."""
        return f"{self.repository}-{self.tag}"

    @property
    def name(self) -> str:
        """What pods call it."""
        return f"{DOMAIN}/{self.repository}:{self.tag}"


class ImageLayout:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, image: Image) -> bool:
        """Whether the image is there with all its blobs."""
        descriptor = self._descriptor(image)
        return descriptor is not None and all(self._blob(digest).exists() for digest in self.blobs(image))

    def blobs(self, image: Image) -> list[str]:
        """Digests of manifest, configuration and layers, in this order."""
        descriptor = self._descriptor(image)
        if descriptor is None:
            raise KeyError(f"{self.folder} has no image {image.reference}")
        manifest = json.loads(self._blob(descriptor["digest"]).read_bytes())
        layers = [layer["digest"] for layer in manifest["layers"]]
        return [descriptor["digest"], manifest["config"]["digest"], *layers]

    def add_from_files(
        self, image: Image, files: Mapping[str, Path], *, entrypoint: Sequence[str], user: str = "65532:65532"
    ) -> None:
        """An image of nothing but these programs: path in the image -> file here."""
        layer = _layer_of(files)
        layer_digest = self._write_blob(layer)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }
        self._add(image, json.dumps(config, sort_keys=True).encode(), [layer_digest])

    def add_docker_archive(self, image: Image, path: Path) -> None:
        """Take an image over from a docker-archive, reading only the layers that are not here yet.

        Its layers are not compressed, and their digests stand in its configuration: those that are here are known
        without a look. buildah's own way into a layout would compress all of them for every changed line.
        """
        with tarfile.open(path) as archive:
            (entry,) = json.loads(_content_of(archive, "manifest.json").read())
            config = _content_of(archive, entry["Config"]).read()
            digests: list[str] = json.loads(config)["rootfs"]["diff_ids"]
            for digest, name in zip(digests, entry["Layers"], strict=True):
                if not self._blob(digest).exists():
                    self._copy_blob(digest, _content_of(archive, name))
        self._add(image, config, digests)

    def _add(self, image: Image, config: bytes, layers: Sequence[str]) -> None:
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _describe(_CONFIG, self._write_blob(config), len(config)),
            "layers": [_describe(_LAYER, digest, self._blob(digest).stat().st_size) for digest in layers],
        }
        content = json.dumps(manifest, sort_keys=True).encode()
        self._add_to_index(image, _describe(_MANIFEST, self._write_blob(content), len(content)))

    def write_archive(
        self, image: Image, output: IO[bytes], *, known: AbstractSet[str] = frozenset()
    ) -> None:
        """An archive for `ctr images import`, without the blobs that are known where it goes."""
        descriptor = dict(self._descriptor(image) or {})
        descriptor["annotations"] = {_CONTAINERD_NAME: image.name}
        index = {"schemaVersion": 2, "manifests": [descriptor]}
        with tarfile.open(fileobj=output, mode="w|") as archive:
            _add_content(archive, "oci-layout", _LAYOUT_FILE)
            _add_content(archive, "index.json", json.dumps(index).encode())
            manifest, *others = self.blobs(image)
            # The manifest always: it is what is imported, and small.
            for digest in (manifest, *(other for other in others if other not in known)):
                algorithm, _, value = digest.partition(":")
                archive.add(self._blob(digest), f"blobs/{algorithm}/{value}")

    def _descriptor(self, image: Image) -> dict[str, Any] | None:
        for descriptor in self._read_index()["manifests"]:
            if descriptor.get("annotations", {}).get(_REFERENCE) == image.reference:
                return dict(descriptor)
        return None

    def _add_to_index(self, image: Image, descriptor: dict[str, Any]) -> None:
        index = self._read_index()
        kept = [
            other
            for other in index["manifests"]
            if other.get("annotations", {}).get(_REFERENCE) != image.reference
        ]
        descriptor = {**descriptor, "annotations": {_REFERENCE: image.reference}}
        (self.folder / "oci-layout").write_bytes(_LAYOUT_FILE)
        aside = self.folder / "index.json.new"
        aside.write_text(json.dumps({**index, "manifests": [*kept, descriptor]}))
        aside.rename(self.folder / "index.json")

    def _read_index(self) -> dict[str, Any]:
        try:
            index: dict[str, Any] = json.loads((self.folder / "index.json").read_bytes())
        except FileNotFoundError:
            return {"schemaVersion": 2, "manifests": []}
        return index

    def _blob(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self.folder / "blobs" / algorithm / value

    def _write_blob(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = self._blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_bytes(content)
        aside.rename(path)
        return digest

    def _copy_blob(self, digest: str, source: IO[bytes]) -> None:
        path = self._blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        found = hashlib.sha256()
        with aside.open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                found.update(chunk)
                target.write(chunk)
        if digest != f"sha256:{found.hexdigest()}":
            aside.unlink()
            raise ValueError(f"a layer is not what its image says: {digest}")
        aside.rename(path)


def _content_of(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    content = archive.extractfile(name)
    assert content is not None, f"{name} is no file"
    return content


def _describe(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _layer_of(files: Mapping[str, Path]) -> bytes:
    """The same bytes for the same files: no times, no owners."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as layer:
        for folder in _folders_of(files):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            layer.addfile(entry)
        for path, source in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.size = 0o755, source.stat().st_size
            with source.open("rb") as content:
                layer.addfile(entry, content)
    return output.getvalue()


def _folders_of(files: Iterable[str]) -> list[str]:
    parents = {str(parent) for path in files for parent in Path(path.lstrip("/")).parents}
    return sorted((parents | {"tmp"}) - {"."})


def _add_content(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
