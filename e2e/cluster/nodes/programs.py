"""What nodes are made of: programs built from Go modules, and Debian's containerd, runc and network plugins.

Only `make cluster-up` and `make e2e` need these; `make demo` never builds them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.binaries import KUBERNETES, GoBuild, GoGroup, ensure_group
from e2e.setup import tools
from e2e.setup.cache import Cache

NODE_KUBERNETES = GoGroup(
    "kubernetes-nodes",
    requirement=KUBERNETES.requirement,
    packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-scheduler", "kubelet", "kube-proxy")},
    stamped=KUBERNETES.stamped,
)
COREDNS = GoGroup("coredns", requirement="github.com/coredns/coredns", packages={"coredns": "."})
PAUSE = GoGroup("pause", requirement="", packages={"pause": "."})
_KUBERAY = "github.com/ray-project/kuberay/ray-operator"
KUBERAYS = {
    name: GoGroup(
        name,
        requirement=_KUBERAY,
        packages={"ray-operator": _KUBERAY},
        kept={"crds": "config/crd/bases", "role.yaml": "config/rbac/role.yaml"},
    )
    for name in ("kuberay", "kuberay-1.5")
}
"""The one that all tests run with, and others for a short run: `make e2e ARGS="--kuberay kuberay-1.5 -k quickstart"`."""
HELM = GoGroup("helm", requirement="helm.sh/helm/v4", packages={"helm": "helm.sh/helm/v4/cmd/helm"})

DEBIAN_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ip": "iproute2",
}
"""A program, by name or by path -> the Debian package that has it."""


@dataclass(frozen=True, slots=True)
class NodePrograms:
    """Where the programs are that we build."""

    kube_scheduler: Path
    kubelet: Path
    kube_proxy: Path
    coredns: Path
    pause: Path


def ensure_node_programs(cache: Cache) -> NodePrograms:
    """Return the programs, built when they are not there yet; installs the Debian packages that are missing.

    Raises:
        SetupFailed: A build or an installation failed; the text carries the end of its output.
    """
    ensure_debian_packages(cache)
    go_build = GoBuild(cache)
    kubernetes = ensure_group(NODE_KUBERNETES, cache=cache, build=go_build)
    programs = NodePrograms(
        kube_scheduler=kubernetes / "kube-scheduler",
        kubelet=kubernetes / "kubelet",
        kube_proxy=kubernetes / "kube-proxy",
        coredns=ensure_group(COREDNS, cache=cache, build=go_build) / "coredns",
        pause=ensure_group(PAUSE, cache=cache, build=go_build) / "pause",
    )
    go_build.say_what_stays()
    return programs


def ensure_kuberay(cache: Cache, name: str = "kuberay") -> Path:
    """Return the folder with `ray-operator`, its `crds` and its `role.yaml`; `name` is one of `KUBERAYS`."""
    return ensure_group(KUBERAYS[name], cache=cache, build=GoBuild(cache))


def ensure_helm(cache: Cache) -> Path:
    """Return the program Helm."""
    return ensure_group(HELM, cache=cache, build=GoBuild(cache)) / "helm"


def missing_packages() -> list[str]:
    """The Debian packages whose program is not on this machine."""
    return [
        package
        for program, package in DEBIAN_PACKAGES.items()
        if not (Path(program).exists() if program.startswith("/") else shutil.which(program, path=_SEARCHED))
    ]


# Root's shell may lack the sbin folders.
_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_debian_packages(cache: Cache) -> None:
    """Install what containers need and this machine lacks, in one go.

    Raises:
        ToolMissing: Not root, or no apt-get; the message has the command.
    """
    missing = missing_packages()
    if missing:
        tools.install_packages(missing, missing=f"nodes need {', '.join(missing)}", remedy="", cache=cache)
