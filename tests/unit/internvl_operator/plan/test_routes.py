"""A route before a service in pods of its own: made, changed, deleted, and never in the way of the rest."""

from dataclasses import replace

import pytest

from internvl_operator.api.pods import RouteKind
from internvl_operator.plan.plan import LOOK_AGAIN_S
from internvl_operator.render.cluster_objects import ObjectId

SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision"},
    "language": {"pool": "language"},
}
ROUTE = {"route": {"parentRefs": [{"name": "public"}], "hostnames": ["a.example.com"]}}
INGRESS = {"ingress": {"host": "a.example.com"}}
ROUTE_ID, INGRESS_ID = ObjectId("HTTPRoute", "nano"), ObjectId("Ingress", "nano")
ANNOTATION = "serving.internvl.io/optional-kinds"


@pytest.fixture
def offering(ready_in_pods):
    """Ready in pods, where the administrator offers both kinds."""
    return offer(ready_in_pods, *RouteKind)


def offer(world, *kinds):
    return world.change(offer=world.observation.offer.model_copy(update={"routes": kinds}))


def gateway(world, block):
    return world.respec({**SPEC, "gateway": block})


def kinds(decided):
    return [item["kind"] for item in decided.objects]


def take(world):
    """One step of the reconciler: applied and deleted."""
    decided = world.settle()
    world.kubernetes_takes(decided)
    standing = {key: item for key, item in world.cluster.objects.items() if key not in decided.delete}
    return world.change(cluster=replace(world.cluster, objects=standing))


def announced(world):
    front = world.cluster.objects[ObjectId("Service", "nano")]
    return front["metadata"].get("annotations", {}).get(ANNOTATION)


def test_a_service_without_a_route_announces_none(offering):
    assert announced(offering) is None
    assert offering.plan().objects == ()


def test_the_kind_is_announced_before_the_route_is_made(offering):
    decided = gateway(offering, ROUTE).plan()
    assert kinds(decided) == ["Service", "HTTPRoute"]
    take(offering)
    assert announced(offering) == "HTTPRoute"
    assert take(offering).plan().objects == ()
    assert offering.said() == ("True", "Ready")
    assert offering.said("Degraded")[0] == "False"


def test_a_route_that_is_not_wanted_any_more_goes_and_then_its_announcement(offering):
    take(gateway(offering, ROUTE))
    decided = gateway(offering, {}).plan()
    assert decided.delete == (ROUTE_ID,)
    assert kinds(decided) == []
    take(offering)
    assert announced(offering) == "HTTPRoute", "killed in between, it would still be found"
    assert offering.plan().delete == ()
    take(offering)
    assert announced(offering) == ""
    assert offering.plan().objects == ()


def test_an_ingress_in_the_place_of_a_route(offering):
    take(gateway(offering, ROUTE))
    decided = gateway(offering, INGRESS).plan()
    assert decided.delete == (ROUTE_ID,)
    assert kinds(decided) == ["Service", "Ingress"]
    take(take(offering))
    assert announced(offering) == "Ingress"
    assert ROUTE_ID not in offering.cluster.objects and INGRESS_ID in offering.cluster.objects


def test_what_belongs_to_somebody_else_is_neither_written_over_nor_deleted(offering):
    theirs = {"metadata": {"name": "nano", "labels": {"serving.internvl.io/service": "nano"}}, "spec": {}}
    objects = {**offering.cluster.objects, ROUTE_ID: theirs}
    offering.change(cluster=replace(offering.cluster, objects=objects))
    assert offering.plan().delete == ()
    decided = gateway(offering, ROUTE).plan()
    assert "HTTPRoute" not in kinds(decided)
    assert offering.said("Degraded") == ("True", "ObjectNotOurs")
    assert offering.said() == ("True", "Ready")


def test_objects_of_other_kinds_are_never_deleted(offering):
    owner = offering.cluster.objects[ObjectId("Service", "nano")]["metadata"]["ownerReferences"]
    extra = {"metadata": {"name": "extra", "ownerReferences": owner}}
    objects = {**offering.cluster.objects, ObjectId("NetworkPolicy", "extra"): extra}
    offering.change(cluster=replace(offering.cluster, objects=objects))
    assert offering.plan().delete == ()


