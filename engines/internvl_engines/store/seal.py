"""The seal of a checkpoint: SHA-256 of its weight files, so that its revision is known without reading them.

Written where a checkpoint is prepared, after an export or by ``python -m internvl_engines seal``; read by every
replica. A weight file is taken for the one that was hashed as long as it has the name, the size and the time of
modification; where its time is a whole second, as layers of images round it, less than a second beside it will do.
Every other one is hashed, as without a seal.

It guards against mistakes: a file that was exchanged, downloaded again or half copied. It is no signature, and gives
no new power: whoever may write a seal into the folder may write the artifacts there, and those are what runs.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from internvl_engines.contract.checkpoint import checkpoint_digest, file_sha256, weight_files
from internvl_engines.store.layout import seal_file

SETTLE_S = 2.0
"""Wait for files that were modified just now: another change within a second would not show in their time."""
_SECOND = 1_000_000_000
_FIRST_TIME = 1_262_304_000 * _SECOND
"""2010-01-01. Older times are those of archives that keep none (1970, 1980, 2000), the same for every content."""

_AGAIN = "seal the checkpoint again."


class SealInvalid(Exception):
    """There is a seal and it cannot be read: the caller hashes the weights and says so."""


class NotSealable(Exception):
    """The times of the files would not show a change: the message names the file and what to do."""


class SealedFile(BaseModel):
    """One weight file as it was when it was hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int
    modified_ns: int
    """Nanoseconds since 1970."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Seal(BaseModel):
    """``seal.json`` of a checkpoint. One without files knows nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[SealedFile, ...] = ()

    def sha256(self, file: Path) -> str | None:
        """Hex SHA-256 of a weight file; None when it is not, or not surely, the one that was sealed."""
        size, modified_ns = _size_and_time(file)
        for known in self.weights:
            off_by = abs(known.modified_ns - modified_ns)
            same_time = off_by < _SECOND if modified_ns % _SECOND == 0 else off_by == 0
            if (known.name, known.bytes) == (file.name, size) and same_time:
                return known.sha256
        return None


def read_seal(checkpoint: Path) -> Seal:
    """The seal of a checkpoint; an empty one where there is none.

    Raises:
        SealInvalid: it cannot be read, or is not a seal that this version knows.
    """
    file = seal_file(checkpoint)
    try:
        return Seal.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Seal()
    except OSError as error:
        raise SealInvalid(f"{file} cannot be read ({error.strerror}): {_AGAIN}") from error
    except ValidationError as error:
        fault = error.errors()[0]["msg"]  # the whole text has many lines
        raise SealInvalid(f"{file} cannot be read ({fault}): {_AGAIN}") from error


def write_seal(checkpoint: Path, *, pause: Callable[[float], None] = time.sleep) -> str:
    """Hash the weights of a checkpoint and seal it; its digest. Replaces an older seal, at once or not at all.

    Raises:
        CheckpointNotFound: config.json or every weight file is missing.
        NotSealable: a file's time is in the future or tells nothing, or the file was modified while it was read.
        OSError: the folder cannot be written.
    """
    # First, so that nothing is read for a folder that takes no seal. Its time is that of the files' own clock.
    handle, name = tempfile.mkstemp(prefix=".seal-", dir=checkpoint)
    os.close(handle)
    aside = Path(name)
    try:
        if any(_time(file) > _touch(aside) - _SECOND for file in weight_files(checkpoint)):
            pause(SETTLE_S)
        began_ns = _touch(aside)
        sealed: list[SealedFile] = []

        def hash_and_keep(file: Path) -> str:
            sealed.append(_hashed(file, began_ns=began_ns))
            return sealed[-1].sha256

        digest = checkpoint_digest(checkpoint, weights_sha256=hash_and_keep)
        aside.write_text(Seal(weights=tuple(sealed)).model_dump_json(indent=2) + "\n", encoding="utf-8")
        aside.chmod(0o644)  # mkstemp makes it private; other users run the engines
        os.replace(aside, seal_file(checkpoint))
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return digest


def _hashed(file: Path, *, began_ns: int) -> SealedFile:
    size, modified_ns = _size_and_time(file)
    if modified_ns > began_ns - _SECOND:
        raise NotSealable(f"{file} was modified just now or in the future: touch it when nobody writes it.")
    if modified_ns < _FIRST_TIME:
        raise NotSealable(f"{file} has a time of modification that any content would have: touch it.")
    sha256 = file_sha256(file)
    if _size_and_time(file) != (size, modified_ns):
        raise NotSealable(
            f"{file} was modified while it was read: seal the checkpoint when nobody writes it."
        )
    return SealedFile(name=file.name, bytes=size, modified_ns=modified_ns, sha256=sha256)


def _touch(file: Path) -> int:
    os.utime(file)
    return _time(file)


def _time(file: Path) -> int:
    return file.stat().st_mtime_ns


def _size_and_time(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
