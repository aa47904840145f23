"""What a user of the whole path can do and see: apply, wait, ask."""

import base64
import io
import json
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.relay import Relay
from e2e.demo.parts import LocalInstallation
from e2e.demo.pictures import SHAPE_TASKS
from e2e.demo.service import MODELS
from internvl_engines.nano import pictures, questions

POLL_S = 0.1
SERVICES = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlservices"
READY_WITHIN_S = 300.0

Service = dict[str, Any]


@dataclass
class World:
    """What a user can do and see."""

    installation: LocalInstallation
    ray_relay: Relay
    applied: dict[str, dict[str, Any]] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(time.time_ns()))

    def apply(
        self,
        name: str,
        *,
        vision: Mapping[str, Any] = {},
        language: Mapping[str, Any] = {},
        uri: str = "",
        address: str = "",
    ) -> None:
        """Create a service, or change what is named of it."""
        spec = self.applied.setdefault(
            name,
            {
                "model": {"uri": f"file://{MODELS}/internvl-nano"},
                "backend": {"ray": {"address": address or self.ray_relay.url}},
                "vision": {"pool": "vision", "cpu": "500m"},
                "language": {"pool": "language", "cpu": "500m"},
            },
        )
        spec["vision"].update(vision)
        spec["language"].update(language)
        if uri:
            spec["model"]["uri"] = uri
        manifest = {
            "apiVersion": "serving.internvl.io/v1alpha1",
            "kind": "InternVLService",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.installation.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def delete(self, name: str) -> None:
        """Delete a service and wait until the object is gone."""
        self.applied.pop(name, None)
        self.installation.kubectl("delete", "ivl", name, "--ignore-not-found", "--timeout=180s")

    def get(self, name: str) -> Service:
        """The object as the API server has it."""
        cluster = self.installation.cluster
        assert isinstance(cluster, ControlPlane)
        answer = cluster.client.request(
            "GET", f"{SERVICES}/{name}"
        )  # polled: kubectl would take a core for it
        assert answer.status == 200, answer.text
        return answer.document

    def wait(
        self, name: str, seen: Callable[[Service], bool], what: str, *, timeout_s: float = READY_WITHIN_S
    ) -> Service:
        """Poll the object until `seen` holds."""
        deadline = time.monotonic() + timeout_s
        while True:
            service = self.get(name)
            if seen(service):
                return service
            self.installation.check_operator()
            if time.monotonic() > deadline:
                log = self.installation.operator_log.read_text(errors="replace").splitlines()[-15:]
                status = json.dumps(service.get("status"), indent=1)
                raise AssertionError(f"waited {timeout_s} s for {what}\n{status}\n" + "\n".join(log))
            time.sleep(POLL_S)

    def wait_ready(self, name: str, *, timeout_s: float = READY_WITHIN_S) -> Service:
        """Poll until Ready is True for the present generation."""
        return self.wait(name, is_ready, f"{name} to be Ready", timeout_s=timeout_s)

    def wait_reason(self, name: str, reason: str, *, timeout_s: float) -> Service:
        """Poll until Ready is False or Unknown for this reason, about the present generation."""

        def holds(service: Service) -> bool:
            ready = condition(service, "Ready")
            return is_observed(service) and ready["status"] != "True" and ready["reason"] == reason

        return self.wait(name, holds, f"{name} to be {reason}", timeout_s=timeout_s)

    def applications(self) -> dict[str, Any]:
        """Serve's applications, as it shows them itself."""
        deadline = time.monotonic() + READY_WITHIN_S
        # The dashboard may take longer than one try on a busy machine; nothing is shown then.
        while (details := self.installation.ray.get_json("/api/serve/applications/")) is None:
            assert time.monotonic() < deadline, "Ray's dashboard does not answer"
            time.sleep(POLL_S)
        return dict(details.get("applications", {}))

    def replicas(self, name: str, deployment: str) -> frozenset[str]:
        """Ids of the running replicas, as Serve itself says."""
        found: set[str] = set()
        for application, details in self.applications().items():
            if application in (f"default.{name}", f"default.{name}.vision"):
                for entry in details.get("deployments", {}).get(deployment, {}).get("replicas", []):
                    if entry["state"] == "RUNNING":
                        found.add(entry["replica_id"])
        return frozenset(found)

    def ask(self, url: str, question: str, picture: Image.Image | None = None, **options: Any) -> str:
        """Ask over REST and return the answer's text."""
        reply = httpx.post(f"{url}/v1/chat/completions", json=chat(question, picture, **options), timeout=120)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["message"]["content"])

    def draw(self, *, grid: tuple[int, int] = pictures.SINGLE_GRID) -> tuple[Image.Image, str, str]:
        """A fresh picture, a question about it and the right answer."""
        while True:
            scene = pictures.compose(self.rng, grid=grid, subject="shapes")
            asked = questions.ask(scene, self.rng, count=1, tasks=SHAPE_TASKS)
            if asked:
                return pictures.draw(scene), asked[0].text, asked[0].answer

    def answers_rightly(self, url: str, **draw: Any) -> bool:
        """Ask about 24 fresh pictures, eight at a time. The model knows 95 % of them: with 16 right answers it
        answers what was asked (fewer by bad luck: once in 10 million), by guessing it would have 8."""
        drawn = [self.draw(**draw) for _ in range(24)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda item: self.ask(url, item[1], item[0]), drawn))
        right = [answer.strip() == known for answer, (_, _, known) in zip(answers, drawn, strict=True)]
        print(f"{sum(right)} of {len(right)} answers are right")
        return sum(right) >= 16


def is_observed(service: Service) -> bool:
    """Whether the status speaks about the present spec."""
    return bool(service.get("status", {}).get("observedGeneration") == service["metadata"]["generation"])


def is_ready(service: Service) -> bool:
    """Whether Ready is True for the present spec."""
    return is_observed(service) and condition(service, "Ready")["status"] == "True"


def condition(service: Service, kind: str) -> dict[str, Any]:
    """One condition; a stand-in without content when it is absent."""
    absent = {"status": "", "reason": "", "message": ""}
    conditions = service.get("status", {}).get("conditions", [])
    return next((dict(entry) for entry in conditions if entry["type"] == kind), absent)


def chat(question: str, picture: Image.Image | None, **options: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    content: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if picture is not None:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    return {
        "model": "internvl-nano",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 16,
        "temperature": 0,
        **options,
    }
