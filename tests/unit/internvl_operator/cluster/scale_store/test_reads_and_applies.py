import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.scaling_spec import ScaledBy
from internvl_operator.api.spec import parse_spec
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.observe_scale import see_scale
from internvl_operator.cluster.scale_store import AGAIN_S, KubeScaleStore
from internvl_operator.errors import NotYet
from internvl_operator.plan.decision import ScaleErrand
from internvl_operator.plan.observation import ScalesSeen, ServiceSeen
from internvl_operator.render.cluster_objects import Owner
from internvl_operator.render.scale_objects import render_scale, render_scale_status, scale_status

KEY = ServiceKey("team", "nano")
OWNER = Owner(KEY, "uid-1")
SERVICE = ServiceSeen(key=KEY, uid="uid-1", generation=1, spec=parse_spec({"model": {"uri": "file:///m"}}))
OBJECT = render_scale(OWNER, Role.VISION, scaled_by=ScaledBy.OPERATOR, replicas=2)
STATUS = render_scale_status(
    OWNER, Role.VISION, scale_status(OWNER, Role.VISION, running=2, scaled_by="operator")
)


class Kubernetes:
    """Objects by name; each verb may be made to fail."""

    def __init__(self):
        self.objects = {}
        self.faults = {}
        self.asked = []

    def ask(self, what):
        self.asked.append(what)
        if what in self.faults:
            raise self.faults[what]

    async def get_object(self, kind, namespace, name):
        self.ask("get")
        return self.objects.get(name)

    async def apply_object(self, manifest):
        self.ask("apply")
        self.objects[manifest["metadata"]["name"]] = manifest
        return manifest

    async def apply_object_status(self, manifest):
        self.ask("apply status")
        return {**self.objects[manifest["metadata"]["name"]], "status": manifest["status"]}

    async def delete_object(self, kind, namespace, name):
        self.ask("delete")
        self.objects.pop(name, None)


class Watch:
    """Knows what it was offered."""

    def __init__(self):
        self.fault = None
        self.known = {}
        self.subscribers = set()

    def subscribe(self, key):
        self.subscribers.add(key)

    def unsubscribe(self, key):
        self.subscribers.discard(key)

    async def scales(self, key):
        if self.fault is not None:
            raise self.fault
        return dict(self.known)

    def offer(self, kind, found):
        self.known[found["metadata"]["name"]] = see_scale(found)


class World:
    def __init__(self):
        self.kubernetes, self.watch, self.seconds = Kubernetes(), Watch(), 100.0
        self.store = KubeScaleStore(self.kubernetes, self.watch, monotonic=lambda: self.seconds)

    async def carry_out(self, *objects, statuses=(), delete=()):
        seen = await self.store.observe(KEY)
        await self.store.carry_out(
            SERVICE, seen, ScaleErrand(objects=objects, statuses=statuses, delete=delete)
        )
        return await self.store.observe(KEY)


@pytest.fixture
def world():
    return World()


async def test_who_is_observed_is_woken_from_then_on_and_not_when_it_is_forgotten(world):
    assert await world.store.observe(KEY) == ScalesSeen()
    assert world.watch.subscribers == {KEY}
    world.store.forget(KEY)
    assert not world.watch.subscribers


async def test_what_was_written_is_seen_before_the_stream_tells_of_it(world):
    seen = await world.carry_out(OBJECT, statuses=(STATUS,))
    assert (seen.objects["nano-vision"].replicas, seen.objects["nano-vision"].status.replicas) == (2, 2)
    assert world.kubernetes.asked == ["get", "apply", "apply status"]


async def test_an_object_that_is_seen_is_applied_without_a_read(world):
    await world.carry_out(OBJECT)
    world.kubernetes.asked.clear()
    await world.carry_out({**OBJECT, "spec": {**OBJECT["spec"], "replicas": 3, "decided": 3}})
    assert world.kubernetes.asked == ["apply"]


async def test_an_object_of_somebody_else_is_not_touched_and_is_named(world):
    world.kubernetes.objects["nano-vision"] = {"metadata": {"name": "nano-vision"}}
    seen = await world.carry_out(OBJECT)
    assert "InternVLScale nano-vision exists and does not belong to this service" in seen.trouble
    assert seen.is_readable and world.kubernetes.asked == ["get"]
    del world.kubernetes.objects["nano-vision"]
    world.seconds += AGAIN_S
    assert not (await world.carry_out(OBJECT)).trouble


async def test_one_of_ours_that_lost_its_label_is_applied(world):
    world.kubernetes.objects["nano-vision"] = OBJECT
    assert not (await world.carry_out(OBJECT)).trouble
    assert "apply" in world.kubernetes.asked


async def test_what_somebody_undoes_is_not_applied_again_at_once(world):
    await world.carry_out(OBJECT)
    with pytest.raises(NotYet, match="does not stay"):
        await world.carry_out(OBJECT)
    world.seconds += AGAIN_S
    await world.carry_out(OBJECT)
    assert world.kubernetes.asked.count("apply") == 2


async def test_what_is_refused_for_good_is_said_until_it_is_taken(world):
    world.kubernetes.faults["apply"] = ApiFault(403, "the API server answers 403: forbidden.")
    seen = await world.carry_out(OBJECT)
    assert (
        seen.trouble == "InternVLScale nano-vision: the API server answers 403: forbidden; it is tried again"
    )
    world.kubernetes.faults.clear()
    world.seconds += AGAIN_S
    assert not (await world.carry_out(OBJECT)).trouble


async def test_an_outage_is_a_pause_after_which_the_same_is_applied_at_once(world):
    world.kubernetes.faults["apply"] = ApiFault(0, "away")
    with pytest.raises(NotYet, match="away"):
        await world.carry_out(OBJECT)
    world.kubernetes.faults.clear()
    assert "nano-vision" in (await world.carry_out(OBJECT)).objects


async def test_what_nobody_wants_is_deleted(world):
    await world.carry_out(OBJECT)
    await world.carry_out(delete=("nano-vision",))
    assert not world.kubernetes.objects


async def test_a_status_for_an_object_that_just_went_is_a_pause(world):
    world.kubernetes.faults["apply status"] = ApiFault(404, "not found")
    with pytest.raises(NotYet):
        await world.carry_out(statuses=(STATUS,))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (ApiFault(404, "not found"), "manifests/crds, or the chart's value crds.install"),
        (ApiFault(403, "forbidden."), "InternVLScales cannot be read: forbidden"),
    ],
    ids=["no such kind", "no right"],
)
async def test_what_cannot_be_read_is_said_with_what_to_do(world, fault, sentence):
    world.watch.fault = fault
    seen = await world.store.observe(KEY)
    assert not seen.is_readable and seen.trouble.endswith(sentence + ")" * fault.is_gone)


async def test_an_unlisted_kind_is_not_taken_for_one_without_objects(world):
    world.watch.fault = ApiFault(0, "the first list has not come yet")
    with pytest.raises(NotYet):
        await world.store.observe(KEY)
