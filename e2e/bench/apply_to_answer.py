"""Seconds from `kubectl apply` to the first answer on a cluster with nodes, beside a bare RayCluster.

The bare one is the very RayCluster and Serve configuration that the operator made, applied by a script that does
nothing else: what is between the two is what the operator costs. Needs root and Linux; not part of `make bench`.
"""

import base64
import json
import time
import urllib.request
from typing import Any

from e2e.bench.result import BenchResult, Goal
from e2e.platform.story import body_of, draw
from e2e.platform.world import NAME, NAMESPACE, World, standing_world

ROUNDS = 3
MAY_COST_S = 15.0
BARE = "bare"
RAY = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters"
WITHIN_S = 240.0


def run() -> BenchResult:
    """Bring the cluster up, then take turns."""
    ours: list[float] = []
    bare: list[float] = []
    with standing_world() as world:
        for _ in range(ROUNDS):
            seconds, cluster, applications = _operator_round(world)
            ours.append(seconds)
            bare.append(_bare_round(world, cluster, applications))
    costs = sorted(one - other for one, other in zip(ours, bare, strict=True))
    rows = [
        (str(number), f"{one:.1f}", f"{other:.1f}", f"{one - other:+.1f}")
        for number, (one, other) in enumerate(zip(ours, bare, strict=True), start=1)
    ]
    return BenchResult(
        "apply-to-answer",
        "Apply to the first answer on a cluster with nodes (seconds)",
        ("round", "InternVLService", "bare RayCluster", "difference"),
        tuple(rows),
        {"ours_s": ours, "bare_s": bare},
        (Goal("seconds more than a bare RayCluster, median", costs[len(costs) // 2], "<=", MAY_COST_S),),
    )


def _operator_round(world: World) -> tuple[float, dict[str, Any], list[dict[str, Any]]]:
    world.delete()
    began = time.monotonic()
    world.apply()
    _answered(world, f"http://{NAME}.{NAMESPACE}.svc")
    seconds = time.monotonic() - began
    world.wait("the service is whole", world.is_whole)
    cluster = world.cluster.client.request("GET", f"{RAY}/{NAME}-ray").document
    seen = _dashboard(world, f"{NAME}-ray", "GET")["applications"].values()
    applications = [application["deployed_app_config"] for application in seen]
    world.delete()
    return seconds, cluster, applications


def _bare_round(world: World, cluster: dict[str, Any], applications: list[dict[str, Any]]) -> float:
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": BARE, "namespace": NAMESPACE},
        "spec": cluster["spec"],
    }
    began = time.monotonic()
    world.cluster.apply(manifest)
    world.wait(
        "the bare Ray takes its configuration",
        lambda: bool(_dashboard(world, BARE, "PUT", {"applications": applications})),
    )
    world.wait("the bare gateway has an address", lambda: bool(_gateway_address(world)))
    _answered(world, f"http://{_gateway_address(world)}:8000")
    seconds = time.monotonic() - began
    world.cluster.client.request("DELETE", f"{RAY}/{BARE}")
    world.wait("the bare cluster is gone", lambda: not world.story.pods(**{"ray.io/cluster": BARE}))
    return seconds


def _answered(world: World, url: str) -> None:
    """Ask about one fresh picture until an answer is there; whether answers are right is for the tests."""
    question, picture, _ = draw(world.rng)
    body = json.dumps(body_of(question, picture))
    program = (
        "import json,sys,time,urllib.request\n"
        "body = sys.stdin.buffer.read()\n"
        f"deadline = time.time() + {WITHIN_S}\n"
        "while time.time() < deadline:\n"
        "    r = urllib.request.Request(sys.argv[1], body, {'Content-Type': 'application/json'})\n"
        "    try: print(json.load(urllib.request.urlopen(r, timeout=60))['choices'][0]['message']['content']); break\n"
        "    except Exception: time.sleep(0.2)\n"
    )
    answer = world.story.in_client(program, f"{url}/v1/chat/completions", stdin=body)
    assert answer.strip(), f"no answer at {url} within {WITHIN_S:.0f} s"


def _gateway_address(world: World) -> str:
    pods = world.story.pods(**{"ray.io/cluster": BARE, "serving.internvl.io/role": "gateway"})
    return next((str(pod["status"]["podIP"]) for pod in pods if pod["status"].get("podIP")), "")


def _dashboard(world: World, cluster: str, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to a Ray cluster's REST API, from here; empty while it does not answer."""
    heads = world.story.pods(**{"ray.io/cluster": cluster, "ray.io/node-type": "head"})
    address = next((pod["status"].get("podIP") for pod in heads), None)
    secret = world.cluster.client.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/{cluster}")
    if address is None or secret.status != 200:
        return {}
    token = base64.b64decode(secret.document["data"]["auth_token"]).decode()
    request = urllib.request.Request(
        f"http://{address}:8265/api/serve/applications/",
        None if body is None else json.dumps(body).encode(),
        {"X-Ray-Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            text = reply.read()
    except OSError:
        return {}
    return dict(json.loads(text)) if text else {"taken": True}
