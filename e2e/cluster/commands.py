"""The command lines of the three parts: pure functions of where things lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.binaries import Binaries

# Without nodes nothing routes them, and nobody dials them.
SERVICE_ADDRESSES = "10.211.0.0/16"
FIRST_SERVICE_ADDRESS = "10.211.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"
LOOPBACK = "127.0.0.1"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The certificate that the API server shows to kubelets."""


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
    def audit_policy(self) -> Path:
        return self.directory / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.jsonl"

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


def kube_apiserver_command(
    binaries: Binaries, layout: Layout, *, port: int, address: str = LOOPBACK, audited: bool = False
) -> list[str]:
    """kube-apiserver with RBAC and the default admission plugins, ServiceAccount among them.

    On another address than loopback it has nodes: kubelets may do what concerns their own node, and it calls them.
    """
    return [
        str(binaries.kube_apiserver),
        f"--etcd-servers=unix://{layout.etcd_socket}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        *(_WITHOUT_NODES if address == LOOPBACK else _with_nodes(layout)),
        f"--client-ca-file={layout.certificate('authority')}",
        f"--tls-cert-file={layout.certificate('kube-apiserver')}",
        f"--tls-private-key-file={layout.key('kube-apiserver')}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={layout.certificate('service-accounts')}",
        f"--service-account-signing-key-file={layout.key('service-accounts')}",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        "--allow-privileged=true",
        *(
            (f"--audit-policy-file={layout.audit_policy}", f"--audit-log-path={layout.audit_log}")
            if audited
            else ()
        ),
        # Without it a stop sometimes waits half a minute for open watches.
        "--shutdown-watch-termination-grace-period=1s",
    ]


# The service `kubernetes` would get the loopback address as an endpoint, which validation refuses.
_WITHOUT_NODES = ("--endpoint-reconciler-type=none", "--authorization-mode=RBAC")


def _with_nodes(layout: Layout) -> list[str]:
    return [
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={layout.certificate('authority')}",
        f"--kubelet-client-certificate={layout.certificate(KUBELET_CLIENT)}",
        f"--kubelet-client-key={layout.key(KUBELET_CLIENT)}",
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
        # A HorizontalPodAutoscaler is looked at, and for the first time, after its own fifteen seconds.
        "--horizontal-pod-autoscaler-sync-period=3s",
        # At its own 20 requests a second the forty controllers need five seconds to start.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
