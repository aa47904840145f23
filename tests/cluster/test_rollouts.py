"""Changes of a running service under load: what must restart does, nothing else, and no request is lost."""

import json
import random
import time
from typing import Any

import pytest

from e2e.platform.story import SEVEN_LINES, Story

pytestmark = pytest.mark.timeout(900)


def change(story: Story, patch: dict[str, Any]) -> None:
    """Patch the service and wait until it is Ready again."""
    words = ("-n", story.namespace, "patch", "ivl", "internvl", "--type=merge", "-p", json.dumps(patch))
    story.kubectl(*words)
    story.cluster.wait_for("the service is Ready again", story.is_ready, within_s=240)


def names(story: Story, role: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in story.role_pods(role)}


def groups(story: Story) -> list[dict[str, Any]]:
    path = f"/apis/ray.io/v1/namespaces/{story.namespace}/rayclusters/internvl-ray"
    return list(story.cluster.client.request("GET", path).document["spec"]["workerGroupSpecs"])


def test_rollouts_under_load_lose_nothing_and_touch_only_what_they_name(story: Story) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SEVEN_LINES)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=300)
    url = story.service()["status"]["url"]
    before = {role: names(story, role) for role in ("head", "gateway", "vision", "language")}

    with story.load(url, random.Random(time.time_ns())) as in_place:
        change(story, {"spec": {"language": {"maxModelLen": 700}}})
    print(f"in place: {in_place}")
    assert in_place["faults"] == [] and in_place["sent"] > 10
    assert {role: names(story, role) for role in before} == before, "limits change no pod"

    with story.load(url, random.Random(time.time_ns())) as of_the_pod:
        change(story, {"spec": {"vision": {"memory": "1900Mi"}}})
        story.cluster.wait_for(
            "only the new vision pod is left",
            lambda: len(names(story, "vision")) == 1 and names(story, "vision").isdisjoint(before["vision"]),
            within_s=120,
        )
    print(f"of the pod: {of_the_pod}")
    assert of_the_pod["faults"] == [] and of_the_pod["sent"] > 10
    for role in ("head", "gateway", "language"):
        assert names(story, role) == before[role], "only the vision pool rolls"
    story.cluster.wait_for("the old group has left the list", lambda: len(groups(story)) == 3)
