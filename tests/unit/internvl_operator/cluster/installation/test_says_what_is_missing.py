from datetime import UTC, datetime, timedelta

import pytest

from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.cluster.installation import Installation, wait_for_installation
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.settings import Settings

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OFFER = parse_pod_settings("{image: 'r:1', pools: {a: {}}}")


def lease(holder="one", age_s=3.0):
    return {"spec": {"holderIdentity": holder, "renewTime": (NOW - timedelta(seconds=age_s)).isoformat()}}


class Kubernetes:
    """Whole, until something is taken away."""

    def __init__(self):
        self.kind = True
        self.lease = lease()
        self.fault = None
        self.dry_runs = []

    async def has_service_kind(self, namespace):
        return self.kind

    async def read_lease(self, namespace, name):
        if self.lease is None:
            raise ApiFault(404, "the API server answers 404: leases not found")
        return self.lease

    async def apply_object(self, manifest, *, dry_run=False):
        assert dry_run, "a check writes nothing"
        self.dry_runs.append(manifest)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def kubernetes():
    return Kubernetes()


async def missing(kubernetes, offer=OFFER, settings=None):
    return await Installation(kubernetes, settings or Settings(), offer).missing(NOW)


async def test_a_whole_installation_lacks_nothing(kubernetes):
    assert await missing(kubernetes) == []
    (cluster,) = kubernetes.dry_runs
    assert cluster["metadata"]["namespace"] == "internvl-system"
    assert cluster["spec"]["authOptions"] == {"mode": "token"}


async def test_a_kind_that_is_not_served_is_named_with_the_fix(kubernetes):
    kubernetes.kind = False
    (sentence,) = await missing(kubernetes)
    assert "InternVLService" in sentence and "crds.install" in sentence


@pytest.mark.parametrize(
    ("found", "word"),
    [(None, "404"), (lease(holder=""), "nobody holds"), (lease(age_s=61), "not renewed for 61 s by one")],
)
async def test_a_lease_that_nobody_keeps_is_named(kubernetes, found, word):
    kubernetes.lease = found
    (sentence,) = await missing(kubernetes)
    assert "internvl-system/internvl-operator" in sentence and word in sentence


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ApiFault(404, "404: not found"), "KubeRayMissing"),
        (ApiFault(500, "500: .spec.authOptions: field not declared in schema"), "KubeRayTooOld"),
        (ApiFault(403, "403: rayclusters is forbidden"), "KubernetesRefused"),
    ],
)
async def test_what_is_wrong_with_kuberay_is_told_by_its_reason(kubernetes, fault, reason):
    kubernetes.fault = fault
    (sentence,) = await missing(kubernetes)
    assert sentence.startswith(f"{reason}: ") and fault.message in sentence


async def test_without_pods_kuberay_is_not_asked_for(kubernetes):
    kubernetes.fault = ApiFault(404, "not found")
    assert await missing(kubernetes, offer=None) == []
    assert kubernetes.dry_runs == []


async def test_rights_in_one_namespace_are_tried_there(kubernetes):
    await missing(kubernetes, settings=Settings(namespaces=("team-a", "team-b")))
    assert kubernetes.dry_runs[0]["metadata"]["namespace"] == "team-a"


async def wait(kubernetes, clock, said, heals_at_s=None):
    async def sleep(seconds):
        clock["s"] += seconds
        if heals_at_s is not None and clock["s"] >= heals_at_s:
            kubernetes.kind = True

    installation = Installation(kubernetes, Settings(), OFFER)
    now = lambda: NOW + timedelta(seconds=clock["s"])  # noqa: E731
    return await wait_for_installation(installation, said.append, now=now, sleep=sleep)


async def test_what_comes_in_time_is_waited_for(kubernetes):
    kubernetes.kind, clock, said = False, {"s": 0.0}, []
    assert await wait(kubernetes, clock, said, heals_at_s=10)
    assert clock["s"] == 10 and said[0].startswith("ok: ")


async def test_what_never_comes_is_told_at_the_end(kubernetes):
    kubernetes.kind, clock, said = False, {"s": 0.0}, []
    assert not await wait(kubernetes, clock, said)
    assert clock["s"] == 60 and said[0].startswith("missing: the kind InternVLService")
