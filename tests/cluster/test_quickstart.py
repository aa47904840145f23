"""The story of a platform team: the chart, seven lines, right answers from pods on their pools, nothing left."""

import base64
import io
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.cluster.nodes.programs import ensure_helm
from e2e.demo.service import MODELS
from e2e.images.layout import DOMAIN, Image
from e2e.setup.cache import Cache
from internvl_engines.nano import pictures, questions

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "internvl-operator"
SYSTEM = "internvl-system"
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

Kubectl = Callable[..., str]
pytestmark = pytest.mark.timeout(900)


@dataclass
class Story:
    """What a user does and sees in one namespace."""

    cluster: NodeCluster
    kubectl: Kubectl
    namespace: str

    def service(self, name: str = "internvl") -> dict[str, Any]:
        answer = self.cluster.client.request("GET", SERVICES.format(self.namespace, name))
        return answer.document if answer.status == 200 else {}

    def ready(self, name: str = "internvl") -> dict[str, Any]:
        found = self.service(name)
        conditions = found.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Ready"), {})

    def is_ready(self, name: str = "internvl") -> bool:
        found = self.service(name)
        is_observed = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
        return is_observed and self.ready(name).get("status") == "True"

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(
            f"{key.replace('__', '/').replace('_', '.')}={value}" for key, value in labels.items()
        )
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={selector}"
        return list(self.cluster.client.request("GET", path).document["items"])

    def role_pods(self, role: str) -> list[dict[str, Any]]:
        return self.pods(**{"serving.internvl.io/role": role})

    def ask(self, url: str, question: str, picture: Picture.Image | None, **options: Any) -> str:
        """Ask from the client pod; the raw answer."""
        content: list[dict[str, Any]] = [{"type": "text", "text": question}]
        if picture is not None:
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
            data = base64.b64encode(buffer.getvalue()).decode()
            content.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
        body = {
            "model": "internvl-nano",
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 16,
            "temperature": 0,
            **options,
        }
        script = (
            "import sys,urllib.request;"
            "r=urllib.request.Request(sys.argv[1],sys.stdin.buffer.read(),{'Content-Type':'application/json'});"
            "print(urllib.request.urlopen(r,timeout=60).read().decode())"
        )
        return self.kubectl(
            *("-n", self.namespace, "exec", "-i", "client", "--", "python", "-c", script),
            f"{url}/v1/chat/completions",
            stdin=json.dumps(body),
        )

    def answers_rightly(self, url: str, rng: random.Random, count: int = 8) -> int:
        right = 0
        for _ in range(count):
            scene = pictures.compose(rng, grid=rng.choice([pictures.SINGLE_GRID, (3, 2)]))
            asked = questions.ask(scene, rng, count=1)
            if not asked:
                continue
            answer = json.loads(self.ask(url, asked[0].text, pictures.draw(scene)))
            right += answer["choices"][0]["message"]["content"].strip() == asked[0].answer
        return right


@pytest.fixture(scope="session")
def helm(cluster: NodeCluster) -> Callable[..., str]:
    program = ensure_helm(Cache.from_environment())

    def run(*words: str) -> str:
        command = [str(program), "--kubeconfig", str(cluster.kubeconfig()), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def operator(
    cluster: NodeCluster, helm: Callable[..., str], python_image: Image, runtime_image: Image
) -> Iterator[None]:
    """The chart, installed as its README says."""
    pools = {
        pool: {
            "nodeSelector": {"internvl.example/pool": pool},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "gpus": 1,
            "memory": "2Gi",
        }
        for pool in ("vision", "language")
    }
    values = {
        "imageRegistry": f"{DOMAIN}/",
        "operator": {
            "image": {"repository": python_image.repository, "tag": python_image.tag, "pullPolicy": "Never"},
        },
        "kuberay": {
            "runtime": {
                "image": {
                    "repository": runtime_image.repository,
                    "tag": runtime_image.tag,
                    "pullPolicy": "Never",
                }
            },
            "pools": pools,
            "head": {"cpu": "200m", "memory": "2Gi"},
            "gateway": {"cpu": "100m", "memory": "1Gi"},
        },
    }
    file = cluster.directory / "values.json"
    file.write_text(json.dumps(values))
    helm(
        *(
            "upgrade",
            "--install",
            "internvl-operator",
            str(CHART),
            "--namespace",
            SYSTEM,
            "--create-namespace",
        ),
        *("--values", str(file), "--wait", "--timeout", "120s"),
    )
    yield
    helm("uninstall", "internvl-operator", "--namespace", SYSTEM, "--wait")


@pytest.fixture
def story(
    cluster: NodeCluster, kubectl: Kubectl, namespace: str, operator: None, python_image: Image
) -> Story:
    """A namespace under the restricted standard, with the model in a claim and a pod to ask from."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    )
    models = cluster.directory / "models"
    if not models.exists():
        shutil.copytree(MODELS, models)
    volume = f"models-{namespace}"
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadOnlyMany"],
                "hostPath": {"path": str(models)},
                "storageClassName": "",
                "claimRef": {"namespace": namespace, "name": "models"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "",
                "volumeName": volume,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "client", "namespace": namespace},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "client",
                        "image": python_image.name,
                        "imagePullPolicy": "Never",
                        "command": ["sleep", "infinity"],
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
            },
        },
    )
    return Story(cluster, kubectl, namespace)


def test_seven_lines_become_a_service_that_answers_and_goes_without_a_trace(story: Story) -> None:
    began = time.monotonic()
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SEVEN_LINES)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=300)
    print(f"apply to Ready: {time.monotonic() - began:.1f} s")
    nodes = {
        role: {pod["spec"]["nodeName"] for pod in story.role_pods(role)}
        for role in ("head", "gateway", "vision", "language")
    }
    assert nodes == {"head": {"cpu"}, "gateway": {"cpu"}, "vision": {"vision"}, "language": {"language"}}

    url = story.service()["status"]["url"]
    right = story.answers_rightly(url, random.Random(time.time_ns()))
    assert right >= 6, f"{right} of 8 answers are right"
    streamed = story.ask(url, "What is this?", None, stream=True)
    assert streamed.count("data: ") > 2 and streamed.rstrip().endswith("data: [DONE]")

    story.kubectl("-n", story.namespace, "delete", "ivl", "internvl", "--timeout=60s")
    story.cluster.wait_for(
        "no pod of the service is left", lambda: not story.pods(ray_io__cluster="internvl-ray")
    )
    for kind in ("rayclusters", "services", "secrets", "poddisruptionbudgets", "networkpolicies"):
        left = story.kubectl("-n", story.namespace, "get", kind, "-o", "name").split()
        assert left == [], kind
