"""A control plane without nodes, and helm for it: what the chart makes is looked at, nothing runs."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.control_plane import ControlPlane
from e2e.platform.chart import CHART, RELEASE, SYSTEM, run_helm

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@dataclass
class Releases:
    """Releases of the chart on one control plane."""

    plane: ControlPlane
    kind: str = f"{DEFINITIONS}/internvlservices.serving.internvl.io"
    scale_kind: str = f"{DEFINITIONS}/internvlscales.serving.internvl.io"

    def helm(self, *words: str) -> str:
        return run_helm(*words, "--kubeconfig", str(self.plane.kubeconfig()))

    def install(self, *options: str, namespace: str = SYSTEM, chart: Path = CHART) -> str:
        """Install or upgrade; what helm says, notes included."""
        return self.helm(
            *("upgrade", "--install", RELEASE, str(chart), "--namespace", namespace, "--create-namespace"),
            *options,
        )

    def uninstall(self, namespace: str = SYSTEM) -> None:
        self.helm("uninstall", RELEASE, "--namespace", namespace, "--wait", "--timeout", "180s")

    def create_namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        assert self.plane.client.request("POST", "/api/v1/namespaces", body).status == 201

    def get(self, path: str) -> dict[str, Any] | None:
        answer = self.plane.client.request("GET", path)
        return answer.document if answer.status == 200 else None

    def wait_for(self, what: str, is_reached: Callable[[], object], within_s: float = 180.0) -> None:
        deadline = time.monotonic() + within_s
        while not is_reached():
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
            time.sleep(0.05)

    def remove_all(self) -> None:
        """Releases and what their operators made, services, the kind: whatever a test left."""
        for found in json.loads(self.helm("list", "--all-namespaces", "--output", "json")):
            self.helm("uninstall", found["name"], "--namespace", found["namespace"])
        services = "/apis/serving.internvl.io/v1alpha1/internvlservices"
        for found in (self.get(services) or {"items": []})["items"]:
            meta = found["metadata"]
            path = f"{services.removesuffix('/internvlservices')}/namespaces/{meta['namespace']}/internvlservices"
            meta["finalizers"] = []
            self.plane.client.request("PUT", f"{path}/{meta['name']}", found)
        for kind in (self.kind, self.scale_kind):
            self.plane.client.request("DELETE", kind)
        self.plane.client.request(
            "DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{RELEASE}"
        )
        self.plane.client.request("DELETE", f"/api/v1/namespaces/{SYSTEM}/secrets/{RELEASE}-token-key")
        self.wait_for("the kinds are gone", lambda: not (self.get(self.kind) or self.get(self.scale_kind)))

    def create_service(self, name: str, spec: dict[str, Any], *, finalizers: Sequence[str]) -> str:
        """An InternVLService; its path."""
        services = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlservices"
        self.wait_for("the kind is served", lambda: self.get(services) is not None)
        body = {
            "apiVersion": "serving.internvl.io/v1alpha1",
            "kind": "InternVLService",
            "metadata": {"name": name, "finalizers": list(finalizers)},
            "spec": spec,
        }
        answer = self.plane.client.request("POST", services, body)
        assert answer.status == 201, answer.text
        return f"{services}/{name}"


@pytest.fixture(scope="package")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(audited=[SYSTEM]) as plane:
        yield plane


@pytest.fixture
def releases(plane: ControlPlane) -> Iterator[Releases]:
    """None at first, none left behind."""
    releases = Releases(plane)
    yield releases
    releases.remove_all()


def definition(group: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A kind of somebody else's as far as it matters here: its spec has this schema, its status any."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "properties": {"spec": spec, "status": OPEN}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


@pytest.fixture
def serve_kind(releases: Releases) -> Iterator[Callable[..., None]]:
    """Has the API server serve a kind, until the test ends."""
    served: list[str] = []

    def serve(group: str, kind: str, spec: dict[str, Any] = OPEN) -> None:
        found = definition(group, kind, spec)
        answer = releases.plane.client.request("POST", DEFINITIONS, found)
        assert answer.status == 201, answer.text
        served.append(found["metadata"]["name"])
        path = f"/apis/{group}/v1/{kind.lower()}s"
        releases.wait_for(f"{kind} is served", lambda: releases.get(path) is not None)

    yield serve
    for name in served:
        releases.plane.client.request("DELETE", f"{DEFINITIONS}/{name}")
        releases.wait_for(f"{name} is gone", lambda name=name: not releases.get(f"{DEFINITIONS}/{name}"))


@pytest.fixture
def serve_ray_clusters(serve_kind: Callable[..., None]) -> Callable[..., None]:
    """KubeRay's kind, with these fields besides those that every version has."""

    def serve(**fields: Any) -> None:
        known = {"rayVersion": {"type": "string"}, "enableInTreeAutoscaling": {"type": "boolean"}}
        groups = {"headGroupSpec": OPEN, "workerGroupSpecs": {"type": "array", "items": OPEN}}
        serve_kind("ray.io", "RayCluster", {"type": "object", "properties": {**known, **groups, **fields}})

    return serve
