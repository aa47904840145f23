"""The first reconcile of a process, about a service whose Ray cluster in pods has been running for long."""

from datetime import UTC, datetime

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.observation import ClusterSeen, PodSeen, ServiceSeen
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.settings import Settings

KEY = ServiceKey("team", "nano")
SPEC = {"model": {"uri": "pvc://models/nano"}, "vision": {"pool": "gpu"}, "language": {"pool": "gpu"}}
OFFER = parse_pod_settings("{image: example.test/runtime, pools: {gpu: {gpus: 1}}}")


class Store:
    """Holds one service and counts what is written."""

    def __init__(self):
        self.written = []

    async def read(self, key):
        return ServiceSeen(key=key, uid="uid-1", generation=1, spec=parse_spec(SPEC))

    async def write_status(self, service, status):
        self.written.append(status)

    async def emit_event(self, service, note):
        self.written.append(note)


class Fleet:
    """Was started just now: no address was asked yet."""

    def __init__(self):
        self.homes = []

    def snapshot(self, key, home):
        self.homes.append(home)

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


async def reconcile(*pods):
    store, fleet, objects = Store(), Fleet(), Objects(*pods)
    settings = Settings(pods_file="/etc/pods.yaml")
    reconciler = Reconciler(
        store, fleet, settings, now=lambda: datetime(2026, 1, 1, tzinfo=UTC), objects=objects, offer=OFFER
    )
    again_s = await reconciler.reconcile(KEY)
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
