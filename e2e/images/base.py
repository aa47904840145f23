"""The base of the images that we build: a small Debian with Python, in place of a public one from a registry."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.images.buildah import Buildah
from e2e.images.layout import Image
from e2e.setup import progress
from e2e.setup.cache import Cache, digest_of

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
_SOURCES = Path("/etc/apt")
_UNNEEDED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)


BASE = Image("base", digest_of(SUITE, list(PACKAGES), list(_UNNEEDED)))


def ensure_base(buildah: Buildah, *, cache: Cache) -> None:
    """Make the base image in buildah's storage, by debootstrap, when it is not there yet."""
    tree = cache.publish_folder(
        cache.path("images", BASE.reference), lambda folder: _fill(folder, cache=cache)
    )
    if not buildah.has(BASE):
        with progress.step("making the base image"):
            buildah.build_from_text("FROM scratch\nCOPY tree /\n", BASE, context=tree)


def debian_mirror(sources: str) -> str | None:
    """The first address of Debian's own archive in apt's configuration; None leaves it to debootstrap."""
    found = re.search(rf"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+{SUITE}\s", sources, re.MULTILINE)
    if found:
        return found[1]
    for paragraph in re.split(r"\n\s*\n", sources):
        address = re.search(r"^URIs:\s*(\S+)", paragraph, re.MULTILINE)
        if address and re.search(rf"^Suites:.*\b{SUITE}(\s|$)", paragraph, re.MULTILINE):
            return address[1]
    return None


def _fill(folder: Path, *, cache: Cache) -> None:
    files = [_SOURCES / "sources.list", *sorted((_SOURCES / "sources.list.d").glob("*"))]
    mirror = debian_mirror("\n\n".join(path.read_text() for path in files if path.is_file()))
    tree = folder / "tree"
    progress.run_command(
        [
            *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree)),
            *([mirror] if mirror else []),
        ],
        title=f"bootstrapping Debian {SUITE} with Python",
        log=cache.path("logs", "debootstrap.log"),
    )
    for name in _UNNEEDED:
        _empty(tree / name)


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
