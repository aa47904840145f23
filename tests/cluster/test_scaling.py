"""Each side by its own load, in pods: pictures make one more of vision, texts of language; at rest just that one goes."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from e2e.platform.installation import kill_operator
from e2e.platform.story import Story
from internvl_engines.nano import pictures

# A replica takes one of the GPUs that its node says it has. What it manages is stated: little of pictures, so that a
# load which two cores carry asks for three of them, where the budget has room for two; and of text so much that one is
# always enough.
SCALED = """
apiVersion: serving.internvl.io/v1alpha1
kind: InternVLService
metadata: {name: internvl}
spec:
  model: {uri: pvc://models/internvl-nano}
  scaling: {maxGPUs: 3}
  vision: {pool: vision, cpu: 500m, maxReplicas: 3, capacity: {tilesPerSecond: 12}}
  language:
    pool: language
    cpu: 500m
    maxReplicas: 2
    capacity: {promptTokensPerSecond: 100000, outputTokensPerSecond: 100000}
"""
PICTURES = ("--mix", "448x448=1", "--rate", "2", "--duration", "60", "--max-tokens", "1")
"""Twenty tiles a second."""
# The other way round: a load of text asks for two replicas of language, and one of vision is always enough.
OF_TEXT = """
apiVersion: serving.internvl.io/v1alpha1
kind: InternVLService
metadata: {name: internvl}
spec:
  model: {uri: pvc://models/internvl-nano}
  vision: {pool: vision, cpu: 500m, maxReplicas: 3, capacity: {tilesPerSecond: 100000}}
  language:
    pool: language
    cpu: 500m
    maxReplicas: 2
    capacity: {promptTokensPerSecond: 100000, outputTokensPerSecond: 16}
"""
TEXTS = ("--mix", "text=1", "--rate", "2", "--duration", "60", "--max-tokens", "12", "--ignore-eos")
"""Twenty-four tokens a second."""
ROLES = ("head", "gateway", "vision", "language")


def side(story: Story, role: str) -> dict[str, Any]:
    found: dict[str, Any] = story.service()["status"]["roles"][role]
    return found


def standing(story: Story) -> dict[str, set[str]]:
    """Names of the pods of each role that nobody deletes."""
    return {
        role: {
            pod["metadata"]["name"]
            for pod in story.role_pods(role)
            if "deletionTimestamp" not in pod["metadata"]
        }
        for role in ROLES
    }


def is_ready(pod: Mapping[str, Any]) -> bool:
    return any(
        item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", ())
    )


def sizes(story: Story) -> dict[str, int]:
    """Pods that each role's worker group asks for."""
    return {group["groupName"].rpartition("-")[0]: group["replicas"] for group in story.groups()}


def deleted(pods: Sequence[Mapping[str, Any]]) -> dict[str, datetime]:
    """When each pod that is or was to go was deleted, by its name: that is so long before its time is over."""
    return {
        pod["name"]: datetime.fromisoformat(pod["deletionTimestamp"])
        - timedelta(seconds=pod["deletionGracePeriodSeconds"])
        for pod in (item["metadata"] for item in pods)
        if "deletionTimestamp" in pod
    }


def named(clusters: Sequence[Mapping[str, Any]]) -> set[str]:
    """Pods that KubeRay was told to delete."""
    groups = [group for cluster in clusters for group in cluster["spec"]["workerGroupSpecs"]]
    return {name for group in groups for name in group.get("scaleStrategy", {}).get("workersToDelete") or ()}


def wait_until_one_went(
    story: Story,
    role: str,
    pods: Callable[[], Sequence[Mapping[str, Any]]],
    clusters: Callable[[], Sequence[Mapping[str, Any]]],
    values: Mapping[str, Any],
) -> None:
    """Until a role is one pod again."""
    story.cluster.wait_for(
        f"{role} is one pod again, and the other one was named and deleted",
        lambda: len(story.role_pods(role)) == len(named(clusters())) == len(deleted(pods())) == 1,
        within_s=quiet_s(values) + 120,
    )


def quiet_s(values: Mapping[str, Any]) -> float:
    settings = values.get("operator", {}).get("settings", {})
    return float(settings.get("SCALE_DOWN_AFTER_S", 300))


def test_pictures_make_one_more_pod_of_vision_within_the_budget_and_rest_takes_an_idle_one_away(
    story: Story, values: Mapping[str, Any]
) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SCALED)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=300)
    url = story.service()["status"]["url"]
    one = standing(story)
    assert {role: len(pods) for role, pods in one.items()} == dict.fromkeys(ROLES, 1)

    grids = (pictures.SINGLE_GRID,)  # of one tile, so that this load alone asks for one replica
    beside = story.load(url, random.Random(time.time_ns()), count=6, grids=grids, pause_s=1.0)
    pods_of_vision = story.kubectl.watch(
        "pods", "-n", story.namespace, "-l", "serving.internvl.io/role=vision"
    )
    ray_clusters = story.kubectl.watch("rayclusters", "-n", story.namespace)
    with beside as asked, ThreadPoolExecutor(1) as pool, pods_of_vision as pods, ray_clusters as clusters:
        assert side(story, "vision")["target"] == 1
        began = time.monotonic()
        sent = pool.submit(story.send, url, *PICTURES)
        story.cluster.wait_for(
            "the load has made vision two", lambda: side(story, "vision")["target"] == 2, within_s=60
        )
        print(
            f"a new target after {time.monotonic() - began:.1f} s, the start of the load generator included"
        )
        story.cluster.wait_for("two replicas of vision serve", lambda: side(story, "vision")["ready"] == 2)
        print(f"two serve after {time.monotonic() - began:.1f} s")
        two = standing(story)
        assert len(two["vision"]) == 2 and one["vision"] < two["vision"]
        assert {role: two[role] for role in ROLES if role != "vision"} == {
            role: one[role] for role in ROLES if role != "vision"
        }
        assert sizes(story) == {"gateway": 1, "vision": 2, "language": 1}
        assert story.role_nodes("vision") <= story.pool_nodes(values, "vision")
        story.cluster.wait_for("both pods are ready", lambda: all(map(is_ready, story.role_pods("vision"))))
        story.cluster.wait_for(
            "the budget is named",
            lambda: story.condition("ScalingActive").get("reason") == "ScalingLimited",
            within_s=60,
        )
        assert "3 are wanted, but scaling.maxGPUs is 3 for both sides" in side(story, "vision")["why"]
        figures = sent.result()["requests"]
        assert figures["failed"] == 0 and figures["answered"] == figures["due"] > 0

        wait_until_one_went(story, "vision", pods, clusters, values)
        ends, names = deleted(pods()), named(clusters())
    left = standing(story)
    assert names == ends.keys() == two["vision"] - left["vision"], (
        "the pod that goes is the one that was named"
    )
    assert side(story, "vision")["ready"] == 1 and story.is_ready()
    assert sizes(story) == {"gateway": 1, "vision": 1, "language": 1}
    assert {role: left[role] for role in ROLES if role != "vision"} == {
        role: one[role] for role in ROLES if role != "vision"
    }
    print(f"{asked['sent']} asked beside the load, {asked['faults']}")
    assert asked["faults"] == [] and asked["sent"] > 10
    down, up = side(story, "vision")["lastScaling"]
    assert (up["from"], up["to"], down["from"], down["to"]) == (1, 2, 2, 1)
    assert "tiles/s" in up["why"]
    assert min(ends.values()) >= datetime.fromisoformat(down["time"]), "first the replica goes, then its pod"


