"""What a cluster has beside its nodes: the objects of DNS, and KubeRay's operator as a pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.nodes.plan import BRIDGE_ADDRESS, CLUSTER_DOMAIN, DNS_ADDRESS

DNS_USER = "internvl-dns"
KUBERAY_NAMESPACE = "kuberay-system"
KUBERAY_NAME = "kuberay-operator"
DNS_READY_PORT = 8181

Manifest = dict[str, Any]


def dns_server_configuration(kubeconfig: Path) -> str:
    """CoreDNS's file: the cluster's names and addresses, nothing else; it listens on the bridge only."""
    return f"""\
.:53 {{
    bind {BRIDGE_ADDRESS}
    ready {BRIDGE_ADDRESS}:{DNS_READY_PORT}
    errors
    cache 2
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 2
    }}
}}
"""


def dns_objects() -> list[Manifest]:
    """The service by which pods reach the DNS server on the bridge, and what that server may read."""
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": DNS_USER},
        "rules": rules,
    }
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [BRIDGE_ADDRESS], "conditions": {"ready": True}}],
        "ports": ports,
    }
    user = {"kind": "User", "name": DNS_USER, "apiGroup": "rbac.authorization.k8s.io"}
    return [role, _binding(DNS_USER, DNS_USER, user), service, slice_]


def kuberay_objects(*, image: str, role_file: Path) -> list[Manifest]:
    """KubeRay's operator as its chart installs it, for all namespaces, with the rights of its own module."""
    role: Manifest = yaml.safe_load(role_file.read_text())
    role["metadata"] = {"name": KUBERAY_NAME}
    account = {"name": KUBERAY_NAME, "namespace": KUBERAY_NAMESPACE}
    labels = {"app.kubernetes.io/name": KUBERAY_NAME}
    container = {
        "name": KUBERAY_NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--enable-leader-election=false"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/metrics", "port": "http"}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**account, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": KUBERAY_NAME, "containers": [container]},
            },
        },
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KUBERAY_NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        role,
        _binding(KUBERAY_NAME, KUBERAY_NAME, {"kind": "ServiceAccount", **account}),
        deployment,
    ]


def custom_resource_definitions(folder: Path) -> list[Manifest]:
    """The definitions that lie in a folder as YAML."""
    # The loader in C: they are megabytes, and Python's own would take most of a minute.
    return [yaml.load(path.read_text(), Loader=yaml.CSafeLoader) for path in sorted(folder.glob("*.yaml"))]


def _binding(name: str, role: str, subject: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
