from datetime import UTC, datetime

import pytest

from internvl_operator.cluster.observe_pod import see_pod


@pytest.mark.parametrize(
    ("status", "trouble", "detail"),
    [
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, "", ""),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes",
                    }
                ],
            },
            "Unschedulable",
            "0/3 nodes",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}}
                ],
            },
            "ErrImageNeverPull",
            "not present",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ],
            },
            "CrashLoopBackOff",
            "back-off (last ended with 137: OOMKilled)",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "state": {"running": {}},
                        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
                    }
                ],
            },
            "Restarted",
            "last ended with 1: Error",
        ),
        (
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "initContainerStatuses": [
                    {"state": {"terminated": {"exitCode": 0}}, "lastState": {"terminated": {"exitCode": 1}}}
                ],
                "containerStatuses": [
                    {
                        "ready": True,
                        "state": {"running": {}},
                        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
                    }
                ],
            },
            "",
            "",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}],
            },
            "",
            "",
        ),
    ],
)
def test_a_pod_is_read_with_what_is_wrong_with_it(status, trouble, detail):
    seen = see_pod({"metadata": {"name": "p", "labels": {"ray.io/group": "g"}}, "status": status})
    assert (seen.trouble, seen.detail) == (trouble, detail)
    assert seen.ready is (status["phase"] == "Running" and not trouble)


def test_only_a_pod_that_we_had_made_counts_for_its_ray_cluster():
    given = {"ray.io/cluster": "nano-alt", "ray.io/group": "headgroup"}
    assert see_pod({"metadata": {"name": "p", "labels": given}}).cluster == ""
    ours = {**given, "serving.internvl.io/role": "head"}
    assert see_pod({"metadata": {"name": "p", "labels": ours}}).cluster == "nano-alt"


def test_since_when_a_pod_has_found_no_node_is_read():
    condition = {"type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    status = {"phase": "Pending", "conditions": [condition]}
    seen = see_pod({"metadata": {"name": "p"}, "status": status})
    assert seen.unscheduled_since == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    scheduled = {**condition, "status": "True"}
    assert (
        see_pod({"metadata": {"name": "p"}, "status": {"conditions": [scheduled]}}).unscheduled_since is None
    )
