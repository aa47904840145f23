"""The command lines of the three parts: pure functions of where things lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.binaries import Binaries

# Service addresses that nothing routes: without nodes nobody dials them.
SERVICE_ADDRESSES = "10.211.0.0/16"
FIRST_SERVICE_ADDRESS = "10.211.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one control plane lie, below its directory."""

    directory: Path

    @property
    def certificates(self) -> Path:
        return self.directory / "certificates"

    @property
    def kubeconfigs(self) -> Path:
        return self.directory / "kubeconfigs"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def etcd_data(self) -> Path:
        return self.directory / "etcd"

    @property
    def etcd_socket(self) -> Path:
        return self.directory / "etcd.sock"

    def certificate(self, name: str) -> Path:
        return self.certificates / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.certificates / f"{name}.key"


def etcd_command(binaries: Binaries, layout: Layout) -> list[str]:
    """Etcd on a Unix socket in the private directory: no port to lose, and no way around RBAC for other users."""
    return [
        str(binaries.etcd),
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls=unix://{layout.etcd_socket}",
        # A single member talks to nobody; relative to the directory it runs in, or the socket would be abstract.
        "--listen-peer-urls=unix://peer.sock",
        "--advertise-client-urls=http://localhost:2379",  # demanded as host and port; nobody reads it
        "--unsafe-no-fsync",  # the data does not outlive the process
        "--log-level=warn",
    ]


def kube_apiserver_command(binaries: Binaries, layout: Layout, *, port: int) -> list[str]:
    """kube-apiserver on loopback, with RBAC and the default admission plugins, ServiceAccount among them."""
    return [
        str(binaries.kube_apiserver),
        f"--etcd-servers=unix://{layout.etcd_socket}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        # The service `kubernetes` would get the loopback address as an endpoint, which validation refuses.
        "--endpoint-reconciler-type=none",
        "--authorization-mode=RBAC",
        f"--client-ca-file={layout.certificate('authority')}",
        f"--tls-cert-file={layout.certificate('kube-apiserver')}",
        f"--tls-private-key-file={layout.key('kube-apiserver')}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={layout.certificate('service-accounts')}",
        f"--service-account-signing-key-file={layout.key('service-accounts')}",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        "--allow-privileged=true",
        # Without it a stop sometimes waits half a minute for open watches.
        "--shutdown-watch-termination-grace-period=1s",
    ]


def kube_controller_manager_command(binaries: Binaries, layout: Layout, *, kubeconfig: Path) -> list[str]:
    """kube-controller-manager without a port of its own: what is seen of it is what it does to objects."""
    return [
        str(binaries.kube_controller_manager),
        f"--kubeconfig={kubeconfig}",
        "--use-service-account-credentials=true",
        f"--root-ca-file={layout.certificate('authority')}",
        f"--service-account-private-key-file={layout.key('service-accounts')}",
        "--leader-elect=false",
        "--allocate-node-cidrs=false",
        "--secure-port=0",
        # At its own 20 requests a second the forty controllers need five seconds to start.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
