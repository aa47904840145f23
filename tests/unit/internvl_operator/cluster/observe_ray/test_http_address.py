import pytest

from internvl_operator.cluster.observe_ray import http_address, see_ray
from internvl_operator.cluster.ray import ServeState


def state(**options) -> ServeState:
    return ServeState(options={"http_options": options}, started=True, has_proxy=True)


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("0.0.0.0", "http://ray-head:8000"),
        ("127.0.0.1", "http://ray-head:8000"),
        ("::", "http://ray-head:8000"),
        ("10.0.0.7", "http://10.0.0.7:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
    ],
)
def test_the_proxy_is_on_rays_host_unless_it_is_bound_elsewhere(host, seen):
    assert http_address("http://ray-head:8265", state(host=host, port=8000)) == seen


def test_a_root_path_and_tls_are_part_of_the_address():
    options = state(host="0.0.0.0", port=8443, root_path="/serve/", ssl_certfile="/tls.crt")

    assert http_address("http://ray:8265", options) == "https://ray:8443/serve"


@pytest.mark.parametrize(
    "options",
    [
        {"root_path": "/latest/meta-data?x="},
        {"root_path": "/a#"},
        {"root_path": "@elsewhere"},
        {"host": "somebody@elsewhere/"},
        {"port": "80/latest"},
        {"port": 0},
        {"port": None},
    ],
)
def test_what_serve_says_cannot_bend_the_probe_to_another_resource(options):
    assert http_address("http://ray:8265", state(**{"host": "0.0.0.0", "port": 8000, **options})) is None


def test_without_a_healthy_proxy_there_is_no_address():
    assert http_address("http://ray:8265", ServeState(options={"http_options": {}}, started=True)) is None


def test_a_replica_that_only_starts_has_no_node_yet(clock):
    details = {
        "status": "DEPLOYING",
        "source": "declarative",
        "deployments": {"D": {"status": "UPDATING", "replicas": [{"replica_id": "r", "state": "STARTING"}]}},
    }

    seen = see_ray(
        "http://ray:8265", ServeState(applications={"a": details}), at=clock.now(), node_pools=None
    )

    assert seen.applications["a"].deployments["D"].replicas[0].node_id is None
    assert seen.applications["a"].config is None
