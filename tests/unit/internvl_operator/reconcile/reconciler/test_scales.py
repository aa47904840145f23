"""InternVLScales in a reconcile: read for services whose numbers are not fixed, and in nobody's way."""

from datetime import UTC, datetime

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import RaySeen, ScaleSeen, ScalesSeen, ServiceSeen
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.settings import Settings

KEY = ServiceKey("team", "nano")
ADDRESS = "http://ray:8265"
SCALED = {"model": {"uri": "file:///m"}, "vision": {"maxReplicas": 4, "scaledBy": "External"}}
FIXED = {"model": {"uri": "file:///m"}}


class World:
    """Store, Ray side and InternVLScales of one service; keeps book of what is done, in order."""

    def __init__(self, spec):
        self.service = ServiceSeen(key=KEY, uid="uid-1", generation=1, spec=parse_spec(spec))
        self.seen = ScalesSeen()
        self.fault = None
        self.done = []
        self.submitted = ()

    def reconciler(self):
        return Reconciler(
            self,
            self,
            Settings(ray_address=ADDRESS),
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            scales=self,
        )

    # the store

    async def read(self, key):
        return self.service

    async def write_status(self, service, status):
        self.done.append("status")

    async def change_finalizer(self, service, change):
        pass

    async def emit_event(self, service, note):
        pass

    # the Ray side

    def snapshot(self, key, home):
        return RaySeen(address=ADDRESS, at=datetime(2026, 1, 1, tzinfo=UTC), applications={})

    def stay(self, key, homes):
        pass

    def probe_seen(self, key, home):
        return None

    def write_seen(self, key, home):
        return None

    def submit(self, key, home, applications, remove):
        self.done.append("write")
        self.submitted = applications

    def release(self, key):
        pass

    # the InternVLScales

    async def observe(self, key):
        self.done.append("observe")
        return self.seen

    async def carry_out(self, service, seen, errand):
        self.done.append("scales")
        if self.fault is not None:
            raise self.fault

    def forget(self, key):
        self.done.append("forget")


@pytest.fixture
def worlds():
    return World


async def test_the_objects_are_made_before_the_status_tells_of_them(worlds):
    world = worlds(SCALED)
    await world.reconciler().reconcile(KEY)
    assert world.done == ["observe", "write", "scales", "status"]


async def test_a_number_that_somebody_wrote_is_what_is_submitted(worlds):
    world = worlds(SCALED)
    found = ScaleSeen(name="nano-vision", service_uid="uid-1", owner="External", replicas=3, writer="kubectl")
    world.seen = ScalesSeen(objects={found.name: found})
    await world.reconciler().reconcile(KEY)
    vision = next(item for item in world.submitted if item.name == "team.nano.vision")
    assert vision.deployments[0].num_replicas == 3


async def test_what_the_api_server_cannot_take_now_holds_up_nothing_else(worlds):
    world = worlds(SCALED)
    world.fault = NotYet("away", delay_s=1.5)
    assert await world.reconciler().reconcile(KEY) == 1.5
    assert world.done[-1] == "status"


async def test_of_a_service_with_fixed_numbers_nothing_is_read_or_written(worlds):
    world = worlds(FIXED)
    await world.reconciler().reconcile(KEY)
    assert "observe" not in world.done and "scales" not in world.done


async def test_of_a_service_that_is_gone_nothing_is_kept(worlds):
    world = worlds(SCALED)
    reconciler = world.reconciler()
    await reconciler.reconcile(KEY)
    world.service = None
    await reconciler.reconcile(KEY)
    assert world.done[-1] == "forget"
