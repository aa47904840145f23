import time

import pytest


@pytest.mark.timeout(150)
def test_a_watch_that_fell_silent_is_noticed_within_sixty_seconds(
    plane, services, relay, relayed_kubeconfig, start_operator, eventually
):
    between = relay(plane.server)
    operator = start_operator(kubeconfig=relayed_kubeconfig(between))
    services.create("silent")
    eventually(lambda: services.condition("silent")[1] == "BackendAddressMissing", "the first status")

    between.fall_silent()  # nothing is closed, no packet comes through
    services.replace_spec("silent", vision={"minReplicas": 2})
    began = time.monotonic()
    eventually(lambda: services.get("silent")["status"]["observedGeneration"] == 2, "the change", within_s=60)

    print(f"half-open watch noticed after {time.monotonic() - began:.1f} s")
    assert operator.process.poll() is None, "the operator has ended"
