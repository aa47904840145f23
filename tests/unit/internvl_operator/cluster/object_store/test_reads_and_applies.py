import pytest

from internvl_operator.api import labels
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.object_store import KubeObjectStore
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.plan.placing import differing
from internvl_operator.render.cluster_objects import ObjectId, Owner, render_front

KEY = ServiceKey("team", "nano")
OWNER = Owner(KEY, "uid-1")


class Kubernetes:
    """Objects by kind and name, and watches that have told of them; each verb may be made to fail."""

    def __init__(self):
        self.objects = {}
        self.faults = {}
        self.applied = []
        self.subscribers = set()

    def _check(self, what):
        if what in self.faults:
            raise self.faults[what]

    async def get_object(self, kind, namespace, name):
        return self.objects.get((kind, name))

    async def apply_object(self, manifest):
        self._check(f"apply {manifest['kind']}")
        self.applied.append(manifest["kind"])
        return manifest

    async def create_object(self, manifest):
        self._check(f"create {manifest['kind']}")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest

    # --- the watches

    def subscribe(self, key):
        self.subscribers.add(key)

    def unsubscribe(self, key):
        self.subscribers.discard(key)

    async def listed(self, key):
        self._check("watch")

    def objects_of(self, key):
        return {
            ObjectId(kind, name): item
            for (kind, name), item in self.objects.items()
            if item["metadata"].get("labels", {}).get(labels.SERVICE) == key.name
        }

    def pods(self, key):
        return ()

    def offer(self, kind, found):
        """Only an offered answer is seen: the stream is late here."""
        self.objects[kind, found["metadata"]["name"]] = {
            part: value for part, value in found.items() if part not in ("kind", "apiVersion")
        }


class Watch:
    """The same, under the names that the watches have."""

    def __init__(self, kubernetes):
        self.objects = kubernetes.objects_of
        for name in ("subscribe", "unsubscribe", "listed", "pods", "offer"):
            setattr(self, name, getattr(kubernetes, name))


@pytest.fixture
def kubernetes():
    return Kubernetes()


@pytest.fixture
def store(kubernetes, clock):
    return KubeObjectStore(kubernetes, Watch(kubernetes), Tokens(b"k" * 32), monotonic=clock.monotonic)


async def apply_front(store):
    await store.apply(KEY, await store.observe(KEY), [render_front(OWNER)])


async def test_what_was_applied_is_observed(store):
    await apply_front(store)
    assert set((await store.observe(KEY)).objects) == {ObjectId("Service", "nano")}


async def test_what_was_applied_counts_as_standing_although_no_kind_is_kept(store):
    await apply_front(store)
    assert differing([render_front(OWNER)], await store.observe(KEY)) == ()


async def test_another_services_object_is_not_ours(store, kubernetes):
    kubernetes.objects["Service", "other"] = render_front(Owner(ServiceKey("team", "other"), "uid-2"))
    assert (await store.observe(KEY)).objects == {}


async def test_a_foreign_object_under_our_name_is_shown_and_not_written_until_it_is_gone(store, kubernetes):
    theirs = {"metadata": {"name": "nano"}, "spec": {"ports": []}}
    kubernetes.objects["Service", "nano"] = theirs
    await apply_front(store)
    assert kubernetes.applied == []
    assert (await store.observe(KEY)).objects[ObjectId("Service", "nano")] == theirs
    del kubernetes.objects["Service", "nano"]
    assert (await store.observe(KEY)).objects == {}
    await apply_front(store)
    assert kubernetes.applied == ["Service"]


async def test_a_cluster_without_the_kind_lacks_kuberay(store, kubernetes):
    kubernetes.faults["watch"] = ApiFault(404, "not found")
    seen = await store.observe(KEY)
    assert seen.trouble is not None and seen.trouble[0] is Reason.KUBERAY_MISSING


async def test_what_is_refused_for_good_is_told_until_it_is_taken(store, kubernetes, clock):
    kubernetes.faults["apply Service"] = ApiFault(403, "the API server answers 403: services is forbidden")
    await apply_front(store)
    refused = (await store.observe(KEY)).refused
    assert "forbidden" in refused[ObjectId("Service", "nano")]
    kubernetes.faults.clear()
    await apply_front(store)
    assert kubernetes.applied == [], "not again at once"
    clock.seconds += 31
    await apply_front(store)
    assert (await store.observe(KEY)).refused == {}


