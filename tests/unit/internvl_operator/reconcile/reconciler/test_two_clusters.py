"""A service with two Ray clusters of its own: each is asked and written to at its own address."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House, Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import ClusterSeen, PodSeen, RaySeen, ServiceSeen
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.render.cluster_objects import ObjectId, Owner, render_front, render_ray_cluster
from internvl_operator.render.groups import pod_shapes, render_group
from internvl_operator.settings import Settings

KEY = ServiceKey("team", "nano")
SPEC = {"model": {"uri": "pvc://models/nano"}, "vision": {"pool": "gpu"}, "language": {"pool": "gpu"}}
OFFER = parse_pod_settings("{image: example.test/runtime, pools: {gpu: {gpus: 1}}}")
NEW = parse_pod_settings("{image: example.test/runtime, head: {memory: 5Gi}, pools: {gpu: {gpus: 1}}}")
OWNER = Owner(KEY, "uid-1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE, THERE = (f"http://nano-{house}-head-svc.team.svc:8265" for house in House)


class World:
    """The store, the fleet and the objects of one service; notes what is asked of them."""

    def __init__(self, *, has_second: bool, secret_in_the_way: bool = False):
        shapes = pod_shapes(parse_spec(SPEC), OFFER)
        groups = [render_group(KEY, shape, 1) for shape in shapes.values()]
        found = [render_front(OWNER), render_ray_cluster(OWNER, OFFER, groups)]
        if has_second:
            found.append(render_ray_cluster(OWNER, NEW, groups, House.SECOND))
        houses = [House.FIRST, *([House.SECOND] if has_second else [])]
        named = [("headgroup", "headgroup"), ("gateway", shapes[Role.GATEWAY].group)]
        self.pods = tuple(
            PodSeen(name=f"{house}-{name}", group=group, cluster=f"nano-{house}", phase="Running", ready=True)
            for house in houses
            for name, group in named
        )
        self.found = {ObjectId.of(item): item for item in found}
        self.secret_in_the_way = secret_in_the_way
        self.asked, self.stays, self.submitted, self.applied, self.statuses = [], [], [], [], []
        self.unasked = set()

    async def reconcile(self):
        settings = Settings(pods_file="/etc/pods.yaml")
        reconciler = Reconciler(self, self, settings, now=lambda: NOW, objects=self, offer=NEW)
        return await reconciler.reconcile(KEY)

    # the store

    async def read(self, key):
        return ServiceSeen(key=key, uid="uid-1", generation=1, spec=parse_spec(SPEC))

    async def write_status(self, service, status):
        self.statuses.append(status)

    async def emit_event(self, service, note):
        pass

    # the fleet

    def stay(self, key, homes):
        self.stays.append({home.address for home in homes})

    def snapshot(self, key, home):
        self.asked.append(home.address)
        if home.address in self.unasked:
            return None
        return RaySeen(address=home.address, at=NOW, applications={}, http_address="http://head:8000")

    def submit(self, key, home, applications, remove):
        self.submitted.append((home.address, {item.name for item in applications}))

    def probe_seen(self, key, home):
        return None

    def write_seen(self, key, home):
        return None

    # the objects

    async def observe(self, key):
        return ClusterSeen(objects=self.found, pods=self.pods)

    async def create_token(self, service, house):
        if self.secret_in_the_way:
            raise NotYet("the Secret is there already", delay_s=2.0)
        self.applied.append(f"Secret nano-{house}")

    async def apply(self, key, seen, objects):
        self.applied += [f"{item['kind']} {item['metadata']['name']}" for item in objects]

    async def delete(self, key, identities):
        raise AssertionError("nothing is to be deleted")


async def test_each_cluster_is_written_to_at_its_own_address():
    world = World(has_second=True)
    await world.reconcile()
    assert world.asked == [HERE, THERE] and world.stays == [{HERE, THERE}]
    assert world.submitted == [(THERE, {"team.nano.vision", "team.nano"})], "the first one is left as it is"


async def test_a_second_cluster_is_not_asked_before_its_head_is_ready():
    world = World(has_second=True)
    world.pods = tuple(
        replace(pod, ready=False) if pod.name == "alt-headgroup" else pod for pod in world.pods
    )
    await world.reconcile()
    assert world.asked == [HERE] and world.stays == [{HERE}] and world.submitted == []


@pytest.mark.parametrize("unasked", [HERE, THERE])
async def test_a_process_that_has_not_asked_one_of_them_yet_writes_nothing(unasked):
    world = World(has_second=True)
    world.unasked = {unasked}
    assert await world.reconcile() is None
    assert world.applied == [] and world.submitted == [] and world.statuses == []


async def test_a_token_that_cannot_be_made_yet_holds_up_only_its_own_ray_cluster():
    world = World(has_second=False, secret_in_the_way=True)
    assert await world.reconcile() <= 2.0
    assert "NetworkPolicy nano-ray-alt" in world.applied and "RayCluster nano-alt" not in world.applied
    assert world.statuses, "the status is told"