def test_texts_make_one_more_pod_of_language_though_the_operator_is_killed_meanwhile(
    story: Story, values: Mapping[str, Any]
) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=OF_TEXT)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=300)
    url = story.service()["status"]["url"]
    one = standing(story)
    assert {role: len(pods) for role, pods in one.items()} == dict.fromkeys(ROLES, 1)

    pods_of_language = story.kubectl.watch(
        "pods", "-n", story.namespace, "-l", "serving.internvl.io/role=language"
    )
    ray_clusters = story.kubectl.watch("rayclusters", "-n", story.namespace)
    with ThreadPoolExecutor(1) as pool, pods_of_language as pods, ray_clusters as clusters:
        sent = pool.submit(story.send, url, *TEXTS)
        story.cluster.wait_for(
            "the load has made language two", lambda: side(story, "language")["target"] == 2, within_s=60
        )
        kill_operator(story.kubectl)
        story.cluster.wait_for(
            "two replicas of language serve", lambda: side(story, "language")["ready"] == 2, within_s=180
        )
        two = standing(story)
        assert len(two["language"]) == 2 and one["language"] < two["language"]
        assert story.role_nodes("language") <= story.pool_nodes(values, "language")
        figures = sent.result()["requests"]
        assert figures["failed"] == 0 and figures["answered"] == figures["due"] > 0
        wait_until_one_went(story, "language", pods, clusters, values)
        assert deleted(pods()).keys() == named(clusters())
    left = standing(story)
    assert {role: left[role] for role in ROLES if role != "language"} == {
        role: one[role] for role in ROLES if role != "language"
    }, "nothing else has moved"
    down, up = side(story, "language")["lastScaling"][:2]
    assert (up["from"], up["to"], down["from"], down["to"]) == (1, 2, 2, 1)
    assert "output tokens/s" in up["why"]
    assert story.is_ready()
