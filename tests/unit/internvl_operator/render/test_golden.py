"""Everything that is rendered for two services, against golden files; `make golden` writes them anew.

A change of any byte is seen in a diff: read it.
"""

import os
from pathlib import Path

import pytest
import yaml

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.render import cluster_objects, optional_objects
from internvl_operator.render.cluster_objects import Owner
from internvl_operator.render.groups import pod_shapes, render_group

ROOT = Path(__file__).parents[4]
GOLDEN = Path(__file__).with_name("golden")
OWNER = Owner(ServiceKey("team", "nano"), "0e5a7f2c-1d2e-4c7b-9c55-6a3c6d1b9a10")
OFFER = """
image: registry.test/internvl-runtime:1
imagePullSecrets: [registry]
head: {nodeSelector: {kind: cpu}}
gateway: {nodeSelector: {kind: cpu}}
pools:
  vision:
    nodeSelector: {gpu: l4}
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
    gpus: 1
    memory: 24Gi
    runtimeClassName: nvidia
  language: {nodeSelector: {gpu: h100}, gpus: 2, gpuResource: example.com/gpu, priorityClassName: serving}
"""
CASES = {
    "few-fields": ("internvlservice.pods.yaml", OFFER),
    "all-fields-of-pods": (
        "internvlservice.all-fields-of-pods.yaml",
        f"{OFFER}\nroutes: [HTTPRoute]\nmetrics: {{by: podMonitor, labels: {{release: prometheus}}}}",
    ),
}


class Plain(yaml.SafeDumper):
    """The same words in each pod, instead of a pointer to where they stood first."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def rendered(sample: str, offer_text: str) -> str:
    manifest = yaml.safe_load((ROOT / "manifests/samples" / sample).read_text())
    spec, offer = parse_spec(manifest["spec"]), parse_pod_settings(offer_text)
    shapes = pod_shapes(spec, offer)
    groups = [render_group(OWNER.key, shape, spec.replicas(role)) for role, shape in shapes.items()]
    objects = [
        cluster_objects.render_network_policy(OWNER, operator_namespace="internvl-system"),
        cluster_objects.render_gateway_policy(OWNER),
        cluster_objects.render_ray_cluster(OWNER, offer, groups),
        cluster_objects.render_front(OWNER),
        *cluster_objects.render_budgets(OWNER, {role: spec.replicas(role) for role in Role}),
    ]
    route = optional_objects.render_route(OWNER, spec.gateway)
    if route is not None:
        objects += [route, optional_objects.render_pod_monitor(OWNER, offer.metrics.labels)]
    return yaml.dump_all(objects, Dumper=Plain, sort_keys=False, width=110)


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_what_is_golden(case):
    golden = GOLDEN / f"{case}.yaml"
    text = rendered(*CASES[case])
    if os.environ.get("INTERNVL_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
