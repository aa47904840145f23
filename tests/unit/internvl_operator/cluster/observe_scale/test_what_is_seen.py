import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.scale import InternVLScaleStatus
from internvl_operator.api.scaling_spec import ScaledBy
from internvl_operator.cluster.observe_scale import see_scale
from internvl_operator.render.cluster_objects import Owner
from internvl_operator.render.scale_objects import render_scale

OWNER = Owner(ServiceKey("team", "nano"), "uid-1")
REPLICAS = {"f:spec": {"f:replicas": {}}}
OURS = {"manager": "internvl-operator", "time": "2026-01-01T00:00:09Z", "fieldsV1": REPLICAS}


def live(*managed, **more):
    manifest = render_scale(OWNER, Role.VISION, scaled_by=ScaledBy.EXTERNAL, replicas=3)
    return {**manifest, "metadata": {**manifest["metadata"], "managedFields": list(managed)}, **more}


def by(manager, second, fields=REPLICAS):
    return {"manager": manager, "time": f"2026-01-01T00:00:0{second}Z", "fieldsV1": fields}


def test_what_was_rendered_is_seen_again():
    seen = see_scale(live(OURS))
    assert (seen.name, seen.service_uid, seen.owner) == ("nano-vision", "uid-1", "External")
    assert (seen.replicas, seen.decided, seen.status, seen.deleting) == (3, None, None, False)


@pytest.mark.parametrize(
    ("managed", "writer"),
    [
        ((OURS,), ""),
        ((OURS, by("kubectl", 1)), "kubectl"),
        ((by("kubectl", 1), by("keda-operator", 2)), "keda-operator"),
        ((OURS, by("kubectl-label", 1, {"f:metadata": {}})), ""),
        ((), ""),
    ],
    ids=["nobody", "one", "the last of two", "who wrote something else", "nothing noted"],
)
def test_who_wrote_the_number_last(managed, writer):
    assert see_scale(live(*managed)).writer == writer


def test_the_status_is_read_and_one_that_makes_no_sense_counts_as_none():
    status = {"replicas": 2, "selector": "a=b", "owner": "operator"}
    assert see_scale(live(status=status)).status == InternVLScaleStatus(**status)
    assert see_scale(live(status={"replicas": "two"})).status is None


def test_a_change_that_nobody_reads_is_none():
    noted = live(OURS)
    noted["metadata"] |= {"resourceVersion": "9", "generation": 4, "annotations": {"a": "b"}}
    assert see_scale(noted) == see_scale(live(OURS))
