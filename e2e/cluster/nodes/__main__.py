"""Command line of the cluster with nodes: `python -m e2e.cluster.nodes up|down|status|shell|prepare`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes import background
from e2e.cluster.nodes.programs import ensure_helm, ensure_kuberay, ensure_node_programs
from e2e.images.build import OPERATOR, RUNTIME, ensure_image
from e2e.setup.cache import Cache
from e2e.setup.errors import SetupFailed
from internvl_operator.standalone.processes import ProcessesLost

_KUBECTL = Path(sys.executable).with_name("kubectl")


def main() -> int:
    """Do what the command says; exit status 1 with one message when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster.nodes", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "shell", "prepare", "run"])
    parser.add_argument("--kubeconfig", type=Path, help="an existing cluster: nothing of our own is started")
    options = parser.parse_args()
    try:
        return _carry_out(options.command, options.kubeconfig)
    except (ClusterFailed, ProcessesLost, SetupFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _carry_out(command: str, kubeconfig: Path | None) -> int:
    match command:
        case "up" if kubeconfig is not None:
            print(f"{kubeconfig} names an existing cluster: nothing is started")
        case "up":
            _show(background.bring_up())
        case "down" if kubeconfig is not None:
            print(f"{kubeconfig} names an existing cluster: nothing of it is stopped")
        case "down":
            background.take_down()
        case "status":
            return _status(kubeconfig or _running())
        case "shell":
            return _shell(kubeconfig or _running())
        case "prepare":
            prepare(Cache.from_environment())
        case "run":
            background.run()
    return 0


def prepare(cache: Cache) -> None:
    """Build everything that the tests of the cluster need and that takes long: programs and images."""
    ensure_node_programs(cache)
    ensure_kuberay(cache)
    ensure_helm(cache)
    for recipe in (RUNTIME, OPERATOR):
        ensure_image(recipe, cache=cache)


def _running() -> Path:
    running = background.find()
    if running is None:
        raise ClusterFailed("no cluster with nodes runs here; start one: make cluster-up")
    return running.kubeconfig


def _show(running: background.Running) -> None:
    print(f"logs: {running.logs}")
    print(
        "pods and nodes: make cluster-status; a shell with kubectl: make cluster-shell; the end: make cluster-down"
    )
    print(f"export KUBECONFIG={running.kubeconfig}")


def _status(kubeconfig: Path) -> int:
    running = background.find()
    if running is not None and running.kubeconfig == kubeconfig:
        print(f"process {running.owner}, {running.server}, logs: {running.logs}, KUBECONFIG={kubeconfig}\n")
    columns = (
        "NAME:.metadata.name,POOL:.metadata.labels.internvl\\.example/pool,"
        "READY:.status.conditions[?(@.type=='Ready')].status,GPUS:.status.allocatable.nvidia\\.com/gpu,"
        "VERSION:.status.nodeInfo.kubeletVersion,ADDRESS:.status.addresses[?(@.type=='InternalIP')].address"
    )
    statuses = []
    for words in (["get", "nodes", "-o", f"custom-columns={columns}"], ["get", "pods", "-A", "-o", "wide"]):
        statuses.append(
            subprocess.run([_KUBECTL, "--kubeconfig", kubeconfig, *words], check=False).returncode
        )
        print()
    return max(statuses)


def _shell(kubeconfig: Path) -> int:
    helm = ensure_helm(Cache.from_environment())
    path = os.pathsep.join([str(_KUBECTL.parent), str(helm.parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig.absolute()), "PATH": path}
    shell = os.environ.get("SHELL", "/bin/sh")
    print(f"KUBECONFIG={kubeconfig}; kubectl and helm are on PATH; leave with exit")
    return subprocess.run([shell], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
