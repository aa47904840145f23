"""The cache folder: where heavy things lie, by which digest, and how two runs share them.

Two shapes of entry. `publish_folder` makes a folder aside and renames it once, so that it is there whole or not
at all. `complete_in_place` is for virtual environments, which hold their own path and so cannot be renamed:
they are made where they will lie and count only when their marker exists.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.setup import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_COMPLETE = ".complete"


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache folder. Entries of other digests are left alone: another checkout may use them."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Cache:
        """`INTERNVL_CACHE`, else `~/.cache/internvl-operator`."""
        configured = environment.get("INTERNVL_CACHE")
        return cls(
            (Path(configured) if configured else Path("~/.cache/internvl-operator")).expanduser().absolute()
        )

    def path(self, *parts: str) -> Path:
        """A path inside the cache; nothing is made."""
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the named lock; wait, saying so, while another run holds it.

        The kernel lets it go when its holder dies, however it dies, so an interrupted run blocks nobody.
        """
        path = self.path("locks", f"{name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with progress.step(f"waiting for another run that makes {name}"):
                    fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def publish_folder(self, final: Path, fill: Callable[[Path], None]) -> Path:
        """Return `final`, made by `fill(folder aside)` and one rename when it is not there yet.

        Whoever loses the race for the lock finds the folder and builds nothing. What an earlier, killed run
        left aside is removed first.
        """
        if final.is_dir():
            return final
        with self.lock(final.name):
            if final.is_dir():
                return final
            final.parent.mkdir(parents=True, exist_ok=True)
            aside_prefix = f".{final.name}."
            for abandoned in final.parent.glob(f"{aside_prefix}*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            aside = Path(tempfile.mkdtemp(prefix=aside_prefix, dir=final.parent))
            try:
                fill(aside)
                aside.chmod(0o755)
                aside.rename(final)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        return final

    def complete_in_place(self, final: Path, fill: Callable[[Path], None]) -> Path:
        """Return `final`, filled at its own place; without the marker it is made anew from nothing."""
        marker = final / _COMPLETE
        if marker.is_file():
            return final
        with self.lock(final.name):
            if marker.is_file():
                return final
            if final.exists():
                shutil.rmtree(final)
            final.parent.mkdir(parents=True, exist_ok=True)
            fill(final)
            marker.touch()
        return final


def digest_of(*parts: object) -> str:
    """Twelve hex digits over JSON-able values, byte strings and files (a `Path` stands for its content)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            content = part.read_bytes()
        elif isinstance(part, bytes):
            content = part
        else:
            content = json.dumps(part, sort_keys=True, separators=(",", ":")).encode()
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()[:12]


def human_size(size_bytes: int) -> str:
    """Mebibytes, as people read them: `412 MB`."""
    return f"{size_bytes / 2**20:,.0f} MB"


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder, hard links counted once."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            entry = (Path(directory) / name).lstat()
            seen[entry.st_dev, entry.st_ino] = entry.st_size
    return sum(seen.values())
