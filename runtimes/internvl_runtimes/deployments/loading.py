"""From a `ModelSource` to a checkpoint and its artifact, every failure as a `ReplicaFailed` with its code.

Called by the deployments when they load; blocking (files are hashed), so in a thread.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ValidationError

from internvl_engines.contract.artifact import Role, onnxruntime_key
from internvl_engines.contract.checkpoint import (
    CheckpointConfig,
    CheckpointInvalid,
    CheckpointNotFound,
    checkpoint_digest,
    file_sha256,
    read_checkpoint_config,
)
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import Artifact, ArtifactCorrupt, ArtifactMissing, find_artifact
from internvl_engines.store.seal import Seal, SealInvalid, read_seal
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.contract.serve_args import ModelSource
from internvl_runtimes.deployments.model_bytes import ModelBytes

_Config = TypeVar("_Config", bound=BaseModel)
_LOG = logging.getLogger("ray.serve")  # reaches the replica's log


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this node."""

    path: Path
    config: CheckpointConfig
    revision: str
    """Its digest; empty where nobody asked for it."""
    hashed_bytes: int
    """Of its weights, read for the digest."""

    @property
    def tokenizer(self) -> Path:
        """Path of the fast tokenizer."""
        return self.path / "tokenizer.json"

    def bytes_read(self, *, tokenizer: bool = False, artifact: Artifact | None = None) -> ModelBytes:
        """What a role has read that loaded these besides."""
        description = (self.path / "config.json", *((self.tokenizer,) if tokenizer else ()))
        return ModelBytes(
            description=sum(file.stat().st_size for file in description),
            weights=self.hashed_bytes,
            artifact=artifact.bytes if artifact else 0,
        )


def parse_config(model: type[_Config], user_config: object) -> _Config:
    """The `user_config` of a deployment. Raises `ReplicaFailed(CONFIG_INVALID)` naming the field."""
    try:
        return model.model_validate(user_config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "user_config"
        raise ReplicaFailed(
            FailureCode.CONFIG_INVALID,
            f"user_config {field}: {first['msg']}. Operator and runtime disagree: install the same version.",
        ) from None


def open_checkpoint(source: ModelSource, *, hashed: bool = True) -> Checkpoint:
    """The checkpoint at `source.uri`, its revision checked.

    Args:
        source: what the operator asks for.
        hashed: whether to compute the digest even when no revision is asked for. The gateway, which loads no
            weights, does without. Weights that the checkpoint's seal tells are not read for it.

    Raises:
        ReplicaFailed: nothing there, not a checkpoint, or another revision.
    """
    path = _path(source.uri, field="model.uri")
    with load_failures():
        config = read_checkpoint_config(path)
        revision, hashed_bytes = _digest(path) if hashed or source.revision else ("", 0)
    if source.revision and not revision.startswith(source.revision):
        raise ReplicaFailed(
            FailureCode.REVISION_MISMATCH,
            f"{path} is {revision}, model.revision asks for {source.revision}: correct the revision or the files.",
        )
    return Checkpoint(path, config, revision, hashed_bytes)


def open_artifact(role: Role, checkpoint: Checkpoint, configured_stores: Sequence[str]) -> Artifact:
    """The ONNX Runtime artifact of that role for a checkpoint, its files checked. Raises `ReplicaFailed`."""
    stores = stores_for(checkpoint.path, [_path(uri, field="artifact_stores") for uri in configured_stores])
    with load_failures():
        key = onnxruntime_key(role, weights=checkpoint.revision)
        return find_artifact(key, stores, checkpoint=checkpoint.path)


def _digest(path: Path) -> tuple[str, int]:
    """Digest of a checkpoint, and the bytes of weights that were read for it."""
    try:
        seal = read_seal(path)
    except SealInvalid as error:
        _LOG.warning(str(error))
        seal = Seal()
    read: list[int] = []

    def known_or_hashed(file: Path) -> str:
        if (known := seal.sha256(file)) is not None:
            return known
        read.append(file.stat().st_size)
        return file_sha256(file)

    return checkpoint_digest(path, weights_sha256=known_or_hashed), sum(read)


_CODES: tuple[tuple[type[Exception], FailureCode], ...] = (
    (CheckpointNotFound, FailureCode.MODEL_NOT_FOUND),
    (PermissionError, FailureCode.MODEL_NOT_FOUND),
    (CheckpointInvalid, FailureCode.MODEL_INVALID),
    (ArtifactMissing, FailureCode.ARTIFACT_MISSING),
    (ArtifactCorrupt, FailureCode.ARTIFACT_CORRUPT),
)


@contextmanager
def load_failures(*also: tuple[type[Exception], FailureCode]) -> Iterator[None]:
    """Turn what loading raises into `ReplicaFailed`; `also` are more pairs of exception and code."""
    try:
        yield
    except ReplicaFailed:
        raise
    except Exception as error:
        for kind, code in (*_CODES, *also):
            if isinstance(error, kind):
                raise ReplicaFailed(code, str(error)) from error
        raise


def _path(uri: str, *, field: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ReplicaFailed(
            FailureCode.CONFIG_INVALID, f"{field} is {uri!r}: this runtime reads file:///absolute/path only."
        )
    return Path(unquote(parts.path))
