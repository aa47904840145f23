"""The operator has the rights that it uses, and no other: the chart's roles against what it asks of the API server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.audit import Right, read_requests
from e2e.platform.chart import RELEASE, SYSTEM
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.labels import FINALIZER
from internvl_operator.api.names import House, Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.render.cluster_objects import (
    Owner,
    render_budgets,
    render_gateway_policy,
    render_next_front,
    render_ray_cluster,
)

ROOT = Path(__file__).parents[3]
ACCOUNT = f"system:serviceaccount:{SYSTEM}:{RELEASE}"
IN_PODS = {"model": {"uri": "file:///models/nano"}, "vision": {"pool": "any"}, "language": {"pool": "any"}}
ROUTES = {
    "httproutes": {"route": {"parentRefs": [{"name": "public"}]}},
    "ingresses": {"ingress": {"host": "a.example.com"}},
}
EVERYTHING = ("--set", "kuberay.routes={HTTPRoute,Ingress},kuberay.metrics.by=podMonitor")
ON_RAY = {"model": {"uri": "file:///models/nano"}, "backend": {"ray": {"address": "http://127.0.0.1:9"}}}


@pytest.fixture
def run_operator(releases, tmp_path):
    """Starts the operator with the release's settings and the rights of its service account; stops it at the end."""
    started = []

    def start():
        config = releases.get(f"/api/v1/namespaces/{SYSTEM}/configmaps/{RELEASE}-pods")
        (tmp_path / "pods.yaml").write_text(config["data"]["pods.yaml"])
        deployment = releases.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{RELEASE}")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        account = releases.plane.service_account_kubeconfig(namespace=SYSTEM, name=RELEASE)
        environment = {item["name"]: item["value"] for item in container["env"]} | {
            "INTERNVL_OPERATOR_PODS_FILE": str(tmp_path / "pods.yaml"),
            "INTERNVL_OPERATOR_DELETION_DEADLINE_S": "1",
            "KUBECONFIG": str(account),
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "runtimes", "engines")),
        }
        with (tmp_path / "operator.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "internvl_operator"], env=environment, stderr=log, stdout=log
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    print((tmp_path / "operator.log").read_text()[-6000:])


def granted(releases, role):
    return Right.of_rules(releases.get(f"/apis/rbac.authorization.k8s.io/v1/{role}")["rules"])


def let_route_come_and_go(releases, service, plural, gateway):
    group = "gateway.networking.k8s.io" if plural == "httproutes" else "networking.k8s.io"
    routes = f"/apis/{group}/v1/namespaces/default/{plural}"
    for wanted, count in ((gateway, 1), (None, 0)):
        answer = releases.plane.client.request(
            "PATCH",
            service,
            {"spec": {"gateway": wanted}},
            content_type="application/merge-patch+json",
        )
        assert answer.status == 200, answer.text
        releases.wait_for(
            f"there are {count} {plural}", lambda count=count: len(releases.get(routes)["items"]) == count
        )


def let_a_number_follow_and_be_fixed_again(releases, service):
    """A side whose number is not fixed has an InternVLScale."""
    scale = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlscales/in-pods-vision"
    for most, holds in (
        (3, lambda found: bool(found and found.get("status"))),
        (None, lambda found: not found),
    ):
        answer = releases.plane.client.request(
            "PATCH",
            service,
            {"spec": {"vision": {"maxReplicas": most}}},
            content_type="application/merge-patch+json",
        )
        assert answer.status == 200, answer.text
        what = f"the scale of a side with maxReplicas {most}"
        releases.wait_for(what, lambda holds=holds: holds(releases.get(scale)))


def leave_a_second_cluster(releases, service):
    """What a change of the head leaves behind for a moment; the operator deletes it."""
    meta = releases.get(service)["metadata"]
    owner = Owner(ServiceKey(meta["namespace"], meta["name"]), meta["uid"])
    offer = parse_pod_settings("image: example.test/internvl-runtime:1")
    left = (
        render_ray_cluster(owner, offer, [], House.SECOND),
        render_next_front(owner, House.SECOND),
        render_gateway_policy(owner, House.SECOND),
        *render_budgets(owner, dict.fromkeys(Role, 1), House.SECOND),
    )
    paths = []
    for manifest in left:
        group, plural = manifest["apiVersion"], f"{manifest['kind'].lower()}s".replace("policys", "policies")
        api = f"/api/{group}" if group == "v1" else f"/apis/{group}"
        path = f"{api}/namespaces/{meta['namespace']}/{plural}"
        answer = releases.plane.client.request("POST", path, manifest)
        assert answer.status == 201, answer.text
        paths.append(f"{path}/{manifest['metadata']['name']}")
    for path in paths:
        releases.wait_for(f"{path} is gone", lambda path=path: releases.get(path) is None)


@pytest.mark.parametrize(
    ("values", "role"),
    [
        ((), f"clusterroles/{SYSTEM}:{RELEASE}"),
        (("--set", "namespaces={default}"), f"namespaces/default/roles/{SYSTEM}:{RELEASE}"),
        (EVERYTHING, f"clusterroles/{SYSTEM}:{RELEASE}"),
    ],
    ids=["cluster-wide", "one-namespace", "everything"],
)
def test_the_operator_needs_each_of_its_rights_and_no_other(
    releases, serve_kind, serve_ray_clusters, run_operator, values, role
):
    since = releases.plane.audit_log.stat().st_size
    serve_ray_clusters(authOptions={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    serve_kind("gateway.networking.k8s.io", "HTTPRoute")
    serve_kind("monitoring.coreos.com", "PodMonitor")
    releases.install("--set-json", 'kuberay.pools={"any": {}}', *values)
    in_pods = releases.create_service("in-pods", IN_PODS, finalizers=[])
    # Held as by a write to a Ray that is away since: letting it go is the patch that services need.
    on_ray = releases.create_service("on-ray", ON_RAY, finalizers=[FINALIZER])
    operator = run_operator()

    ray_cluster = "/apis/ray.io/v1/namespaces/default/rayclusters/in-pods-ray"
    releases.wait_for("the service has its RayCluster", lambda: releases.get(ray_cluster))
    releases.wait_for("its status is told", lambda: releases.get(in_pods).get("status"))
    leave_a_second_cluster(releases, in_pods)
    let_a_number_follow_and_be_fixed_again(releases, in_pods)
    if values is EVERYTHING:
        for plural, gateway in ROUTES.items():
            let_route_come_and_go(releases, in_pods, plural, gateway)
    for path in (in_pods, on_ray):
        releases.plane.client.request("DELETE", path)
        releases.wait_for(f"{path} is gone", lambda path=path: releases.get(path) is None)
    operator.terminate()
    assert operator.wait(timeout=60) == 0

    requests = read_requests(releases.plane.audit_log, user=ACCOUNT, since=since)
    assert [request for request in requests if not request.allowed] == []
    own = {request.right for request in requests if request.namespace == SYSTEM}
    watched = {request.right for request in requests if request.namespace != SYSTEM}
    assert own == granted(releases, f"namespaces/{SYSTEM}/roles/{RELEASE}-own")
    assert watched == granted(releases, role)
