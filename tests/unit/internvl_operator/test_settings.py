import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from internvl_operator import VERSION
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.settings import Settings


def test_nothing_set_gives_the_defaults():
    assert Settings.from_env({"PATH": "/bin", "INTERNVL_OPERATOR_RAY_ADDRESS": " "}) == Settings()


def test_every_setting_can_be_set():
    samples = {
        "ray_address": "http://r:1",
        "serve_http_port": "8000",
        "moves_at_once": "3",
        "prometheus_url": "https://p/team",
        "prometheus_matchers": 'cluster="a", job!~"x|y"',
        "artifact_stores": "file:///a, file:///b,",
    }
    env = {
        f"INTERNVL_OPERATOR_{item.name.upper()}": samples.get(
            item.name, "7" if item.name.endswith("_s") else "x"
        )
        for item in fields(Settings)
    }
    settings = Settings.from_env(env)
    assert settings.artifact_stores == ("file:///a", "file:///b")
    assert settings.namespaces == ("x",)
    assert settings.serve_http_port == 8000
    assert settings.poll_interval_s == 7.0
    assert all(getattr(settings, item.name) not in (None, ()) for item in fields(Settings))


def test_the_ray_address_loses_its_slash():
    assert (
        Settings.from_env({"INTERNVL_OPERATOR_RAY_ADDRESS": "http://r:8265/"}).ray_address == "http://r:8265"
    )


def test_a_prometheus_may_lie_below_a_path_and_loses_its_slash():
    found = Settings.from_env({"INTERNVL_OPERATOR_PROMETHEUS_URL": "https://Mimir.example/prometheus/"})
    assert found.prometheus_url == "https://mimir.example:443/prometheus"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RAY_ADRESS", "x"),
        ("POLL_INTERVAL_S", "soon"),
        ("POLL_INTERVAL_S", "-1"),
        ("SERVE_HTTP_PORT", "0"),
        ("RAY_ADDRESS", "ray-head:8265"),
        ("RAY_ADDRESS", "http://ray-head:99999"),
        ("PROBE_TIMEOUT_S", "nan"),
        ("PROMETHEUS_URL", "prometheus:9090"),
        ("PROMETHEUS_URL", "http://user:pw@prometheus:9090"),
        ("PROMETHEUS_URL", "http://prometheus:9090/a?b=c"),
        ("PROMETHEUS_URL", "http://prometheus:99999"),
        ("PROMETHEUS_MATCHERS", 'cluster="a"}'),
        ("PROMETHEUS_MATCHERS", "cluster"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(variable, value):
    with pytest.raises(Rejected) as caught:
        Settings.from_env({f"INTERNVL_OPERATOR_{variable}": value})
    assert caught.value.field == f"INTERNVL_OPERATOR_{variable}"


def test_a_removal_that_waits_for_anothers_build_is_done_before_the_deadline_of_the_deletion():
    settings = Settings()
    assert settings.build_wait_s + settings.ray_timeout_s < settings.deletion_deadline_s


def test_errors_say_what_comes_next():
    assert str(Rejected("is wrong", field="spec.x")) == "spec.x: is wrong"
    assert str(Rejected("is wrong")) == "is wrong"
    assert NotYet("later", delay_s=3).delay_s == 3


def test_the_version_is_the_distributions():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
