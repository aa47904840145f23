import os
import signal
import time

HELD = "holding lease"
DURATION_S = 6  # 15 by default; what is shown does not depend on it
LONG_S = 90
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/killed"


def test_a_second_operator_waits_and_takes_over_at_once_after_a_clean_end(start_operator, eventually):
    first = start_operator(lease_duration_s=LONG_S)
    eventually(lambda: HELD in first.log, "the first has the lease")
    second = start_operator(lease_duration_s=LONG_S)
    eventually(lambda: "is held by" in second.log, "the second waits")
    assert HELD not in second.log

    assert first.stop() == 0

    # A try each two seconds: far less than a Lease that was not given up would have held it up.
    took_s = eventually(lambda: HELD in second.log, "the second takes over", within_s=LONG_S / 3)
    print(f"handover after a clean end: {took_s:.1f} s")


def test_a_killed_operator_is_replaced_after_its_lease_ran_out(plane, start_operator, services, eventually):
    def renewed():
        return plane.client.request("GET", LEASE).document["spec"]["renewTime"]

    first = start_operator(lease_duration_s=DURATION_S, lease_name="killed")
    eventually(lambda: HELD in first.log, "the first has the lease")
    second = start_operator(lease_duration_s=DURATION_S, lease_name="killed")
    eventually(lambda: "is held by" in second.log, "the second waits")
    before = renewed()
    eventually(lambda: renewed() != before, "the first has just renewed it")

    first.stop(kill=True)
    took_s = eventually(lambda: HELD in second.log, "the second takes over")
    print(f"handover after a kill: {took_s:.1f} s")

    assert took_s > DURATION_S / 2, "taken from a holder that could still have been alive"
    services.create("after-handover")
    eventually(lambda: services.condition("after-handover")[0] == "False", "the second acts")


def test_an_operator_that_was_frozen_for_long_ends_without_another_write(
    start_operator, services, eventually
):
    first = start_operator(lease_duration_s=DURATION_S)
    eventually(lambda: HELD in first.log, "the first has the lease")
    os.kill(first.process.pid, signal.SIGSTOP)
    second = start_operator(lease_duration_s=DURATION_S)
    eventually(lambda: HELD in second.log, "the second takes over")
    services.create("frozen")
    eventually(lambda: services.condition("frozen")[0] == "False", "the second acts")
    version = services.get("frozen")["metadata"]["resourceVersion"]

    os.kill(first.process.pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while first.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)

    assert first.process.returncode == 3, "it must end at once with the status for a lost lease"
    assert services.get("frozen")["metadata"]["resourceVersion"] == version
