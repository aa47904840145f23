"""The whole loop against a real Ray, with a stub in the runtime's place: what the status says, and what is written."""

import json
import time
import urllib.request

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def operator_on(start_operator, ray):
    """An operator whose services go to that Ray address."""

    def start(address: str | None = None, **settings):
        return start_operator(
            ray_address=address or ray.dashboard_url,
            serve_http_host="127.0.0.1",
            serve_http_port=ray.serve_port,
            **settings,
        )

    return start


@pytest.fixture
def ray_relay(relay, ray):
    return relay(ray.dashboard_url)


def test_a_restart_writes_nothing_and_at_rest_one_request_an_interval_is_all(
    services, ray_relay, operator_on, eventually, plane
):
    address = f"http://127.0.0.1:{ray_relay.port}"
    first = operator_on(address)
    services.create("rest")
    eventually(lambda: services.is_ready("rest"), "Ready", within_s=120)
    puts = ray_relay.count("PUT")
    assert puts == 1
    before = services.get("rest")
    first.stop()

    second = operator_on(address)
    eventually(lambda: "holding lease" in second.log, "the second has the lease")
    eventually(lambda: "is Ready" in second.log, "the second has looked")
    gets, began = ray_relay.count("GET"), time.monotonic()
    time.sleep(20)  # what is measured is that nothing happens
    requests_a_minute = (ray_relay.count("GET") - gets) / (time.monotonic() - began) * 60
    rss_mib = second.rss_mib
    print(f"\nat rest: {requests_a_minute:.0f} requests a minute to Ray, {rss_mib:.0f} MiB resident")

    assert services.get("rest") == before, "the object was written, managedFields included"
    assert ray_relay.count("PUT") == puts
    assert 24 <= requests_a_minute <= 36
    assert rss_mib < 150
    events = plane.client.request("GET", "/apis/events.k8s.io/v1/namespaces/default/events").document["items"]
    times = {item["metadata"]["creationTimestamp"] for item in events if item["regarding"]["name"] == "rest"}
    assert times, "the transitions were told in Events"


def test_a_ray_that_refuses_or_hangs_is_in_the_status_in_time_and_heals(
    services, ray_relay, operator_on, eventually
):
    operator_on(f"http://127.0.0.1:{ray_relay.port}")
    services.create("outage")
    eventually(lambda: services.is_ready("outage"), "Ready", within_s=120)

    ray_relay.shut()
    refused_s = eventually(
        lambda: services.condition("outage")[1] == "RayUnreachable", "RayUnreachable", within_s=5
    )
    ray_relay.open()
    healed_s = eventually(lambda: services.is_ready("outage"), "Ready again", within_s=10)
    ray_relay.fall_silent(new_ones_too=True)
    hung_s = eventually(lambda: services.condition("outage")[1] == "RayTimedOut", "RayTimedOut", within_s=15)
    ray_relay.speak_again()
    again_s = eventually(lambda: services.is_ready("outage"), "Ready again", within_s=15)

    print(
        f"\nrefused seen after {refused_s:.1f} s, healed {healed_s:.1f} s; "
        f"hang seen after {hung_s:.1f} s, healed {again_s:.1f} s"
    )


def test_a_broken_vision_side_is_named_and_heals_when_the_spec_is_mended(services, operator_on, eventually):
    operator_on()
    services.create("broken", model={"uri": "file:///broken-vision"})
    eventually(
        lambda: services.condition("broken", "VisionReady")[1] == "ModelNotFound",
        "ModelNotFound",
        within_s=120,
    )
    assert services.condition("broken")[0] == "False"

    services.replace_spec("broken")

    eventually(lambda: services.is_ready("broken"), "Ready", within_s=120)


def test_changing_language_restarts_no_vision_replica_and_disturbs_no_other_service(
    services, ray, operator_on, eventually
):
    def replicas() -> dict[str, list[str]]:
        found = {}
        for name, app in ray.applications().items():
            for key, deployment in app["deployments"].items():
                found[f"{name}/{key}"] = sorted(item["replica_id"] for item in deployment["replicas"])
        return found

    operator_on()
    services.create("one")
    services.create("two")
    eventually(lambda: services.is_ready("one") and services.is_ready("two"), "both Ready", within_s=120)
    before = replicas()

    services.replace_spec("one", language={"cpu": "2"})  # replaces the language replica
    eventually(
        lambda: services.get("one")["status"]["observedGeneration"] == 2 and services.is_ready("one"),
        "Ready again",
        within_s=120,
    )
    after = replicas()

    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"default.one/LanguageModel"}

    services.delete("one")
    eventually(lambda: services.get("one") is None, "one is gone", within_s=60)
    assert services.is_ready("two")
    assert {name for name in replicas() if "two" in name} == {name for name in before if "two" in name}


def test_deletion_lets_go_within_the_deadline_when_ray_is_gone_for_good(
    services, ray_relay, operator_on, eventually
):
    operator_on(f"http://127.0.0.1:{ray_relay.port}", deletion_deadline_s=10)
    services.create("orphan")
    eventually(lambda: services.is_ready("orphan"), "Ready", within_s=120)
    ray_relay.shut()

    services.delete("orphan")
    took_s = eventually(lambda: services.get("orphan") is None, "the finalizer is let go", within_s=20)

    print(f"\nlet go after {took_s:.1f} s with a deadline of 10 s")
    assert took_s > 8, "it must try until the deadline"


def test_an_operator_that_starts_before_ray_and_survives_a_restart_of_the_api_server(
    services, ray, plane, operator_on, eventually
):
    operator = operator_on()
    services.create("early")
    eventually(lambda: services.is_ready("early"), "Ready", within_s=120)

    plane.restart_api_server()
    services.replace_spec("early", vision={"maxTilesPerImage": 4})
    took_s = eventually(
        lambda: services.get("early")["status"]["observedGeneration"] == 2 and services.is_ready("early"),
        "the change after the restart",
        within_s=60,
    )

    print(f"\nAPI server restarted: the next change was Ready after {took_s:.1f} s")
    assert operator.process.poll() is None
    url = services.get("early")["status"]["url"]
    with urllib.request.urlopen(f"{url}/-/probe", timeout=10) as reply:
        assert json.load(reply)["ok"]
