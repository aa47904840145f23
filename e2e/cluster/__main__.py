"""Command line: `python -m e2e.cluster` runs a control plane until Ctrl-C; for trying things by hand."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import ClusterFailed
from e2e.setup.errors import SetupFailed
from internvl_operator.standalone.processes import ProcessesLost


def main() -> int:
    """Start, say how to use it, wait for Ctrl-C or SIGTERM, leave nothing."""
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    parser.add_argument("--kubeconfig-out", type=Path, help="also write the administrator's kubeconfig here")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with ControlPlane() as plane:
            kubeconfig = plane.kubeconfig()
            if options.kubeconfig_out is not None:
                options.kubeconfig_out.write_bytes(kubeconfig.read_bytes())
                options.kubeconfig_out.chmod(0o600)
            print(f"Kubernetes {plane.version} at {plane.server}, ready after {plane.ready_after_s:.1f} s")
            print(f"logs: {plane.directory / 'logs'}")
            print(f"export KUBECONFIG={kubeconfig}", flush=True)
            ended.wait()
    except (ClusterFailed, ProcessesLost, SetupFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
