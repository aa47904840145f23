from pathlib import Path

import pytest
import yaml
from lightkube.core.resource import api_info

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kinds import KINDS, SCALES, manifest_of
from internvl_operator.cluster.kubernetes import OBJECTS
from internvl_operator.plan.observation import PodSeen
from internvl_operator.render import optional_objects
from internvl_operator.render.cluster_objects import Owner, matches, render_front

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("kind", (*KINDS, SCALES), ids=lambda kind: kind.name)
def test_every_kind_can_be_asked_for_and_says_whose_an_object_is(kind):
    assert kind.name in OBJECTS
    assert kind.label in kind.selector


@pytest.mark.parametrize("kind", (*KINDS, SCALES), ids=lambda kind: kind.name)
def test_the_operator_may_list_and_watch_every_kind(kind):
    folder = Path(__file__).parents[5] / "manifests" / "rbac"
    if kind is not SCALES:
        folder /= "pods/optional" if kind.is_optional else "pods"
    manifests = folder / "operator.yaml"
    resource = api_info(OBJECTS[kind.name])
    verbs = [
        verb
        for document in yaml.safe_load_all(manifests.read_text())
        if document["kind"] == "ClusterRole"
        for rule in document["rules"]
        if resource.resource.group in rule["apiGroups"] and resource.plural in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert {"list", "watch"} <= set(verbs)


def test_just_those_kinds_are_optional_that_a_service_announces():
    assert {kind.name for kind in KINDS if kind.is_optional} == set(optional_objects.KINDS)


def test_secrets_are_not_watched():
    assert "Secret" not in BY_NAME


def test_an_object_is_kept_as_it_was_wanted():
    wanted = render_front(Owner(ServiceKey("team", "nano"), "uid-1"))
    live = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": "7", "managedFields": [{}]}}
    kept = manifest_of(BY_NAME["Service"].keep(live))
    assert matches({part: wanted[part] for part in ("metadata", "spec")}, kept)
    assert "managedFields" not in kept["metadata"]


def test_a_ray_cluster_keeps_its_status_but_for_the_time_of_the_last_look():
    found = {
        "metadata": {"name": "nano-ray"},
        "spec": {},
        "status": {"state": "ready", "lastUpdateTime": "now"},
    }
    assert manifest_of(BY_NAME["RayCluster"].keep(found))["status"] == {"state": "ready"}
    later = {**found, "status": {"state": "ready", "lastUpdateTime": "later"}}
    assert BY_NAME["RayCluster"].keep(found) == BY_NAME["RayCluster"].keep(later)


def test_a_pod_belongs_to_the_service_whose_ray_cluster_it_is_of():
    pods = BY_NAME["Pod"]
    of_nano = pods.values_of(ServiceKey("team", "nano"))
    assert (pods.label, of_nano) == (labels.RAY_CLUSTER, ("nano-ray", "nano-alt"))
    assert isinstance(pods.keep({"metadata": {"name": "p"}}), PodSeen)