async def test_a_kind_without_a_field_that_is_needed_is_told_apart_until_it_has_it(store, kubernetes, clock):
    sentence = "the API server answers 500: .spec.authOptions: field not declared in schema"
    kubernetes.faults["apply Service"] = ApiFault(500, sentence)
    await apply_front(store)
    seen = await store.observe(KEY)
    assert seen.undeclared == {ObjectId("Service", "nano")} and "authOptions" in str(seen.refused)
    kubernetes.faults.clear()
    clock.seconds += 31
    await apply_front(store)
    assert (await store.observe(KEY)).undeclared == frozenset()


async def test_a_deleted_object_is_applied_again_at_once(store, kubernetes):
    await apply_front(store)
    kubernetes.objects.clear()
    await apply_front(store)
    assert kubernetes.applied == ["Service", "Service"]
    kubernetes.objects.clear()
    with pytest.raises(NotYet):  # somebody deletes it again and again
        await apply_front(store)
    assert kubernetes.applied == ["Service", "Service"]


async def test_an_object_that_somebody_keeps_changing_is_repaired_ever_more_slowly(store, kubernetes, clock):
    pauses = []
    for _ in range(7):
        await apply_front(store)
        kubernetes.objects["Service", "nano"]["spec"] = {"ports": []}
        with pytest.raises(NotYet, match="does not stay") as fault:
            await apply_front(store)
        pauses.append(fault.value.delay_s)
        clock.seconds += fault.value.delay_s
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    clock.seconds += 100
    await apply_front(store)
    with pytest.raises(NotYet) as fault:
        await apply_front(store)
    assert fault.value.delay_s == 1, "it stood for a while"


async def test_another_manifest_is_applied_at_once(store, kubernetes):
    await apply_front(store)
    changed = render_front(OWNER)
    changed["spec"]["ports"][0]["port"] = 81
    await store.apply(KEY, await store.observe(KEY), [changed])
    assert kubernetes.applied == ["Service", "Service"]


async def test_an_api_server_that_is_away_is_waited_for(store, kubernetes):
    kubernetes.faults["watch"] = ApiFault(503, "away")
    with pytest.raises(NotYet):
        await store.observe(KEY)


async def test_a_service_is_woken_by_its_objects_until_it_is_forgotten(store, kubernetes):
    await store.observe(KEY)
    assert kubernetes.subscribers == {KEY}
    store.forget(KEY)
    assert kubernetes.subscribers == set()


SERVICE = ServiceSeen(key=KEY, uid="uid-1", generation=1, spec_error="x")


async def test_the_token_is_created_once_and_belongs_to_the_service(store, kubernetes):
    await store.create_token(SERVICE, House.FIRST)
    secret = kubernetes.objects["Secret", "nano-ray"]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert len(secret["stringData"]["auth_token"]) == 43
    kubernetes.faults["create Secret"] = ApiFault(409, "already exists")
    await store.create_token(SERVICE, House.FIRST)


async def test_each_ray_cluster_has_a_secret_under_its_name_with_the_services_token(store, kubernetes):
    for house in House:
        await store.create_token(SERVICE, house)
    first, second = kubernetes.objects["Secret", "nano-ray"], kubernetes.objects["Secret", "nano-alt"]
    assert first["stringData"] == second["stringData"]


async def test_a_secret_that_stands_already_may_be_an_earlier_services_and_is_waited_for(
    store, kubernetes, clock
):
    kubernetes.faults["create Secret"] = ApiFault(409, "already exists")
    for _ in range(2):
        with pytest.raises(NotYet):
            await store.create_token(SERVICE, House.FIRST)
        clock.seconds += 5
    clock.seconds += 30
    await store.create_token(SERVICE, House.FIRST)  # ours, made by a process before this one


async def test_an_object_of_ours_that_lost_its_label_is_written_again_at_once(store, kubernetes):
    await apply_front(store)
    metadata = {key: value for key, value in kubernetes.objects["Service", "nano"]["metadata"].items()}
    kubernetes.objects["Service", "nano"] = {"metadata": {**metadata, "labels": {}}, "spec": {}}
    assert (await store.observe(KEY)).objects == {}, "the watch has lost sight of it"
    await apply_front(store)
    assert kubernetes.applied == ["Service", "Service"]
    assert ObjectId("Service", "nano") in (await store.observe(KEY)).objects
