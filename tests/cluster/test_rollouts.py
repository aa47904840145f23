"""Changes of a running service under load: what must restart does, nothing else, and no request is lost."""

import json
import random
import time
from collections.abc import Mapping
from typing import Any

from e2e.platform.installation import Helm, install
from e2e.platform.namespace import SECOND_MODEL
from e2e.platform.story import ASK, SEVEN_LINES, Story


def change(story: Story, patch: dict[str, Any]) -> None:
    """Patch the service and wait until it is Ready again."""
    words = ("-n", story.namespace, "patch", "ivl", "internvl", "--type=merge", "-p", json.dumps(patch))
    story.kubectl(*words)
    story.cluster.wait_for("the service is Ready again", story.is_ready, within_s=600)


def names(story: Story, role: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in story.role_pods(role)}


def ray_clusters(story: Story) -> set[str]:
    path = f"/apis/ray.io/v1/namespaces/{story.namespace}/rayclusters"
    found = story.cluster.client.request("GET", path).document["items"]
    return {item["metadata"]["name"] for item in found}


def stage(story: Story) -> str:
    return str(story.service()["status"].get("rollout", {}).get("stage", ""))


def is_done(story: Story) -> bool:
    return story.is_ready() and stage(story) == ""


def replay(story: Story, url: str, cases: list[dict[str, Any]]) -> list[str]:
    """The answers of the model that is served now."""
    target = f"{url}/v1/chat/completions"
    replies = [story.in_client(ASK, target, stdin=json.dumps(case["body"])) for case in cases]
    return [json.loads(reply)["choices"][0]["message"]["content"] for reply in replies]


def test_rollouts_under_load_lose_nothing_and_touch_only_what_they_name(story: Story) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SEVEN_LINES)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=600)
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
            within_s=300,
        )
    print(f"of the pod: {of_the_pod}")
    assert of_the_pod["faults"] == [] and of_the_pod["sent"] > 10
    for role in ("head", "gateway", "language"):
        assert names(story, role) == before[role], "only the vision pool rolls"
    story.cluster.wait_for("the old group has left the list", lambda: len(story.groups()) == 3)


def test_another_model_takes_over_under_load_without_a_lost_or_a_mixed_answer(story: Story) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SEVEN_LINES)
    change(
        story, {"spec": {"model": {"name": "internvl-nano"}}}
    )  # clients know it by this name whatever its path
    url = story.service()["status"]["url"]
    before = {role: names(story, role) for role in ("head", "gateway", "vision", "language")}

    with story.load(url, random.Random(time.time_ns())) as load:
        patch = {"spec": {"model": {"uri": f"pvc://models/{SECOND_MODEL}"}}}
        began = time.monotonic()
        words = ("-n", story.namespace, "patch", "ivl", "internvl", "--type=merge", "-p", json.dumps(patch))
        story.kubectl(*words)
        stages = []

        def is_over() -> bool:
            assert story.ready()["status"] == "True", f"not Ready during the rollout: {story.ready()}"
            if stage(story) not in stages[-1:]:
                stages.append(stage(story))
            return is_done(story)

        story.cluster.wait_for("the new model is rolled out", is_over, within_s=900)
        print(f"rolled out in {time.monotonic() - began:.0f} s by {stages}")
    after = replay(story, url, load["cases"])
    known = list(zip((case["answer"] for case in load["cases"]), after, strict=True))
    failed = [fault for fault in load["faults"] if " failed: " in fault]
    mixed = [said for said, pair in zip(load["said"], known, strict=True) if not set(said) <= set(pair)]
    print(f"{load['sent']} sent, {len(failed)} failed, {len(mixed)} mixed; {known}")
    assert sum(old != new for old, new in known) >= 2, "the two models can be told apart"
    assert failed == [] and mixed == [] and load["sent"] > 10
    assert "InPlace" not in stages, "there are spare GPUs"
    story.cluster.wait_for(
        "the stand-in's pods are gone",
        lambda: {role: names(story, role) for role in before} == before,
        within_s=300,
    )


def test_another_head_moves_the_service_to_a_second_ray_cluster_under_load(
    story: Story, helm: Helm, values: Mapping[str, Any]
) -> None:
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SEVEN_LINES)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=600)
    url = story.service()["status"]["url"]
    kuberay = values["kuberay"]
    changed = {**values, "kuberay": {**kuberay, "head": {**kuberay.get("head", {}), "memory": "2100Mi"}}}
    stages: list[str] = []

    def has_moved() -> bool:
        assert story.ready()["status"] == "True", f"not Ready during the rollout: {story.ready()}"
        if stage(story) not in stages[-1:]:
            stages.append(stage(story))
        return ray_clusters(story) == {"internvl-alt"} and is_done(story)

    try:
        with story.load(url, random.Random(time.time_ns())) as load:
            began = time.monotonic()
            install(story.cluster, helm, changed)
            story.cluster.wait_for("only the second Ray cluster is left", has_moved, within_s=900)
            print(f"another head after {time.monotonic() - began:.0f} s by {stages}")
        print(f"{load['sent']} sent, {load['faults']}")
        assert load["faults"] == [] and load["sent"] > 10
        assert "InPlace" not in stages, "there are spare GPUs"
        [head] = story.pods(**{"ray.io/cluster": "internvl-alt", "serving.internvl.io/role": "head"})
        assert head["spec"]["containers"][0]["resources"]["requests"]["memory"] == "2100Mi"
        assert not story.pods(**{"ray.io/cluster": "internvl-ray"}), "its pods are gone"
    finally:
        story.kubectl("-n", story.namespace, "delete", "ivl", "internvl", "--timeout=300s")
        install(story.cluster, helm, values)
