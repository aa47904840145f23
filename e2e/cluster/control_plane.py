"""`ControlPlane`: etcd, kube-apiserver and kube-controller-manager, as a context manager.

Everything about it lies in one temporary directory that only its owner may enter, and goes with it: at the end
of the block, and also when this process is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster import commands
from e2e.cluster.api_client import ApiClient
from e2e.cluster.audit import policy_for
from e2e.cluster.binaries import Binaries, ensure_binaries
from e2e.cluster.certificates import CertificateAuthority, Pair, create_signing_key
from e2e.cluster.errors import ClusterFailed, StartFailed
from e2e.cluster.kubeconfig import write_kubeconfig
from e2e.setup.cache import Cache
from internvl_operator.standalone.processes import ProcessKeeper

ADMIN = "admin"
ADMIN_GROUPS = ("system:masters",)

_READY_WITHIN_S = 120.0
_POLL_S = 0.05
_PORT_ATTEMPTS = 5
_TAIL_LINES = 15
# Below the range that the kernel gives to outgoing connections, one of which could else sit on our port while
# the API server restarts; above Ray's worker ports.
_PORTS = range(21_000, 30_000)
# A Unix socket's path has at most 107 bytes.
_LONGEST_DIRECTORY = 90
_KUBERNETES_SERVICE = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


class Component(StrEnum):
    """The parts, by the names of their programs."""

    ETCD = "etcd"
    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"


class ControlPlane:
    """One control plane. Several run side by side; each has its own directory, port and authority."""

    def __init__(
        self,
        *,
        binaries: Binaries | None = None,
        address: str = commands.LOOPBACK,
        parent: Path | None = None,
        audited: Sequence[str] = (),
    ) -> None:
        """Nothing starts here.

        Args:
            binaries: The programs; when None, those of the cache or of `KUBEBUILDER_ASSETS`, built if need be.
            address: Where the API server listens; on another than loopback it expects nodes there.
            parent: Folder that the temporary directory is made in; the system's when None.
            audited: Namespaces whose service accounts' requests are recorded (`audit_log`).
        """
        self._binaries = binaries
        self._address = address
        self._parent = parent
        self._audited = tuple(audited)
        self._keeper: ProcessKeeper | None = None
        self._layout: commands.Layout | None = None
        self._authority = CertificateAuthority.create("internvl-local-authority")
        self._port = 0
        self._client: ApiClient | None = None
        self.ready_after_s = 0.0
        """Seconds from `start` until the API server was ready."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start all parts; returns when the API server is ready and service accounts are served.

        Raises:
            StartFailed: A part did not come up; nothing is left running.
        """
        binaries = self._binaries or ensure_binaries(Cache.from_environment())
        self._binaries = binaries
        began = time.monotonic()
        directory = Path(tempfile.mkdtemp(prefix="internvl-cluster-", dir=self._parent))
        if len(os.fsencode(directory)) > _LONGEST_DIRECTORY:
            directory.rmdir()
            raise StartFailed(
                f"{directory} is too long a path for a Unix socket; set TMPDIR to a shorter one"
            )
        self._layout = commands.Layout(directory)
        self._keeper = ProcessKeeper(directory)
        try:
            self._write_certificates()
            self.start_component(Component.ETCD)
            self._start_api_server_on_free_port()
            self.ready_after_s = time.monotonic() - began
            self.start_component(Component.CONTROLLER_MANAGER)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill all parts and remove the directory. May be called twice."""
        if self._keeper is not None:
            self._keeper.close()

    @property
    def directory(self) -> Path:
        """The temporary directory of this control plane; gone after the end."""
        return self._running_layout.directory

    @property
    def server(self) -> str:
        """The address of the API server."""
        return f"https://{self._address}:{self._port}"

    @property
    def keeper(self) -> ProcessKeeper:
        """Keeps the parts; whoever adds a part of their own starts it here, and it goes with the others."""
        return self._running_keeper

    @property
    def layout(self) -> commands.Layout:
        """Where the files lie."""
        return self._running_layout

    @property
    def audit_log(self) -> Path:
        """What `audited` service accounts asked for, for `audit.read_requests`."""
        return self._running_layout.audit_log

    @property
    def authority(self) -> CertificateAuthority:
        """Whom every part and every user trusts."""
        return self._authority

    @property
    def client(self) -> ApiClient:
        """Plain requests to the API server as its administrator."""
        if self._client is None:
            raise ClusterFailed("the control plane is not started; use it as a context manager")
        return self._client

    @property
    def version(self) -> str:
        """What the API server calls itself: `v1.36.4`."""
        return str(self.client.request("GET", "/version").document["gitVersion"])

    def log_path(self, component: Component) -> Path:
        """Where a part writes its log."""
        return self._running_layout.logs / f"{component}.log"

    def kubeconfig(self, *, user: str = ADMIN, groups: Sequence[str] = ADMIN_GROUPS) -> Path:
        """A kubeconfig with a client certificate of this user; without arguments the administrator's.

        The same user and groups give the same file. A user has the rights that RBAC gives to name and groups:
        pass `groups=()` for one who has none.
        """
        path = self._running_layout.kubeconfigs / f"{_file_name(user, groups)}.kubeconfig"
        if not path.exists():
            credentials = self._authority.issue_client(user, groups=groups)
            self._write_kubeconfig(path, user=user, credentials=credentials)
        return path

    def service_account_kubeconfig(self, *, namespace: str, name: str, valid_for_s: int = 86_400) -> Path:
        """A kubeconfig with a fresh token of an existing service account.

        Raises:
            ClusterFailed: The API server gave no token; most often the service account does not exist.
        """
        answer = self.client.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": valid_for_s},
            },
        )
        if answer.status != 201:
            raise ClusterFailed(f"no token for service account {namespace}/{name}: {answer.text.strip()}")
        user = f"system:serviceaccount:{namespace}:{name}"
        path = self._running_layout.kubeconfigs / f"{_file_name(user, ())}.kubeconfig"
        return self._write_kubeconfig(
            path, user=user, credentials=str(answer.document["status"]["token"]), namespace=namespace
        )

    def component_pid(self, component: Component) -> int:
        """The process id of a part."""
        return self._running_keeper.pid(component)

    def stop_component(self, component: Component, *, grace_s: float = 30.0) -> None:
        """End a part as an administrator would; its data, port and certificates stay."""
        self._running_keeper.stop(component, grace_s=grace_s)

    def kill_component(self, component: Component) -> None:
        """End a part as a power cut would; its data, port and certificates stay."""
        self._running_keeper.kill(component)

    def start_component(self, component: Component) -> None:
        """Start a part, as at first or again with what it had; returns when it serves."""
        match component:
            case Component.ETCD:
                self._launch(component, commands.etcd_command(self._started_binaries, self._running_layout))
                self._await(component, "listens on its socket", self._is_etcd_listening)
            case Component.API_SERVER:
                self._launch_api_server()
                self._await(component, "answers /readyz", self._is_api_server_ready)
            case Component.CONTROLLER_MANAGER:
                kubeconfig = self.kubeconfig(user="system:kube-controller-manager", groups=())
                self._launch(
                    component,
                    commands.kube_controller_manager_command(
                        self._started_binaries, self._running_layout, kubeconfig=kubeconfig
                    ),
                )
                self._await(
                    component, "has made the default service account", self._has_default_service_account
                )

    def restart_api_server(self) -> None:
        """Stop the API server and start it again on the same port, with the same data; returns when it is ready."""
        self.stop_component(Component.API_SERVER)
        self.start_component(Component.API_SERVER)

    @property
    def _running_layout(self) -> commands.Layout:
        if self._layout is None:
            raise ClusterFailed("the control plane is not started; use it as a context manager")
        return self._layout

    @property
    def _running_keeper(self) -> ProcessKeeper:
        if self._keeper is None:
            raise ClusterFailed("the control plane is not started; use it as a context manager")
        return self._keeper

    @property
    def _started_binaries(self) -> Binaries:
        assert self._binaries is not None  # start() found them before it started anything
        return self._binaries

    def _write_certificates(self) -> None:
        layout = self._running_layout
        for folder in (layout.certificates, layout.kubeconfigs, layout.logs, layout.etcd_data):
            folder.mkdir(mode=0o700)
        if self._audited:
            layout.audit_policy.write_text(json.dumps(policy_for(self._audited)))
        serving = self._authority.issue_server(
            Component.API_SERVER,
            hosts=["localhost", *_KUBERNETES_SERVICE],
            addresses=sorted({commands.LOOPBACK, self._address, commands.FIRST_SERVICE_ADDRESS}),
        )
        admin = self._authority.issue_client(ADMIN, groups=ADMIN_GROUPS)
        layout.certificate("authority").write_bytes(self._authority.certificate)
        pairs = {
            Component.API_SERVER: serving,
            ADMIN: admin,
            commands.KUBELET_CLIENT: self._authority.issue_client(
                commands.KUBELET_CLIENT, groups=ADMIN_GROUPS
            ),
            "service-accounts": create_signing_key(),
        }
        for name, pair in pairs.items():
            layout.certificate(name).write_bytes(pair.certificate)
            layout.key(name).write_bytes(pair.key)

    def _write_kubeconfig(
        self, path: Path, *, user: str, credentials: Pair | str, namespace: str = "default"
    ) -> Path:
        return write_kubeconfig(
            path,
            server=self.server,
            authority=self._authority.certificate,
            user=user,
            credentials=credentials,
            namespace=namespace,
        )

    def _start_api_server_on_free_port(self) -> None:
        layout = self._running_layout
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = find_free_port(self._address)
            self._client = ApiClient.with_certificate(
                address=self._address,
                port=self._port,
                authority=layout.certificate("authority"),
                certificate=layout.certificate(ADMIN),
                key=layout.key(ADMIN),
            )
            try:
                self.start_component(Component.API_SERVER)
            except StartFailed as error:
                # Somebody took the port between our look and the server's; there are others.
                if "address already in use" not in str(error) or attempt == _PORT_ATTEMPTS:
                    raise
            else:
                return

    def _launch_api_server(self) -> None:
        # The Go heap may grow by half, not by double, between collections: 200 MB less for little more work.
        # A GOMEMLIMIT would instead make it collect without end.
        self._launch(
            Component.API_SERVER,
            commands.kube_apiserver_command(
                self._started_binaries,
                self._running_layout,
                port=self._port,
                address=self._address,
                audited=bool(self._audited),
            ),
            extra_environment={"GOGC": "50"},
        )

    def _launch(
        self, component: Component, command: Sequence[str], extra_environment: Mapping[str, str] | None = None
    ) -> None:
        # A clean environment: a proxy or a GOMAXPROCS of the caller's shell is not meant for these.
        environment = {"PATH": os.defpath, "HOME": str(self.directory), **(extra_environment or {})}
        self._running_keeper.start(component, command, log=self.log_path(component), environment=environment)

    def _await(self, component: Component, what: str, is_reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not is_reached():
            status = self._running_keeper.exit_status(component)
            if status is not None:
                raise StartFailed(f"{component} ended with status {status}. {self._log_tail(component)}")
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"{component} runs, but after {_READY_WITHIN_S:.0f} s nothing shows that it {what}. "
                    f"{self._log_tail(component)}"
                )
            time.sleep(_POLL_S)

    def _log_tail(self, component: Component) -> str:
        lines = self.log_path(component).read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "The end of its log:\n" + "\n".join(f"    {line}" for line in lines)

    def _is_etcd_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._running_layout.etcd_socket)) == 0

    def _is_api_server_ready(self) -> bool:
        try:
            return self.client.request("GET", "/readyz").status == 200
        except OSError:
            return False

    def _has_default_service_account(self) -> bool:
        # Without it the API server refuses every pod of the namespace.
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        return self.client.request("GET", path).status == 200


def find_free_port(address: str = commands.LOOPBACK) -> int:
    """A port of this address that nobody listens on at this moment."""
    for port in random.sample(_PORTS, k=len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise StartFailed(f"every port of {address} from {_PORTS.start} to {_PORTS.stop - 1} is taken")


def _file_name(user: str, groups: Sequence[str]) -> str:
    """Readable, and different for different identities."""
    identity = hashlib.sha256(repr((user, tuple(groups))).encode()).hexdigest()[:8]
    return f"{user.replace(':', '-').replace('/', '-')}-{identity}"
