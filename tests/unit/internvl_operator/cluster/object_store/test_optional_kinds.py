"""Kinds that only some services have: read where they are announced, and never in the way of the others."""

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.object_store import KubeObjectStore
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.errors import NotYet
from internvl_operator.render.cluster_objects import ObjectId, Owner, render_front
from internvl_operator.render.optional_objects import render_route

KEY = ServiceKey("team", "nano")
OWNER = Owner(KEY, "uid-1")
FRONT = render_front(OWNER, optional_kinds=("HTTPRoute",))
GATEWAY = {"route": {"parentRefs": [{"name": "public"}]}}
ROUTE = render_route(OWNER, parse_spec({"model": {"uri": "file:///m"}, "gateway": GATEWAY}).gateway)
ROUTE_ID = ObjectId("HTTPRoute", "nano")


class Kubernetes:
    """Objects by kind and name; each verb may be made to fail."""

    def __init__(self):
        self.objects = {}
        self.faults = {}
        self.asked = []

    def ask(self, what):
        self.asked.append(what)
        if what in self.faults:
            raise self.faults[what]

    async def get_object(self, kind, namespace, name):
        self.ask(f"get {kind}")
        return self.objects.get((kind, name))

    async def apply_object(self, manifest):
        self.ask(f"apply {manifest['kind']}")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return manifest

    async def delete_object(self, kind, namespace, name):
        self.ask(f"delete {kind}")
        self.objects.pop((kind, name), None)


class Watch:
    """Sees at once what stands; an optional kind may be made to fail by `list KIND`."""

    def __init__(self, kubernetes):
        self._kubernetes = kubernetes

    def subscribe(self, key):
        pass

    async def listed(self, key):
        pass

    def objects(self, key):
        return {
            ObjectId(*name): item for name, item in self._kubernetes.objects.items() if name[0] == "Service"
        }

    async def optional_objects(self, key, kind):
        self._kubernetes.ask(f"list {kind}")
        return {ObjectId(*name): item for name, item in self._kubernetes.objects.items() if name[0] == kind}

    def pods(self, key):
        return ()

    def offer(self, kind, found):
        pass


@pytest.fixture
def kubernetes():
    return Kubernetes()


@pytest.fixture
def store(kubernetes, clock):
    return KubeObjectStore(kubernetes, Watch(kubernetes), Tokens(b"k" * 32), monotonic=clock.monotonic)


async def apply(store, *manifests):
    await store.apply(KEY, await store.observe(KEY), manifests)


async def test_a_service_without_them_never_asks_for_them(store, kubernetes):
    await apply(store, render_front(OWNER))
    await store.observe(KEY)
    assert not {"list HTTPRoute", "list Ingress"} & set(kubernetes.asked)


async def test_an_announced_kind_is_read_and_no_other(store, kubernetes):
    await apply(store, FRONT, ROUTE)
    assert ROUTE_ID in (await store.observe(KEY)).objects
    assert "list Ingress" not in kubernetes.asked


async def test_a_kind_that_is_not_installed_is_told_and_the_rest_is_seen(store, kubernetes):
    await apply(store, FRONT)
    kubernetes.faults["list HTTPRoute"] = ApiFault(404, "the server could not find the requested resource")
    seen = await store.observe(KEY)
    assert seen.missing_kinds == {"HTTPRoute"}
    assert seen.trouble is None
    assert ObjectId("Service", "nano") in seen.objects


async def test_a_kind_without_rights_is_refused_alone(store, kubernetes):
    await apply(store, FRONT)
    kubernetes.faults["list HTTPRoute"] = ApiFault(403, "httproutes is forbidden")
    seen = await store.observe(KEY)
    assert seen.unreadable_kinds == {"HTTPRoute": "httproutes is forbidden"}
    assert seen.trouble is None


async def test_a_kind_that_cannot_be_read_yet_holds_up_nothing(store, kubernetes):
    await apply(store, FRONT)
    kubernetes.faults["list HTTPRoute"] = ApiFault(503, "away")
    seen = await store.observe(KEY)
    assert seen.unreadable_kinds == {"HTTPRoute": "away"} and seen.trouble is None
    assert ObjectId("Service", "nano") in seen.objects


async def test_what_may_not_even_be_looked_at_is_not_asked_for_at_each_look(store, kubernetes, clock):
    kubernetes.faults["get HTTPRoute"] = ApiFault(403, "forbidden")
    await apply(store, ROUTE)
    await apply(store, ROUTE)
    assert kubernetes.asked.count("get HTTPRoute") == 1
    clock.seconds += 31
    await apply(store, ROUTE)
    assert kubernetes.asked.count("get HTTPRoute") == 2


async def test_a_deleted_route_is_gone_and_may_come_back_at_once(store, kubernetes):
    await apply(store, FRONT, ROUTE)
    await store.delete(KEY, [ROUTE_ID])
    assert ROUTE_ID not in (await store.observe(KEY)).objects
    await apply(store, ROUTE)
    assert ROUTE_ID in (await store.observe(KEY)).objects


async def test_a_deletion_that_is_refused_holds_up_nothing(store, kubernetes):
    await apply(store, FRONT, ROUTE)
    kubernetes.faults["delete HTTPRoute"] = ApiFault(403, "forbidden")
    await store.delete(KEY, [ROUTE_ID])
    seen = await store.observe(KEY)
    assert ROUTE_ID in seen.objects and seen.refused == {ROUTE_ID: "forbidden"}


async def test_a_deletion_that_may_work_later_is_tried_again(store, kubernetes):
    kubernetes.faults["delete HTTPRoute"] = ApiFault(500, "away")
    with pytest.raises(NotYet):
        await store.delete(KEY, [ROUTE_ID])
