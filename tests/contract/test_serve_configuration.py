"""What the operator writes, read by those who get it: Ray's own schema and the runtime's own types."""

import json
import warnings
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS
from internvl_operator.api.spec import parse_spec
from internvl_operator.render.serve_config import render_applications, shared_site
from internvl_operator.render.serve_schema import HttpOptions, ServeConfig, parse_application
from internvl_operator.scaling.model import SIDES
from internvl_runtimes.contract.serve_args import (
    ApplicationArgs,
    GatewayConfig,
    LanguageConfig,
    VisionConfig,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own use of pydantic is not ours to mend
    from ray.serve._private.config import DeploymentConfig
    from ray.serve._private.deploy_utils import get_app_code_version
    from ray.serve._private.version import DeploymentVersion
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

KEY = ServiceKey("team", "nano")
SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))
CONFIGS = {"VisionEncoder": VisionConfig, "LanguageModel": LanguageConfig, "Gateway": GatewayConfig}
RESTS = {"minReplicas": 0, "maxReplicas": 3}
SIDE = {
    "pool": st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True),
    "minReplicas": st.integers(1, 9),
    "cpu": st.sampled_from([1, "100m", "2.5"]),
    "memory": st.sampled_from(["64Mi", "1.5Gi"]),
}
SPECS = st.fixed_dictionaries(
    {"model": st.just({"uri": "file:///m/nano", "revision": "sha256:" + "0" * 12})},
    optional={
        "vision": st.one_of(
            st.fixed_dictionaries({}, optional={**SIDE, "maxTilesPerImage": st.integers(1, 40)}),
            st.just(RESTS),
        ),
        "language": st.one_of(
            st.fixed_dictionaries({}, optional={**SIDE, "maxModelLen": st.integers(16, 99)}),
            st.just(RESTS),
        ),
    },
).filter(lambda spec: spec.get("language") != RESTS or spec.get("vision") == RESTS)


def render(spec):
    key, parsed = ServiceKey("team", "nano"), parse_spec(spec)
    return render_applications(key, parsed, shared_site(key, parsed), artifact_stores=("file:///s",))


@settings(max_examples=50)
@given(SPECS)
def test_ray_gives_back_exactly_what_was_written(spec):
    """Serve reports `deployed_app_config` without what was not set: it must equal what the plan compares with."""
    applications = render(spec)
    config = ServeConfig(http_options=HttpOptions(host="127.0.0.1", port=8000), applications=applications)
    parsed = ServeDeploySchema.model_validate(json.loads(config.to_json()))
    shown = [json.loads(item.model_dump_json(exclude_unset=True)) for item in parsed.applications]
    for application, deployed in zip(applications, shown, strict=True):
        assert application.matches(deployed)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_runtime_reads_every_sample(path):
    for application in render(yaml.safe_load(path.read_text())["spec"]):
        ApplicationArgs.model_validate(application.args)
        for deployment in application.deployments:
            config = CONFIGS[deployment.name].model_validate(deployment.user_config)
            assert config.generation
            assert config.model_dump(mode="json", exclude_none=True) == deployment.user_config


@settings(max_examples=50)
@given(SPECS)
def test_the_runtime_reads_whatever_the_schema_allows(spec):
    for application in render(spec):
        for deployment in application.deployments:
            CONFIGS[deployment.name].model_validate(json.loads(json.dumps(deployment.user_config)))


def test_ray_refuses_no_pool_that_the_schema_allows():
    config = ServeConfig(applications=render({"model": {"uri": "file:///m"}, "vision": {"pool": "a.B_c-9"}}))
    parsed = ServeDeploySchema.model_validate(json.loads(config.to_json()))
    options = parsed.applications[0].deployments[0].ray_actor_options
    assert options.label_selector == {"serving.internvl.io/pool": "a.B_c-9"}


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("role", SIDES)
def test_ray_takes_each_number_of_a_side_that_may_rest_without_a_new_build(role, count):
    parsed = parse_spec({"model": {"uri": "file:///m"}, "vision": RESTS, "language": RESTS})
    sized = parsed.model_copy(
        update={role.value: parsed.role(role).model_copy(update={"min_replicas": count})}
    )
    versions, generations = set(), set()
    for spec in (parsed, sized):
        application = render_applications(KEY, spec, shared_site(KEY, spec))[SIDES.index(role)]
        read = ServeDeploySchema.model_validate({"applications": [application.to_mapping()]}).applications[0]
        versions.add(get_app_code_version(read))
        generations.add(application.deployment(DEPLOYMENTS[role]).user_config["generation"])
    (entry,) = (item for item in read.deployments if item.name == DEPLOYMENTS[role])
    assert entry.autoscaling_config["initial_replicas"] == count
    assert len(versions) == len(generations) == 1
    assert parse_application(application.to_mapping()) == application
    scaled = application.scaled({DEPLOYMENTS[role]: 2})
    assert scaled.deployment(DEPLOYMENTS[role]).num_replicas == 2


def test_another_number_of_a_vision_that_may_rest_is_no_other_version_to_ray():
    """Serve then touches no replica that stays, not even one that it has started by itself for a picture."""
    spec = parse_spec({"model": {"uri": "file:///m"}, "vision": {"minReplicas": 0, "maxReplicas": 3}})
    (vision,) = render_applications(KEY, spec, shared_site(KEY, spec))[0].deployments
    versions = []
    for count in (0, 1, 3):
        entry = vision.model_copy(update={"num_replicas": count}).to_mapping()
        config = DeploymentConfig(
            num_replicas=None,
            autoscaling_config=AutoscalingConfig(**entry["autoscaling_config"]),
            user_config=entry["user_config"],
        )
        versions.append(
            DeploymentVersion("code", deployment_config=config, ray_actor_options=entry["ray_actor_options"])
        )
    assert versions[0] == versions[1] == versions[2]
