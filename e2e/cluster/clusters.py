"""The choice of a cluster: an own control plane, or an existing one that was named explicitly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import yaml

from e2e.cluster.control_plane import ADMIN, ADMIN_GROUPS, ControlPlane
from e2e.cluster.errors import ClusterFailed, NotSupported


class Cluster(Protocol):
    """What a demo needs of a cluster, own or not."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def server(self) -> str:
        """The address of the API server."""

    def kubeconfig(self, *, user: str = ADMIN, groups: Sequence[str] = ADMIN_GROUPS) -> Path:
        """A kubeconfig of this user; without arguments the administrator's."""


class ExistingCluster:
    """A cluster that somebody else runs: nothing is started, and nothing of it is stopped."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig.expanduser().absolute()
        self._server = _read_server(self._kubeconfig)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @property
    def server(self) -> str:
        """The address that the current context of the file names."""
        return self._server

    def kubeconfig(self, *, user: str = ADMIN, groups: Sequence[str] = ADMIN_GROUPS) -> Path:
        """The file that was given.

        Raises:
            NotSupported: Another user is asked for; only the owner of a cluster can make one.
        """
        if (user, tuple(groups)) != (ADMIN, ADMIN_GROUPS):
            raise NotSupported(
                f"{self._server} is an existing cluster; a kubeconfig for {user} is its owner's to make"
            )
        return self._kubeconfig


def open_cluster(kubeconfig: Path | None) -> Cluster:
    """The cluster to use, as a context manager.

    Args:
        kubeconfig: Named by the user on this very command, or None for an own control plane. Never pass the
            shell's KUBECONFIG: a demo must not write into whatever cluster somebody happened to work on last.
    """
    return ControlPlane() if kubeconfig is None else ExistingCluster(kubeconfig)


def _read_server(path: Path) -> str:
    try:
        document = yaml.safe_load(path.read_text())
        current = document["current-context"]
        context = next(entry["context"] for entry in document["contexts"] if entry["name"] == current)
        cluster = next(
            entry["cluster"] for entry in document["clusters"] if entry["name"] == context["cluster"]
        )
        return str(cluster["server"])
    except OSError as error:
        raise ClusterFailed(f"cannot read the kubeconfig {path}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise ClusterFailed(f"{path} is no kubeconfig with a current context that names a server") from error
