import asyncio

import pytest

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster import object_watch
from internvl_operator.cluster.kinds import KINDS, SCALES
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.object_watch import ObjectWatch
from internvl_operator.render.cluster_objects import ObjectId

KEY = ServiceKey("team", "nano")


class Api:
    """Each list is of one object that stands, and nothing changes."""

    def __init__(self, missing=()):
        self.missing = missing
        self.listed = []
        self.closed = False

    async def list_objects(self, kind, namespace, selector, take):
        self.listed.append((kind, namespace))
        if kind in self.missing:
            raise self.missing[kind]
        label = labels.RAY_CLUSTER if kind == "Pod" else labels.SERVICE
        value = "nano-ray" if kind == "Pod" else "nano"
        meta = {"namespace": "team", "name": "it", "labels": {label: value}, "resourceVersion": "3"}
        take({"metadata": meta, "spec": {}})
        return "5"

    async def watch_objects(self, kind, namespace, selector, version):
        await asyncio.Event().wait()
        yield  # pragma: no cover - makes this a generator

    async def close(self):
        self.closed = True


async def running(watch):
    task = asyncio.create_task(watch.run())
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def ended(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_every_kind_is_listed_once_whatever_the_number_of_services():
    api, woken = Api(), []
    watch = ObjectWatch(lambda: api, namespaces=(), wake=woken.append)
    for name in ("nano", "a", "b", "c"):
        watch.subscribe(ServiceKey("team", name))
    task = await running(watch)
    await watch.listed(KEY)
    every = {kind.name for kind in KINDS if not kind.is_optional}
    assert sorted(api.listed) == sorted((kind, None) for kind in every)
    assert set(watch.objects(KEY)) == {ObjectId(kind, "it") for kind in every - {"Pod"}}
    assert [pod.name for pod in watch.pods(KEY)] == ["it"]
    assert set(woken) == {KEY}
    await ended(task)
    assert api.closed


async def test_each_watched_namespace_has_watches_and_a_client_of_its_own():
    apis = []

    def connect():
        apis.append(Api())
        return apis[-1]

    watch = ObjectWatch(connect, namespaces=("team", "other"), wake=lambda key: None)
    task = await running(watch)
    assert [{namespace for _, namespace in api.listed} for api in apis] == [{"team"}, {"other"}]
    await ended(task)


async def test_a_kind_that_does_not_exist_is_a_fault_of_the_services_there():
    api = Api(missing={"RayCluster": ApiFault(404, "no such kind")})
    watch = ObjectWatch(lambda: api, namespaces=(), wake=lambda key: None)
    task = await running(watch)
    with pytest.raises(ApiFault, match="no such kind") as fault:
        await watch.listed(KEY)
    assert fault.value.is_gone
    await ended(task)


async def test_an_optional_kind_is_watched_from_when_a_service_asks_for_it():
    api = Api()
    watch = ObjectWatch(lambda: api, namespaces=(), wake=lambda key: None)
    task = await running(watch)
    assert ("HTTPRoute", None) not in api.listed
    for _ in range(2):
        assert set(await watch.optional_objects(KEY, "HTTPRoute")) == {ObjectId("HTTPRoute", "it")}
    assert api.listed.count(("HTTPRoute", None)) == 1
    assert ObjectId("HTTPRoute", "it") not in watch.objects(KEY)
    await ended(task)


async def test_an_optional_kind_that_does_not_exist_is_in_nobodys_way():
    api = Api(missing={"HTTPRoute": ApiFault(404, "no such kind")})
    watch = ObjectWatch(lambda: api, namespaces=(), wake=lambda key: None)
    task = await running(watch)
    with pytest.raises(ApiFault, match="no such kind"):
        await watch.optional_objects(KEY, "HTTPRoute")
    await watch.listed(KEY)
    await ended(task)


async def test_scales_are_watched_from_when_a_service_has_a_number_that_is_not_fixed():
    api = Api()
    watch = ObjectWatch(lambda: api, namespaces=(), wake=lambda key: None, kinds=(SCALES,))
    task = await running(watch)
    assert api.listed == []
    for _ in range(2):
        assert set(await watch.scales(KEY)) == {"it"}
    assert api.listed == [("InternVLScale", None)]
    await ended(task)


async def test_scales_that_cannot_be_read_are_a_fault():
    api = Api(missing={"InternVLScale": ApiFault(404, "no such kind")})
    watch = ObjectWatch(lambda: api, namespaces=(), wake=lambda key: None, kinds=(SCALES,))
    task = await running(watch)
    with pytest.raises(ApiFault, match="no such kind"):
        await watch.scales(KEY)
    await ended(task)


async def test_an_empty_cache_is_not_taken_for_an_empty_cluster(monkeypatch):
    monkeypatch.setattr(object_watch, "LIST_WITHIN_S", 0.0)
    watch = ObjectWatch(Api, namespaces=(), wake=lambda key: None)
    with pytest.raises(ApiFault, match="has not come yet") as fault:
        await watch.listed(KEY)
    assert fault.value.may_pass
