"""The Python environments, kept in the cache by the digest of what they are made of.

`run` is what a user gets: the operator, the runtime, kubectl. `dev` adds what trains, tests and lints, torch
among it. A checkout reaches them through its thin environment (`e2e.setup.checkout`).
"""

from __future__ import annotations

import platform
import re
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.setup import progress, tools
from e2e.setup.cache import Cache, digest_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """Which extras and dependency groups of pyproject.toml an environment holds."""

    name: str
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    byte_compiled: bool


# Ray starts a dozen processes at once: without byte code ready, the first demo compiles everything in each.
RUN = Environment("run", extras=("operator", "runtime"), groups=("demo",), byte_compiled=True)
DEV = Environment(
    "dev",
    extras=("operator", "runtime"),
    groups=("demo", "train", "test", "simulate", "lint"),
    byte_compiled=False,  # torch alone would take a minute, and most of it is never imported
)


def environment_digest(environment: Environment, *, project: Path, constraints: Path) -> str:
    """Digest of the dependency tables, the constraints and the interpreter; other edits change nothing."""
    tables = tomllib.loads(project.read_text())
    return digest_of(
        [environment.name, environment.extras, environment.groups],
        [sys.implementation.cache_tag, platform.python_version(), platform.machine()],
        tables["project"].get("dependencies", []),
        tables["project"].get("optional-dependencies", {}),
        tables.get("dependency-groups", {}),
        constraints,
    )


def ensure_environment(environment: Environment, *, cache: Cache, root: Path) -> Path:
    """Return the folder of the environment, made with uv when this digest was never made before."""
    project, constraints = root / "pyproject.toml", root / "constraints.txt"
    digest = environment_digest(environment, project=project, constraints=constraints)

    def fill(folder: Path) -> None:
        uv = str(tools.ensure_uv(cache))
        log = cache.path("logs", f"environment-{folder.name}.log")
        uv_environment = tools.uv_environment(cache)
        progress.run_command(
            [uv, "venv", "--python", sys.executable, str(folder)],
            title=f"making environment {folder.name}",
            log=log,
            environment=uv_environment,
        )
        selection = [f"--extra={extra}" for extra in environment.extras]
        selection += [f"--group={group}" for group in environment.groups]
        if environment.byte_compiled:
            selection.append("--compile-bytecode")
        progress.run_command(
            [
                uv,
                "pip",
                "install",
                "--python",
                str(folder / "bin/python"),
                *selection,
                "--requirement",
                str(project),
                "--constraint",
                str(constraints),
            ],
            title=f"installing environment {folder.name}",
            log=log,
            environment=uv_environment,
            folder=root,
            describe_line=DownloadCount(),
        )

    return cache.complete_in_place(cache.path("envs", f"{environment.name}-{digest}"), fill)


def lock_constraints(*, cache: Cache, root: Path) -> None:
    """Resolve every extra and group together and rewrite constraints.txt: versions only, no addresses.

    What is pinned there already stays unless pyproject.toml forbids it; delete the file first to move everything.
    """
    selection = [f"--extra={extra}" for extra in DEV.extras] + [f"--group={group}" for group in DEV.groups]
    progress.run_command(
        [
            *(str(tools.ensure_uv(cache)), "pip", "compile", "pyproject.toml", *selection),
            *("--python-version", "3.11", "--no-header", "--no-annotate"),
            *("--no-emit-index-url", "--no-emit-find-links", "--output-file", "constraints.txt"),
        ],
        title="resolving constraints.txt",
        log=cache.path("logs", "lock.log"),
        environment=tools.uv_environment(cache),
        folder=root,
    )


_UNITS_MIB = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


class DownloadCount:
    """Adds up what uv says it downloads; it names only packages of a megabyte and more."""

    def __init__(self) -> None:
        self._total_mib = 0.0
        self._latest = ""

    def __call__(self, _count: int, line: str) -> str:
        found = re.match(r"Downloading (\S+) \(([\d.]+)([KMG]iB)\)", line)
        if found:
            self._latest = found[1]
            self._total_mib += float(found[2]) * _UNITS_MIB[found[3]]
        if not self._latest:
            return ""
        return f"({self._total_mib:,.0f} MB of large packages downloaded)"
