"""The first reconcile of a process, about a service whose Ray cluster in pods has been running for long."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.observation import ClusterSeen, PodSeen, RayUnavailable, ServiceSeen
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.settings import Settings

KEY = ServiceKey("team", "nano")
SPEC = {"model": {"uri": "pvc://models/nano"}, "vision": {"pool": "gpu"}, "language": {"pool": "gpu"}}
SERVICE = ServiceSeen(key=KEY, uid="uid-1", generation=1, spec=parse_spec(SPEC))
OFFER = parse_pod_settings("{image: example.test/runtime, pools: {gpu: {gpus: 1}}}")


class Store:
    """Holds one service and counts what is written."""

    def __init__(self):
        self.written = []
        self.reads = 0

    async def read(self, key):
        self.reads += 1
        return SERVICE

    async def write_status(self, service, status):
        self.written.append(status)

    async def emit_event(self, service, note):
        self.written.append(note)


class Fleet:
    """Was started just now: no address was asked yet."""

    def __init__(self):
        self.homes = []
        self.answer = None

    def snapshot(self, key, home):
        self.homes.append(home)
        return self.answer

    def stay(self, key, homes):
        pass

    def probe_seen(self, key, home):
        return None

    def write_seen(self, key, home):
        return None


class Objects:
    """Everything that a test says stands."""

    def __init__(self, *pods):
        self.pods = pods
        self.applied = []

    async def observe(self, key):
        return ClusterSeen(objects={}, pods=self.pods)

    async def create_token(self, service, house):
        self.applied.append("Secret")

    async def apply(self, key, seen, objects):
        self.applied += [item["kind"] for item in objects]


def pod(*, ready):
    return PodSeen(name="head", group="headgroup", cluster="nano-ray", phase="Running", ready=ready)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def started(store, fleet, objects):
    settings = Settings(pods_file="/etc/pods.yaml")
    return Reconciler(store, fleet, settings, now=lambda: NOW, objects=objects, offer=OFFER)


async def reconcile(*pods):
    store, fleet, objects = Store(), Fleet(), Objects(*pods)
    again_s = await started(store, fleet, objects).reconcile(KEY)
    return again_s, store.written, objects.applied, fleet.homes


async def test_nothing_is_written_before_the_first_answer_of_a_ray_whose_head_is_ready():
    again_s, written, applied, homes = await reconcile(pod(ready=True))
    assert (again_s, written, applied) == (None, [], [])
    assert homes[0].owner == KEY, "the address is asked from now on, and its first answer wakes the service"


@pytest.mark.parametrize("pods", [(), (pod(ready=False),)])
async def test_a_ray_cluster_that_cannot_answer_yet_is_made_without_waiting_for_it(pods):
    _, written, applied, _ = await reconcile(*pods)
    assert "RayCluster" in applied
    assert written


class Told:
    """An operator whose watch has delivered the service with generation 7; a read finds generation 1."""

    def __init__(self):
        self.store, self.fleet = Store(), Fleet()
        self.reconciler = started(self.store, self.fleet, Objects(pod(ready=True)))
        self.reconciler.tell(KEY, replace(SERVICE, generation=7))

    async def reconcile(self):
        """Generations that were written to the status."""
        self.store.written.clear()
        await self.reconciler.reconcile(KEY)
        return [item.observed_generation for item in self.store.written if hasattr(item, "conditions")]

    def ray_answers(self):
        self.fleet.answer = RayUnavailable(
            address="http://nano-ray-head-svc.team.svc:8265",
            since=NOW,
            reason=Reason.RAY_UNREACHABLE,
            message="refused",
        )


async def test_the_first_decision_rests_on_what_the_watch_delivered_and_later_ones_on_a_read():
    told = Told()
    assert await told.reconcile() == []
    told.ray_answers()
    assert await told.reconcile() == [7]
    assert told.store.reads == 0

    assert await told.reconcile() == [1]
    told.reconciler.tell(KEY, replace(SERVICE, generation=8))
    assert await told.reconcile() == [1]
    assert told.store.reads == 2


async def test_the_first_decision_rests_on_the_newest_that_was_delivered():
    told = Told()
    assert await told.reconcile() == []
    told.ray_answers()
    told.reconciler.tell(KEY, replace(SERVICE, generation=8))

    assert await told.reconcile() == [8]


@pytest.mark.parametrize("delivered", [None, replace(SERVICE, generation=8, deleting_since=NOW)])
async def test_a_service_that_went_or_goes_is_read(delivered):
    told = Told()
    told.ray_answers()
    told.reconciler.tell(KEY, delivered)

    assert await told.reconcile() == [1]
    assert told.store.reads == 1
