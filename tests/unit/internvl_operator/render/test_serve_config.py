import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.render.serve_config import render_applications, shared_site
from internvl_operator.render.serve_schema import HttpOptions, RayActorOptions, ServeConfig

KEY = ServiceKey("team", "nano")
MODEL = {"uri": "file:///models/nano"}


def optional(**strategies):
    return st.fixed_dictionaries({}, optional=strategies)


SIDE = {
    "pool": st.sampled_from(["a", "b"]),
    "minReplicas": st.integers(1, 4),
    "cpu": st.sampled_from([1, "1500m", "3"]),
    "memory": st.sampled_from(["1Gi", "2Gi"]),
}
VISION = optional(**SIDE, maxTilesPerImage=st.integers(1, 40))
LANGUAGE = optional(**SIDE, maxModelLen=st.integers(16, 4096))


def render(spec, **options):
    parsed = parse_spec(spec)
    return render_applications(KEY, parsed, shared_site(KEY, parsed), **options)


def entries(spec, **options):
    """Deployment name -> bytes."""
    return {d.name: d.to_json() for a in render(spec, **options) for d in a.deployments}


def generations(spec, **options):
    return {d.name: d.user_config["generation"] for a in render(spec, **options) for d in a.deployments}


@given(VISION, LANGUAGE, LANGUAGE)
def test_a_change_of_language_leaves_the_vision_application_byte_equal(vision, before, after):
    first = render({"model": MODEL, "vision": vision, "language": before})
    second = render({"model": MODEL, "vision": vision, "language": after})
    assert first[0].to_json() == second[0].to_json()


@given(LANGUAGE, VISION, VISION)
def test_a_change_of_vision_leaves_the_language_deployment_byte_equal(language, before, after):
    first = entries({"model": MODEL, "language": language, "vision": before})
    second = entries({"model": MODEL, "language": language, "vision": after})
    assert first["LanguageModel"] == second["LanguageModel"]


@given(VISION, LANGUAGE, VISION, LANGUAGE)
def test_only_the_user_config_of_the_gateway_ever_changes(vision, language, vision2, language2):
    first = render({"model": MODEL, "vision": vision, "language": language})[1]
    second = render({"model": MODEL, "vision": vision2, "language": language2})[1]
    gateways = [{**a.deployment("Gateway").to_mapping(), "user_config": None} for a in (first, second)]
    assert gateways[0] == gateways[1]
    # args and import path rebuild the whole application, so they never move
    assert first.model_copy(update={"deployments": ()}) == second.model_copy(update={"deployments": ()})


@given(VISION, LANGUAGE)
def test_rendering_is_stable_and_leaves_its_input_alone(vision, language):
    spec = {"model": MODEL, "vision": vision, "language": language}
    before = copy.deepcopy(spec)
    assert [a.to_json() for a in render(spec)] == [a.to_json() for a in render(spec)]
    assert spec == before


@given(VISION, st.integers(0, 9), st.integers(1, 4))
def test_the_generation_depends_neither_on_attempts_nor_on_the_number_of_replicas(vision, attempt, replicas):
    plain = generations({"model": MODEL, "vision": vision})
    retried = generations({"model": MODEL, "vision": vision}, attempts={Role.VISION: attempt})
    scaled = generations({"model": MODEL, "vision": {**vision, "minReplicas": replicas}})
    assert plain == retried == scaled


@pytest.mark.parametrize(
    "change",
    [{"pool": "x"}, {"cpu": 2}, {"memory": "1Gi"}, {"maxTilesPerImage": 3}],
)
def test_the_generation_depends_on_all_that_a_replica_is_made_from(change):
    before, after = generations({"model": MODEL}), generations({"model": MODEL, "vision": change})
    assert before["VisionEncoder"] != after["VisionEncoder"]


def test_a_change_of_the_model_changes_every_generation():
    before, after = generations({"model": MODEL}), generations({"model": {**MODEL, "name": "other"}})
    assert all(before[name] != after[name] for name in before)


def test_what_is_written():
    vision, main = render(
        {
            "model": MODEL,
            "vision": {
                "pool": "l4",
                "cpu": "1500m",
                "memory": "1Gi",
                "minReplicas": 3,
                "maxTilesPerImage": 12,
            },
            "language": {"maxModelLen": 512},
        },
        artifact_stores=("file:///store",),
        attempts={Role.LANGUAGE: 2},
    )
    assert (vision.name, vision.route_prefix) == ("team.nano.vision", None)
    assert (main.name, main.route_prefix) == ("team.nano", "/team/nano")
    encoder = vision.deployment("VisionEncoder")
    assert encoder.num_replicas == 3
    assert encoder.ray_actor_options == RayActorOptions(
        num_cpus=1.5, memory=2**30, label_selector={"serving.internvl.io/pool": "l4"}
    )
    assert encoder.user_config["threads"] == 2
    assert encoder.user_config["artifact_stores"] == ["file:///store"]
    gateway, language = main.deployment("Gateway"), main.deployment("LanguageModel")
    assert gateway.user_config["max_tiles_per_image"] == 12
    assert gateway.user_config["max_model_len"] == 512
    assert gateway.user_config["vision_application"] == "team.nano.vision"
    assert language.user_config["attempt"] == 2
    assert language.ray_actor_options.label_selector is None
    assert main.args == {"contract": "1", "service": "team/nano"}
    with pytest.raises(KeyError):
        main.deployment("Other")


def test_a_hung_replica_is_seen_within_fifteen_seconds():
    encoder = render({"model": MODEL})[0].deployment("VisionEncoder")
    poll_s = 2
    seen_after_s = 1.1 * encoder.health_check_period_s + 3 * encoder.health_check_timeout_s + poll_s
    assert seen_after_s < 15


def test_serves_bound_lies_above_the_language_sides_own():
    language = render({"model": MODEL})[1].deployment("LanguageModel")
    own = language.user_config["max_sequences"] + language.user_config["max_waiting"]
    assert language.max_ongoing_requests > own


def test_a_misspelt_field_does_not_pass():
    with pytest.raises(ValidationError):
        RayActorOptions(num_cpus=1, label_selectors={})


def test_a_whole_configuration_has_stable_bytes():
    applications = render({"model": MODEL})
    config = ServeConfig(http_options=HttpOptions(host="127.0.0.1", port=8000), applications=applications)
    assert config.to_json().startswith('{"applications":[{"args":')
    assert config.to_mapping()["http_options"] == {"host": "127.0.0.1", "port": 8000}
    assert "http_options" not in ServeConfig(applications=applications).to_mapping()
    assert config.to_mapping()["applications"][0]["route_prefix"] is None
