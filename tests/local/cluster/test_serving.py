import os
import re
import stat
import time
from pathlib import Path

from e2e.cluster.binaries import KUBERNETES
from e2e.cluster.control_plane import Component, ControlPlane

READER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
"""


def test_the_server_calls_itself_by_the_version_that_was_built(plane: ControlPlane) -> None:
    assert plane.version == KUBERNETES.version == "v1.36.4"


def test_it_is_ready_when_the_block_begins(plane: ControlPlane, kubectl) -> None:
    assert plane.client.request("GET", "/readyz").text == "ok"
    assert plane.ready_after_s > 0
    namespaces = kubectl(plane, "get", "namespaces", "-o", "name").stdout.split()
    assert {"namespace/default", "namespace/kube-system"} <= set(namespaces)


def test_a_user_without_rights_is_refused_by_name(plane: ControlPlane, kubectl) -> None:
    answer = kubectl(plane.kubeconfig(user="stranger", groups=()), "get", "configmaps")
    assert answer.returncode == 1
    assert (
        "Forbidden" in answer.stderr and 'User "stranger" cannot list resource "configmaps"' in answer.stderr
    )


def test_nobody_gets_in_without_a_certificate(plane: ControlPlane, kubectl) -> None:
    answer = kubectl(
        *(Path("/dev/null"), "--server", plane.server, "--insecure-skip-tls-verify", "--token", "guessed"),
        *("get", "configmaps"),
    )
    assert answer.returncode == 1
    assert "must be logged in" in answer.stderr or "Unauthorized" in answer.stderr


def test_a_service_account_s_token_has_exactly_its_roles_rights(plane: ControlPlane, kubectl) -> None:
    applied = kubectl(plane, "apply", "-f", "-", stdin=READER)
    assert applied.returncode == 0, applied.stderr
    reader = plane.service_account_kubeconfig(namespace="default", name="reader")
    # RBAC is read through a watch; the role counts a moment after it was written.
    deadline = time.monotonic() + 60
    while (listed := kubectl(reader, "get", "configmaps", "-o", "name")).returncode != 0:
        assert time.monotonic() < deadline, listed.stderr
    assert "configmap/kube-root-ca.crt" in listed.stdout
    assert "Forbidden" in kubectl(reader, "get", "secrets").stderr


def test_what_an_owner_leaves_behind_is_collected(plane: ControlPlane, kubectl, eventually) -> None:
    made = kubectl(plane, "create", "configmap", "owner", "-o", "jsonpath={.metadata.uid}")
    owned = f"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: owned
  ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {made.stdout}}}]
"""
    assert kubectl(plane, "apply", "-f", "-", stdin=owned).returncode == 0
    kubectl(plane, "delete", "configmap", "owner")
    eventually(
        lambda: "NotFound" in kubectl(plane, "get", "configmap", "owned").stderr, "the owned object is gone"
    )


def test_only_loopback_can_reach_it(plane: ControlPlane) -> None:
    listening = {component: listening_addresses(plane.component_pid(component)) for component in Component}
    port = int(plane.server.rpartition(":")[2])
    assert listening == {
        Component.ETCD: set(),
        Component.API_SERVER: {("127.0.0.1", port)},
        Component.CONTROLLER_MANAGER: set(),
    }


def test_only_its_owner_can_enter_the_directory(plane: ControlPlane) -> None:
    assert stat.S_IMODE(plane.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(plane.kubeconfig().stat().st_mode) == 0o600


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """TCP sockets in state LISTEN that a process holds, off /proc."""
    held = set()
    for handle in os.scandir(f"/proc/{pid}/fd"):
        found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(handle.path))
        if found:
            held.add(found[1])
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in held:
                address, port = fields[1].split(":")
                shown = (
                    ".".join(str(part) for part in reversed(bytes.fromhex(address)))
                    if table == "tcp"
                    else address
                )
                addresses.add((shown, int(port, 16)))
    return addresses
