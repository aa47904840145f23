"""The programs of the control plane: built once from their Go modules, kept in the cache by version and digest.

One Go module a group under `modules/`, so that the dependencies of etcd and Kubernetes never have to agree.
Standard library only: `make setup` runs this with the bare interpreter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.setup import progress, tools
from e2e.setup.cache import Cache, digest_of, folder_bytes, human_size
from e2e.setup.errors import SetupFailed

_MODULES = Path(__file__).parent / "modules"

Build = Callable[["GoGroup", str, Path], None]
"""Builds one program or copies what is kept beside it: (group, its name, the file or folder to write)."""


class BinaryMissing(SetupFailed):
    """The folder that KUBEBUILDER_ASSETS names lacks a program."""


@dataclass(frozen=True, slots=True)
class GoGroup:
    """Programs that are built from one Go module."""

    name: str
    requirement: str
    """The module whose version is the version of the group; its go.mod is the one place that says which.
    Empty for a program of our own that requires none."""
    packages: Mapping[str, str]
    """Program -> Go package."""
    stamped: Sequence[str] = ()
    """Go packages whose version variables are set when linking."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Name beside the programs -> file or folder of the required module that is copied there."""
    modules: Path = _MODULES

    @property
    def folder(self) -> Path:
        """Where go.mod and go.sum lie."""
        return self.modules / self.name

    @property
    def version(self) -> str:
        """`v1.36.4`, as go.mod requires it; `own` for a program of ours."""
        if not self.requirement:
            return "own"
        found = re.search(
            rf"^(?:require )?\s*{re.escape(self.requirement)} (v\S+)",
            (self.folder / "go.mod").read_text(),
            re.MULTILINE,
        )
        if found is None:
            raise SetupFailed(f"{self.folder / 'go.mod'} requires no {self.requirement}; restore it from git")
        return found[1]

    @property
    def linker_flags(self) -> str:
        """No symbol tables; and the version, without which the server calls itself v0.0.0-master."""
        if not self.stamped:
            return "-s -w"
        major, minor = self.version.removeprefix("v").split(".")[:2]
        values = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        stamps = [f"-X {package}.{key}={value}" for package in self.stamped for key, value in values.items()]
        return " ".join(["-s -w", *stamps])

    @property
    def folder_name(self) -> str:
        """`kubernetes-v1.36.4-<digest>`: another go.sum, another flag or another main is another folder."""
        lock_files = [path for name in ("go.mod", "go.sum") if (path := self.folder / name).exists()]
        parts: list[object] = [*lock_files, self.linker_flags, dict(self.packages)]
        parts += [dict(self.kept)] if self.kept else []
        return f"{self.name}-{self.version}-{digest_of(*parts, *sorted(self.folder.glob('*.go')))}"


ETCD = GoGroup(
    "etcd", requirement="go.etcd.io/etcd/server/v3", packages={"etcd": "go.etcd.io/etcd/server/v3"}
)
KUBERNETES = GoGroup(
    "kubernetes",
    requirement="k8s.io/kubernetes",
    packages={
        name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-controller-manager")
    },
    stamped=("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"),
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the three programs are."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path


def ensure_binaries(cache: Cache, environment: Mapping[str, str] = os.environ) -> Binaries:
    """Return the programs: the user's own from `KUBEBUILDER_ASSETS`, else ours, built when not there yet.

    Raises:
        BinaryMissing: `KUBEBUILDER_ASSETS` is set and its folder lacks one.
        SetupFailed: A build failed; the text carries the end of its output.
    """
    own = environment.get("KUBEBUILDER_ASSETS")
    if own:
        return binaries_in(Path(own))
    go_build = GoBuild(cache)
    etcd = ensure_group(ETCD, cache=cache, build=go_build)
    kubernetes = ensure_group(KUBERNETES, cache=cache, build=go_build)
    go_build.say_what_stays()
    return Binaries(
        etcd=etcd / "etcd",
        kube_apiserver=kubernetes / "kube-apiserver",
        kube_controller_manager=kubernetes / "kube-controller-manager",
    )


def binaries_in(folder: Path) -> Binaries:
    """The three programs of one folder of the user's.

    Raises:
        BinaryMissing: One of them is not there.
    """
    names = (*ETCD.packages, *KUBERNETES.packages)
    for name in names:
        if not os.access(folder / name, os.X_OK):
            raise BinaryMissing(
                f"KUBEBUILDER_ASSETS={folder} holds no program {name}; it needs {', '.join(names)}. "
                "Put it there, or unset KUBEBUILDER_ASSETS and they are built."
            )
    return Binaries(*(folder / name for name in names))


def ensure_group(group: GoGroup, *, cache: Cache, build: Build) -> Path:
    """Return the folder with the programs of a group; either all of them are in it or it is not there."""

    def fill(aside: Path) -> None:
        for name in (*group.packages, *group.kept):
            build(group, name, aside / name)

    return cache.publish_folder(cache.path("bin", group.folder_name), fill)


class GoBuild:
    """Builds with Go. An interrupted build loses only the package under way: Go keeps the compiled ones."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._built = False

    def __call__(self, group: GoGroup, name: str, output: Path) -> None:
        """Build one program, or copy one kept thing, into `output`."""
        go = tools.ensure_go(self._cache)
        if name in group.kept:
            self._copy_kept(go, group, name, output)
            return
        self._built = True
        progress.run_command(
            [
                str(go),
                "build",
                "-v",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                group.linker_flags,
                "-o",
                str(output),
                group.packages[name],
            ],
            title=f"building {name} {group.version}",
            log=self._cache.path("logs", f"build-{name}.log"),
            environment=self._environment(),
            folder=group.folder,
            describe_line=_describe_go_line,
        )

    def _copy_kept(self, go: Path, group: GoGroup, name: str, output: Path) -> None:
        module = subprocess.run(
            [str(go), "list", "-m", "-f", "{{.Dir}}", group.requirement],
            capture_output=True,
            text=True,
            check=True,
            cwd=group.folder,
            env=self._environment(),
        ).stdout.strip()
        source = Path(module, group.kept[name])
        if source.is_dir():
            shutil.copytree(source, output)
        else:
            shutil.copyfile(source, output)

    def say_what_stays(self) -> None:
        """After a build: how much Go's own caches take, which only another build needs."""
        if self._built:
            folder = self._cache.path("go")
            progress.say(f"{folder} holds {human_size(folder_bytes(folder))} that only another build needs")

    def _environment(self) -> dict[str, str]:
        # Go's caches lie in ours, so that one folder holds all; a user who has set them keeps them.
        folders = {
            "GOMODCACHE": str(self._cache.path("go/mod")),
            "GOCACHE": str(self._cache.path("go/build")),
        }
        fixed = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-modcacherw", "GOWORK": "off"}
        return folders | dict(os.environ) | fixed


def _describe_go_line(count: int, line: str) -> str:
    if line.startswith("go: downloading "):
        return f"(downloading {line.split()[2]})"
    return f"({count} modules and packages, now {line})"
