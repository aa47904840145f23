import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.cluster.object_store import KubeObjectStore, see_pod
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.plan.placing import differing
from internvl_operator.render.cluster_objects import ObjectId, Owner, render_front

KEY = ServiceKey("team", "nano")
OWNER = Owner(KEY, "uid-1")


class Kubernetes:
    """Objects by kind and name; each verb may be made to fail."""

    def __init__(self):
        self.objects = {}
        self.faults = {}
        self.applied = []

    def _check(self, what):
        if what in self.faults:
            raise self.faults[what]

    async def list_objects(self, kind, namespace, selector):
        self._check(f"list {kind}")
        return [
            {part: value for part, value in item.items() if part not in ("kind", "apiVersion")}
            for (known, _), item in self.objects.items()
            if known == kind and selector.items() <= item["metadata"].get("labels", {}).items()
        ]

    async def get_object(self, kind, namespace, name):
        return self.objects.get((kind, name))

    async def apply_object(self, manifest):
        self._check(f"apply {manifest['kind']}")
        self.applied.append(manifest["kind"])
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest

    async def create_object(self, manifest):
        self._check(f"create {manifest['kind']}")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest


@pytest.fixture
def kubernetes():
    return Kubernetes()


@pytest.fixture
def store(kubernetes, clock):
    return KubeObjectStore(kubernetes, Tokens(b"k" * 32), monotonic=clock.monotonic)


async def apply_front(store):
    await store.apply(KEY, await store.observe(KEY), [render_front(OWNER)])


async def test_what_was_applied_is_observed(store):
    await apply_front(store)
    assert set((await store.observe(KEY)).objects) == {ObjectId("Service", "nano")}


async def test_what_was_applied_counts_as_standing_although_lists_name_no_kind(store):
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
    kubernetes.faults["list RayCluster"] = ApiFault(404, "not found")
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


async def test_an_api_server_that_is_away_is_waited_for(store, kubernetes):
    kubernetes.faults["list Pod"] = ApiFault(503, "away")
    with pytest.raises(NotYet):
        await store.observe(KEY)


SERVICE = ServiceSeen(key=KEY, uid="uid-1", generation=1, spec_error="x")


async def test_the_token_is_created_once_and_belongs_to_the_service(store, kubernetes):
    await store.create_token(SERVICE)
    secret = kubernetes.objects["Secret", "nano-ray"]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert len(secret["stringData"]["auth_token"]) == 43
    kubernetes.faults["create Secret"] = ApiFault(409, "already exists")
    await store.create_token(SERVICE)


async def test_a_secret_that_stands_already_may_be_an_earlier_services_and_is_waited_for(
    store, kubernetes, clock
):
    kubernetes.faults["create Secret"] = ApiFault(409, "already exists")
    for _ in range(2):
        with pytest.raises(NotYet):
            await store.create_token(SERVICE)
        clock.seconds += 5
    clock.seconds += 30
    await store.create_token(SERVICE)  # ours, made by a process before this one


@pytest.mark.parametrize(
    ("status", "trouble", "detail"),
    [
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, "", ""),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes",
                    }
                ],
            },
            "Unschedulable",
            "0/3 nodes",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}}
                ],
            },
            "ErrImageNeverPull",
            "not present",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ],
            },
            "CrashLoopBackOff",
            "back-off (last ended with 137: OOMKilled)",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}],
            },
            "",
            "",
        ),
    ],
)
def test_a_pod_is_read_with_what_is_wrong_with_it(status, trouble, detail):
    seen = see_pod({"metadata": {"name": "p", "labels": {"ray.io/group": "g"}}, "status": status})
    assert (seen.trouble, seen.detail) == (trouble, detail)
    assert seen.ready is (status["phase"] == "Running" and not trouble)