def test_a_kind_that_is_not_installed_is_named_with_the_fix_and_disturbs_nothing(offering):
    take(gateway(offering, ROUTE))
    standing = {key: item for key, item in offering.cluster.objects.items() if key != ROUTE_ID}
    missing = replace(offering.cluster, objects=standing, missing_kinds=frozenset({"HTTPRoute"}))
    decided = offering.change(cluster=missing).plan()
    assert decided.objects == (), "no request that cannot succeed"
    assert offering.said() == ("True", "Ready")
    assert offering.said("Degraded") == ("True", "KindMissing")
    assert "install the Gateway API" in offering.condition("Degraded").message
    installed = offering.change(cluster=replace(missing, missing_kinds=frozenset())).plan()
    assert kinds(installed) == ["HTTPRoute"]


def test_a_kind_that_the_administrator_does_not_offer_is_not_made(ready_in_pods):
    world = offer(ready_in_pods, RouteKind.INGRESS)
    decided = gateway(world, ROUTE).plan()
    assert decided.objects == ()
    assert world.said() == ("True", "Ready")
    assert world.said("Degraded") == ("True", "RouteNotOffered")
    assert "offered: Ingress" in world.condition("Degraded").message


def test_a_refused_route_is_told_as_long_as_it_is_wanted(offering):
    gateway(offering, ROUTE)
    refused = replace(offering.cluster, refused={ROUTE_ID: "the API server answers 403: forbidden"})
    offering.change(cluster=refused)
    assert offering.said("Degraded") == ("True", "KubernetesRefused")
    gateway(offering, {})
    assert offering.said("Degraded")[0] == "False"


def test_a_route_that_cannot_be_deleted_is_told(offering):
    take(gateway(offering, ROUTE))
    gateway(offering, {})
    offering.change(cluster=replace(offering.cluster, refused={ROUTE_ID: "403: forbidden"}))
    assert offering.said("Degraded") == ("True", "KubernetesRefused")
    assert "HTTPRoute nano: it is not wanted any more" in offering.condition("Degraded").message
    assert offering.plan().delete == (ROUTE_ID,)


def test_a_kind_that_went_out_of_the_operators_hands_is_told_until_its_route_is_known_to_be_gone(offering):
    take(gateway(offering, ROUTE))
    objects = {key: item for key, item in offering.cluster.objects.items() if key != ROUTE_ID}
    offer(offering, RouteKind.INGRESS)
    blind = replace(offering.cluster, objects=objects, unreadable_kinds={"HTTPRoute": "403: forbidden"})
    offering.change(cluster=blind)
    take(offering)
    assert offering.said() == ("True", "Ready")
    assert offering.said("Degraded") == ("True", "KubernetesRefused")
    assert "kuberay.routes" in offering.condition("Degraded").message
    assert announced(offering) == "HTTPRoute", "it is looked for again"
    offering.change(cluster=replace(offering.cluster, unreadable_kinds={}))
    assert offering.said("Degraded") == ("True", "RouteNotOffered")


def test_what_cannot_be_read_is_not_written(offering):
    offering.change(cluster=replace(offering.cluster, unreadable_kinds={"HTTPRoute": "503: away"}))
    assert kinds(gateway(offering, ROUTE).plan()) == ["Service"]
    assert offering.said("Degraded") == ("True", "KubernetesRefused")


def test_a_gateway_that_does_not_take_the_route_is_quoted(offering):
    take(gateway(offering, ROUTE))
    condition = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no"}
    live = {
        **offering.cluster.objects[ROUTE_ID],
        "status": {"parents": [{"parentRef": {"name": "public"}, "conditions": [condition]}]},
    }
    objects = {**offering.cluster.objects, ROUTE_ID: live}
    offering.change(cluster=replace(offering.cluster, objects=objects))
    assert offering.said("Degraded") == ("True", "RouteNotAccepted")
    assert "the Gateway public does not take it: no" in offering.condition("Degraded").message
    assert offering.plan().requeue_after_s == LOOK_AGAIN_S, "it may be corrected any moment"


def test_a_route_for_a_ray_cluster_of_somebody_else_is_refused(ready):
    gateway(ready, INGRESS)
    assert ready.said("Degraded") == ("True", "SpecInvalid")
    assert "gateway.ingress" in ready.condition("Degraded").message


def test_a_host_name_that_was_taken_back_is_taken_back_from_the_route(offering):
    two = {"parentRefs": [{"name": "public"}], "hostnames": ["a.example.com", "b.example.com"]}
    take(gateway(offering, {"route": two}))
    assert offering.plan().objects == ()
    gateway(offering, {"route": {"parentRefs": [{"name": "public"}]}})
    [changed] = offering.plan().objects
    assert changed["kind"] == "HTTPRoute" and "hostnames" not in changed["spec"]
