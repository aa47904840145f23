"""What a platform team does and sees in one namespace: apply, wait, ask from a pod, look at pods."""

import base64
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from PIL import Image as Picture

from e2e.cluster.kube_cluster import KubeCluster
from e2e.demo.pictures import SHAPE_TASKS
from e2e.platform.kubectl import Kubectl
from internvl_engines.nano import pictures, questions

SERVICES = "/apis/serving.internvl.io/v1alpha1/namespaces/{}/internvlservices/{}"
SEVEN_LINES = """
apiVersion: serving.internvl.io/v1alpha1
kind: InternVLService
metadata: {name: internvl}
spec:
  model: {uri: pvc://models/internvl-nano}
  vision: {pool: vision}
  language: {pool: language}
"""
ASK = (
    "import sys,urllib.request;"
    "r=urllib.request.Request(sys.argv[1],sys.stdin.buffer.read(),{'Content-Type':'application/json'});"
    "print(urllib.request.urlopen(r,timeout=120).read().decode())"
)
LOAD = """
import json, os, sys, time, urllib.request
url, pause_s, cases = sys.argv[1], float(sys.argv[2]), json.load(sys.stdin)
sent, faults, said = 0, [], [set() for _ in cases]
while sent < len(cases) or not os.path.exists("/tmp/stop"):
    case = cases[sent % len(cases)]
    sent += 1
    request = urllib.request.Request(url, json.dumps(case["body"]).encode(), {"Content-Type": "application/json"})
    try:
        answer = json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]["message"]["content"]
        said[(sent - 1) % len(cases)].add(answer)
        if answer != case["answer"]:
            faults.append(f"{time.time():.1f} wrong: {answer!r}, was {case['answer']!r}")
    except Exception as fault:
        body = fault.read().decode()[:200] if hasattr(fault, "read") else ""
        faults.append(f"{time.time():.1f} failed: {fault!r} {body}")
    time.sleep(pause_s)
print(json.dumps({"sent": sent, "faults": faults, "said": [sorted(answers) for answers in said]}))
"""
GRIDS = (pictures.SINGLE_GRID, (3, 2))
"""Tiles of the pictures, across and down."""
SEND = """
import contextlib, sys
from internvl_operator.cli import main
with contextlib.redirect_stdout(sys.stderr):
    main(["load", *sys.argv[1:], "--json", "/tmp/load.json"])
print(open("/tmp/load.json").read())
"""


@dataclass
class Story:
    """What a user does and sees in one namespace."""

    cluster: KubeCluster
    kubectl: Kubectl
    namespace: str

    def service(self, name: str = "internvl") -> dict[str, Any]:
        answer = self.cluster.client.request("GET", SERVICES.format(self.namespace, name))
        return answer.document if answer.status == 200 else {}

    def ready(self, name: str = "internvl") -> dict[str, Any]:
        return self.condition("Ready", name)

    def condition(self, kind: str, name: str = "internvl") -> dict[str, Any]:
        """One condition; empty when it was never set."""
        conditions = self.service(name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def is_ready(self, name: str = "internvl") -> bool:
        found = self.service(name)
        is_observed = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
        return is_observed and self.ready(name).get("status") == "True"

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={selector}"
        return list(self.cluster.client.request("GET", path).document["items"])

    def role_pods(self, role: str) -> list[dict[str, Any]]:
        return self.pods(**{"serving.internvl.io/role": role})

    def role_nodes(self, role: str) -> set[str]:
        """Names of the nodes that a role's pods run on."""
        return {pod["spec"]["nodeName"] for pod in self.role_pods(role)}

    def pool_nodes(self, values: Mapping[str, Any], pool: str) -> set[str]:
        """Nodes that the administrator's values select for a pool."""
        wanted = values["kuberay"]["pools"][pool]["nodeSelector"]
        nodes = self.cluster.get("/api/v1/nodes")["items"]
        return {
            node["metadata"]["name"] for node in nodes if wanted.items() <= node["metadata"]["labels"].items()
        }

    def groups(self) -> list[dict[str, Any]]:
        """Worker groups of the service's Ray cluster."""
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayclusters/internvl-ray"
        return list(self.cluster.client.request("GET", path).document["spec"]["workerGroupSpecs"])

    def ask(self, url: str, question: str, picture: Picture.Image | None, **options: Any) -> str:
        """Ask from the client pod; the raw answer."""
        return self.post(url, body_of(question, picture, **options))

    def post(self, url: str, body: dict[str, Any]) -> str:
        """Send the body of a chat completion from the client pod; the raw answer."""
        return self.in_client(ASK, f"{url}/v1/chat/completions", stdin=json.dumps(body))

    def in_client(self, script: str, *words: str, stdin: str = "") -> str:
        """Run Python in the client pod; its output."""
        command = ("-n", self.namespace, "exec", "-i", "client", "--", "python", "-c", script)
        return self.kubectl(*command, *words, stdin=stdin)

    def answers_rightly(self, url: str, rng: random.Random, count: int = 8) -> int:
        right = 0
        for _ in range(count):
            question, picture, expected = draw(rng)
            answer = json.loads(self.ask(url, question, picture))
            right += answer["choices"][0]["message"]["content"].strip() == expected
        return right

    def send(self, url: str, *options: str) -> dict[str, Any]:
        """Run `internvl load` in the client pod; its figures."""
        figures: dict[str, Any] = json.loads(self.in_client(SEND, url, *options))
        return figures

    @contextmanager
    def load(
        self,
        url: str,
        rng: random.Random,
        *,
        count: int = 12,
        grids: Sequence[tuple[int, int]] = GRIDS,
        pause_s: float = 0.0,
    ) -> Iterator[dict[str, Any]]:
        """Ask about `count` pictures, one after the other, while the block runs, and about each at least once.

        Its value has `cases` from the beginning, and after it `sent`, `faults` (wrong and failed ones) and `said`,
        the different answers by case.
        """
        cases = []
        for _ in range(count):
            question, picture, _ = draw(rng, grids)
            body = body_of(question, picture)
            answer = json.loads(self.ask(url, question, picture))["choices"][0]["message"]["content"]
            cases.append({"body": body, "answer": answer})
        result: dict[str, Any] = {"cases": cases}

        def run() -> None:
            text = self.in_client(LOAD, f"{url}/v1/chat/completions", str(pause_s), stdin=json.dumps(cases))
            result.update(json.loads(text))

        self.in_client("import os; os.path.exists('/tmp/stop') and os.remove('/tmp/stop')")
        thread = Thread(target=run)
        thread.start()
        try:
            yield result
        finally:
            self.in_client("open('/tmp/stop', 'w').close()")
            thread.join(timeout=300)


def draw(rng: random.Random, grids: Sequence[tuple[int, int]] = GRIDS) -> tuple[str, Picture.Image, str]:
    """A question about a fresh picture of one tile or of several, the picture, and the right answer."""
    while True:
        grid = rng.choice(grids)
        scene = pictures.compose(rng, grid=grid, subject="shapes")
        asked = questions.ask(scene, rng, count=1, tasks=SHAPE_TASKS)
        if asked:
            return asked[0].text, pictures.draw(scene), asked[0].answer


def body_of(question: str, picture: Picture.Image | None, **options: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    content: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if picture is not None:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        content.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    return {
        "model": "internvl-nano",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 16,
        "temperature": 0,
        **options,
    }
