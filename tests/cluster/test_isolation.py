"""Services beside each other: of one name in two namespaces, and two in one. None can see, use or disturb another."""

import base64
import random
import time
from collections.abc import Iterator

import pytest

from e2e.platform.namespace import ClientImage, make_namespace, remove_namespace
from e2e.platform.story import SEVEN_LINES, Story

# The nodes of a pool have two CPUs and two GPUs, so all take half a CPU, and the third service does without GPUs.
FIRST = SEVEN_LINES.replace("{pool: vision}", "{pool: vision, cpu: 500m}")
FIRST = FIRST.replace("{pool: language}", "{pool: language, cpu: 500m}")
SECOND = FIRST.replace("{name: internvl}", "{name: second}").replace("cpu: 500m", "cpu: 500m, gpus: 0")
DASHBOARD = (
    "import sys,urllib.request,urllib.error\n"
    "address, token = sys.argv[1], sys.stdin.read()\n"
    "r = urllib.request.Request(address, headers={'X-Ray-Authorization': f'Bearer {token}'} if token else {})\n"
    "try: print(urllib.request.urlopen(r, timeout=60).status)\n"
    "except urllib.error.HTTPError as fault: print(fault.code)\n"
)


@pytest.fixture
def neighbour(story: Story, client_image: ClientImage) -> Iterator[Story]:
    """Another team's namespace on the same cluster."""
    name = f"{story.namespace[:40]}-b"
    make_namespace(story.cluster, name, client=client_image)
    yield Story(story.cluster, story.kubectl, name)
    remove_namespace(story.cluster, name)


def token(story: Story, name: str) -> str:
    path = f"/api/v1/namespaces/{story.namespace}/secrets/{name}-ray"
    data = story.cluster.client.request("GET", path).document["data"]
    return base64.b64decode(data["auth_token"]).decode()


def dashboard(story: Story, name: str, given: str) -> int:
    """What a service's dashboard answers to a pod of the story with this token."""
    address = f"http://{name}-ray-head-svc.{story.namespace}.svc:8265/api/serve/applications/"
    return int(story.in_client(DASHBOARD, address, stdin=given))


def pod_ids(story: Story, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in story.pods(**{"ray.io/cluster": f"{name}-ray"})}


def gpus(story: Story, name: str, role: str) -> int:
    pods = story.pods(**{"ray.io/cluster": f"{name}-ray", "serving.internvl.io/role": role})
    limits = [c["resources"]["limits"] for pod in pods for c in pod["spec"]["containers"]]
    return sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)


def test_services_beside_each_other_share_nothing(story: Story, neighbour: Story) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=FIRST + "---" + SECOND)
    neighbour.kubectl("-n", neighbour.namespace, "apply", "-f", "-", stdin=FIRST)
    all_three = [(story, "internvl"), (story, "second"), (neighbour, "internvl")]
    for team, name in all_three:
        team.cluster.wait_for(f"{name} is Ready", lambda t=team, n=name: t.is_ready(n), within_s=600)  # type: ignore[misc]

    rng = random.Random(time.time_ns())
    urls = [team.service(name)["status"]["url"] for team, name in all_three]
    assert len(set(urls)) == 3
    for (team, _), url in zip(all_three, urls, strict=True):
        assert team.answers_rightly(url, rng, count=4) >= 2

    tokens = [token(team, name) for team, name in all_three]
    assert len(set(tokens)) == 3
    for number, (team, name) in enumerate(all_three):
        answers = [dashboard(team, name, given) for given in (*tokens, "")]
        assert answers == [200 if other == number else 401 if other == 3 else 403 for other in range(4)], name

    for role in ("vision", "language"):
        assert [gpus(team, name, role) for team, name in all_three] == [1, 0, 1]

    others = pod_ids(story, "second"), pod_ids(neighbour, "internvl")
    story.kubectl("-n", story.namespace, "delete", "ivl", "internvl", "--timeout=300s")
    story.cluster.wait_for("its pods are gone", lambda: not pod_ids(story, "internvl"))
    assert (pod_ids(story, "second"), pod_ids(neighbour, "internvl")) == others
    for (team, _), url in zip(all_three[1:], urls[1:], strict=True):
        assert team.answers_rightly(url, rng, count=4) >= 2
