import copy
from typing import Any

import pytest

from internvl_operator.api import labels
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import Status
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.service_store import EVENT_BURST, KubeServiceStore, see_service
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.plan.decision import EventKind, EventNote, FinalizerChange

KEY = ServiceKey("ns", "a")


class Api:
    """One object with Kubernetes' optimistic locking."""

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = {
            "metadata": {
                "namespace": "ns",
                "name": "a",
                "uid": "u1",
                "generation": 3,
                "resourceVersion": "1",
                "finalizers": ["theirs/one", labels.FINALIZER, "theirs/two"],
            },
            "spec": {"model": {"uri": "file:///m"}},
        }
        self.between = lambda: None
        self.fault: ApiFault | None = None
        self.events: list[dict[str, Any]] = []
        self.writes = 0

    async def get_service(self, namespace, name):
        if self.fault:
            raise self.fault
        return copy.deepcopy(self.found)

    async def replace_finalizers(self, found, finalizers):
        self.between()
        assert self.found is not None
        if found["metadata"]["resourceVersion"] != self.found["metadata"]["resourceVersion"]:
            raise ApiFault(409, "modified")
        self.writes += 1
        self.found["metadata"]["finalizers"] = finalizers
        self.touch()

    async def apply_status(self, namespace, name, uid, status):
        if self.fault:
            raise self.fault

    async def create_event(self, event):
        self.events.append(event)

    def touch(self) -> None:
        meta = self.found["metadata"]
        meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def store(api, clock):
    return KubeServiceStore(api, identity="me", monotonic=clock.monotonic)


async def test_only_our_finalizer_goes(api, store):
    service = await store.read(KEY)

    await store.change_finalizer(service, FinalizerChange.REMOVE)

    assert api.found["metadata"]["finalizers"] == ["theirs/one", "theirs/two"]


async def test_a_finalizer_that_somebody_adds_at_that_moment_stays(api, store):
    def add_theirs() -> None:
        api.between = lambda: None
        api.found["metadata"]["finalizers"].append("theirs/three")
        api.touch()

    service = await store.read(KEY)
    api.between = add_theirs
    await store.change_finalizer(service, FinalizerChange.REMOVE)

    assert api.found["metadata"]["finalizers"] == ["theirs/one", "theirs/two", "theirs/three"]


async def test_adding_what_is_there_writes_nothing(api, store):
    await store.change_finalizer(await store.read(KEY), FinalizerChange.ADD)

    assert api.writes == 0


async def test_an_object_of_the_same_name_but_another_life_is_not_touched(api, store):
    service = await store.read(KEY)
    api.found["metadata"]["uid"] = "u2"

    await store.change_finalizer(service, FinalizerChange.REMOVE)

    assert api.writes == 0


@pytest.mark.parametrize("ending", ["gone", "another", "deleting"])
async def test_an_object_that_ends_before_it_has_our_finalizer_stops_what_would_follow(api, store, ending):
    """Else its applications would be written to Serve, and nobody would ever remove them."""
    service = await store.read(KEY)
    if ending == "gone":
        api.found = None
    elif ending == "another":
        api.found["metadata"]["uid"] = "u2"
    else:
        api.found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:05Z"

    with pytest.raises(NotYet):
        await store.change_finalizer(service, FinalizerChange.ADD)


async def test_a_finalizer_that_is_gone_with_its_object_need_not_be_removed(api, store):
    service = await store.read(KEY)
    api.found = None

    await store.change_finalizer(service, FinalizerChange.REMOVE)


async def test_endless_conflicts_are_tried_again_later(api, store):
    service = await store.read(KEY)
    api.between = api.touch

    with pytest.raises(NotYet):
        await store.change_finalizer(service, FinalizerChange.REMOVE)


@pytest.mark.parametrize(
    ("code", "expected"), [(0, NotYet), (503, NotYet), (429, NotYet), (403, Rejected), (422, Rejected)]
)
async def test_a_fault_says_whether_trying_again_can_help(api, store, code, expected):
    api.fault = ApiFault(code, "no")

    with pytest.raises(expected):
        await store.read(KEY)


@pytest.mark.parametrize("code", [404, 409])
async def test_a_status_for_an_object_that_is_gone_is_dropped(api, store, code):
    service = await store.read(KEY)
    api.fault = ApiFault(code, "gone")

    await store.write_status(service, Status())


async def test_a_service_cannot_flood_the_cluster_with_events(api, store, clock):
    service = await store.read(KEY)
    note = EventNote(kind=EventKind.WARNING, reason=Reason.PROBE_FAILED, message="x" * 5000)

    for _ in range(3 * EVENT_BURST):
        await store.emit_event(service, note)
    assert len(api.events) == EVENT_BURST
    assert len(api.events[0]["note"]) == 1024

    clock.seconds += 61.0
    await store.emit_event(service, note)
    assert len(api.events) == EVENT_BURST + 1


def test_a_spec_that_cannot_be_read_is_a_value_and_not_an_exception(api):
    api.found["spec"] = {"model": {"uri": "file:///m"}, "vision": {"pol": "x"}}

    seen = see_service(api.found)

    assert seen.spec is None
    assert "spec.vision.pol" in seen.spec_error


def test_what_kubernetes_says_of_a_deletion_is_understood(api):
    api.found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:05Z"

    seen = see_service(api.found)

    assert seen.deleting_since.isoformat() == "2026-01-01T00:00:05+00:00"
    assert seen.has_finalizer
