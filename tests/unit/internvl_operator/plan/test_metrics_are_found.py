"""How Prometheus finds Ray's pods is the administrator's choice, and changing it moves no pod."""

from dataclasses import replace

import pytest

from internvl_operator.api.pods import MetricsSettings
from internvl_operator.render.cluster_objects import ObjectId

MONITOR = ObjectId("PodMonitor", "nano")


def choose(world, by):
    metrics = MetricsSettings(by=by)
    return world.change(offer=world.observation.offer.model_copy(update={"metrics": metrics}))


def scraped(world):
    """What each template of the RayCluster says."""
    spec = world.ray_cluster["spec"]
    templates = [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    return [template["metadata"]["annotations"]["prometheus.io/scrape"] for template in templates]


def test_by_default_all_four_kinds_of_pods_are_annotated(ready_in_pods):
    assert scraped(ready_in_pods) == ["true"] * 4
    annotations = ready_in_pods.ray_cluster["spec"]["headGroupSpec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "8080"
    assert annotations["prometheus.io/path"] == "/metrics"


@pytest.mark.parametrize(("by", "monitors"), [("podMonitor", ["PodMonitor"]), ("none", [])])
def test_another_choice_takes_the_annotations_off_and_keeps_the_groups(ready_in_pods, by, monitors):
    before = ready_in_pods.groups()
    decided = choose(ready_in_pods, by).plan()
    assert [item["kind"] for item in decided.objects if item["kind"] == "PodMonitor"] == monitors
    ready_in_pods.kubernetes_takes(decided)
    assert ready_in_pods.groups() == before
    assert scraped(ready_in_pods) == ["false"] * 4
    assert not decided.write


def test_a_monitor_that_is_not_wanted_any_more_goes(ready_in_pods):
    ready_in_pods.kubernetes_takes(choose(ready_in_pods, "podMonitor").settle())
    assert ready_in_pods.plan().delete == ()
    assert choose(ready_in_pods, "annotations").plan().delete == (MONITOR,)


def test_without_prometheus_operator_the_fix_is_named(ready_in_pods):
    choose(ready_in_pods, "podMonitor")
    missing = frozenset({"PodMonitor"})
    ready_in_pods.change(cluster=replace(ready_in_pods.cluster, missing_kinds=missing))
    assert ready_in_pods.said("Degraded") == ("True", "KindMissing")
    assert "kuberay.metrics.by" in ready_in_pods.condition("Degraded").message
    assert ready_in_pods.said() == ("True", "Ready")
