"""The story of a platform team: the chart, seven lines, right answers from pods on their pools, nothing left."""

import random
import time
from collections.abc import Mapping
from typing import Any

from e2e.platform.story import SEVEN_LINES, Story


def test_seven_lines_become_a_service_that_answers_and_goes_without_a_trace(
    story: Story, values: Mapping[str, Any]
) -> None:
    began = time.monotonic()
    story.kubectl("-n", story.namespace, "apply", "-f", "-", stdin=SEVEN_LINES)
    story.cluster.wait_for("the service is Ready", story.is_ready, within_s=600)
    print(f"apply to Ready: {time.monotonic() - began:.1f} s")
    pools = {pool: story.pool_nodes(values, pool) for pool in ("vision", "language")}
    for pool, nodes in pools.items():
        assert story.role_nodes(pool) and story.role_nodes(pool) <= nodes, pool
    for role in ("head", "gateway"):
        nodes = story.role_nodes(role)
        assert nodes and nodes.isdisjoint(pools["vision"] | pools["language"]), role

    url = story.service()["status"]["url"]
    right = story.answers_rightly(url, random.Random(time.time_ns()))
    assert right >= 6, f"{right} of 8 answers are right"
    streamed = story.ask(url, "What is this?", None, stream=True)
    assert streamed.count("data: ") > 2 and streamed.rstrip().endswith("data: [DONE]")

    story.kubectl("-n", story.namespace, "delete", "ivl", "internvl", "--timeout=300s")
    story.cluster.wait_for(
        "no pod of the service is left", lambda: not story.pods(**{"ray.io/cluster": "internvl-ray"})
    )
    for kind in ("rayclusters", "services", "secrets", "poddisruptionbudgets", "networkpolicies"):
        listed = ("-n", story.namespace, "get", kind, "-o", "name")
        story.cluster.wait_for(f"no {kind} are left", lambda words=listed: not story.kubectl(*words).strip())
