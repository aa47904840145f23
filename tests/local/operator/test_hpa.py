"""A HorizontalPodAutoscaler owns the number of a side: the controller of Kubernetes itself, as docs/autoscaling.md says.

Real: API server, controller manager, the HPA and the service's lines from that page, the operator. Played: the metrics
API, one metric whose value the test sets. Nothing answers at the Ray address.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from e2e.cluster import objects
from e2e.cluster.control_plane import ControlPlane, find_free_port

PAGE = Path(__file__).parents[3] / "docs" / "autoscaling.md"
SCALE = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlscales/internvl-vision"
HPA = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/internvl-vision"
GROUP = "external.metrics.k8s.io"
WITHIN_S = 180.0
"""The controller learns of new kinds every half a minute."""


class TilesPerSecond:
    """The metrics API of one metric, behind the API server."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.value = 0
        self._plane = plane
        name = "metrics.default.svc"
        pair = plane.authority.issue_server(name, hosts=[name], addresses=[])
        files = folder / "metrics.crt", folder / "metrics.key"
        for file, content in zip(files, (pair.certificate, pair.key), strict=True):
            file.write_bytes(content)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = metrics.answer(self.path.partition("?")[0])
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(found or {}).encode())

            def log_message(self, *args: object) -> None:
                return

        return Handler

    def answer(self, path: str) -> dict[str, object] | None:
        version = f"{GROUP}/v1beta1"
        if path == f"/apis/{version}":
            kind = {"name": "tiles_per_second", "singularName": "", "namespaced": True, "verbs": ["get"]}
            resources = [{**kind, "kind": "ExternalMetricValueList"}]
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": version,
                "resources": resources,
            }
        if path != f"/apis/{version}/namespaces/default/tiles_per_second":
            return None
        item = {"metricName": "tiles_per_second", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z"}
        items = [{**item, "value": str(self.value)}]
        return {"kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {}, "items": items}

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        port = self._server.server_address[1]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "metrics", "namespace": "default"},
            # Without nodes nobody routes the address of a Service; this kind has none.
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        }
        registration = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(self._plane.authority.certificate).decode(),
                "service": {"name": "metrics", "namespace": "default", "port": port},
            },
        }
        for manifest in (service, registration):
            objects.apply(self._plane.client, manifest)

    def stop(self) -> None:
        """With it unavailable nothing in this API server could be deleted with its owner any more."""
        registrations = "/apis/apiregistration.k8s.io/v1/apiservices"
        self._plane.client.request("DELETE", f"{registrations}/v1beta1.{GROUP}")
        self._plane.client.request("DELETE", "/api/v1/namespaces/default/services/metrics")
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def tiles_per_second(plane: ControlPlane, tmp_path: Path) -> Iterator[TilesPerSecond]:
    metrics = TilesPerSecond(plane, tmp_path)
    metrics.start()
    yield metrics
    plane.client.request("DELETE", HPA)
    metrics.stop()


@pytest.fixture
def documented():
    """The spec of a side that somebody else owns, and the HorizontalPodAutoscaler, as the page has them."""
    (block,) = (part for part in PAGE.read_text().split("```") if "kind: HorizontalPodAutoscaler" in part)
    service, autoscaler = yaml.safe_load_all(block.removeprefix("yaml"))
    del service["spec"]["vision"]["pool"]  # of the page's own cluster
    return service["spec"], autoscaler


def test_an_hpa_decides_the_number_until_the_operator_gets_it_back(
    plane, services, start_operator, tiles_per_second, documented, eventually
):
    spec, autoscaler = documented
    start_operator(ray_address=f"http://127.0.0.1:{find_free_port()}")
    services.create("internvl", **spec)
    eventually(lambda: plane.client.request("GET", SCALE).status == 200, "the InternVLScale is there")
    tiles_per_second.value = 60
    objects.apply(
        plane.client,
        {**autoscaler, "metadata": {**autoscaler["metadata"], "namespace": "default"}},
    )

    def vision():
        return ((services.get("internvl") or {}).get("status") or {}).get("roles", {}).get("vision", {})

    def able_to_scale():
        found = plane.client.request("GET", HPA).document.get("status", {}).get("conditions", [])
        return next((item for item in found if item["type"] == "AbleToScale"), {})

    eventually(lambda: vision().get("target") == 3, "60 tiles/s over 20 are three", within_s=WITHIN_S)
    assert vision()["owner"] == "kube-controller-manager"
    assert vision()["why"] == "kube-controller-manager wrote 3 into the InternVLScale internvl-vision"
    eventually(lambda: able_to_scale().get("status") == "True", "its own status says so after its write")

    services.replace_spec("internvl", vision={"minReplicas": 1, "maxReplicas": 8})
    eventually(lambda: vision().get("owner") == "operator", "the operator has the number")
    tiles_per_second.value = 120
    eventually(
        lambda: able_to_scale().get("status") == "False", "the second owner is refused", within_s=WITHIN_S
    )
    assert "set spec.vision.scaledBy: External in the InternVLService" in able_to_scale()["message"]
    assert plane.client.request("GET", SCALE).document["spec"]["replicas"] == vision()["target"] == 3
