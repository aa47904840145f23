import asyncio

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.ray import RayFault
from internvl_operator.cluster.ray_watch import RayWatch
from internvl_operator.plan.observation import RaySeen, RayUnavailable

A, B = ServiceKey("ns", "a"), ServiceKey("ns", "b")


@pytest.fixture
def woken():
    return []


@pytest.fixture
def watch(serve, clock, woken):
    watch = RayWatch(
        serve,
        interval_s=lambda: 2.0,
        now=clock.now,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        wake=woken.append,
    )
    watch.subscribe(A)
    watch.subscribe(B)
    return watch


def deploy_all(serve) -> None:
    for name in ("ns.a", "ns.a.vision", "ns.b", "ns.b.vision"):
        serve.deploy(name)


async def test_the_first_answer_wakes_everybody(watch, woken):
    await watch.poll()

    assert sorted(woken) == [A, B]


async def test_a_quiet_world_wakes_nobody(watch, serve, woken):
    deploy_all(serve)
    await watch.poll()
    woken.clear()

    for _ in range(5):
        await watch.poll()

    assert woken == []


async def test_a_change_of_one_service_wakes_only_that_one(watch, serve, woken):
    deploy_all(serve)
    await watch.poll()
    woken.clear()

    serve.applications["ns.b.vision"]["status"] = "UNHEALTHY"
    serve.deploy("somebody.else")
    await watch.poll()

    assert woken == [B]


async def test_at_rest_one_request_an_interval_is_all(watch, serve, clock):
    deploy_all(serve)
    task = asyncio.create_task(watch.run())
    while clock.seconds < 60.0:
        await asyncio.sleep(0)
    task.cancel()

    assert 29 <= serve.fetches <= 31
    assert serve.pool_fetches == 1


async def test_nodes_are_not_looked_at_where_nobody_places_by_pools(watch, serve):
    serve.deploy("ns.a", deployments=False)
    watch._reads_pools = False
    await watch.poll()

    assert serve.pool_fetches == 0
    assert watch.seen.node_pools is None


async def test_nodes_are_looked_at_again_while_an_application_is_not_well(watch, serve, clock, woken):
    deploy_all(serve)
    serve.applications["ns.a.vision"]["deployments"]["D"]["status"] = "UPDATING"
    await watch.poll()
    woken.clear()

    serve.pools = frozenset({"vision"})
    clock.seconds += 10
    await watch.poll()

    assert watch.seen.node_pools == {"vision"}
    assert sorted(woken) == [A, B]


async def test_a_refused_connection_is_believed_the_second_time_and_shown_within_five_seconds(
    watch, serve, clock, woken
):
    await watch.poll()
    woken.clear()
    began = clock.seconds
    serve.fault = RayFault(Reason.RAY_UNREACHABLE, "refused")

    await watch.poll()

    assert isinstance(watch.seen, RayUnavailable)
    assert watch.seen.reason is Reason.RAY_UNREACHABLE
    assert sorted(woken) == [A, B]
    assert clock.seconds - began < 3.0


async def test_one_lost_request_is_no_outage(watch, serve, clock, woken):
    deploy_all(serve)
    await watch.poll()
    woken.clear()
    serve.fault = RayFault(Reason.SERVE_UNAVAILABLE, "503")
    real_sleep = clock.sleep

    async def heal(seconds: float) -> None:
        serve.fault = None
        await real_sleep(seconds)

    watch._sleep = heal
    await watch.poll()

    assert isinstance(watch.seen, RaySeen)
    assert woken == []


async def test_an_outage_keeps_its_beginning_and_wakes_once(watch, serve, clock, woken):
    serve.fault = RayFault(Reason.RAY_TIMED_OUT, "8 s")
    await watch.poll()
    since = watch.seen.since
    woken.clear()

    clock.seconds += 30
    serve.fault = RayFault(Reason.RAY_TIMED_OUT, "8.1 s")
    await watch.poll()

    assert watch.seen.since == since
    assert woken == []


async def test_an_outage_that_ends_wakes_everybody(watch, serve, woken):
    serve.fault = RayFault(Reason.RAY_TIMED_OUT, "8 s")
    await watch.poll()
    woken.clear()
    serve.fault = None

    await watch.poll()

    assert sorted(woken) == [A, B]


async def test_who_unsubscribed_is_not_woken(watch, woken):
    watch.unsubscribe(A)

    await watch.poll()

    assert woken == [B]


async def test_an_answer_in_an_unknown_form_is_a_finding_and_not_the_end(watch, serve):
    serve.deploy("ns.a")
    serve.applications["ns.a"]["deployments"] = ["not", "a", "mapping"]

    await watch.poll()

    assert watch.seen.reason is Reason.NOT_RAY


async def test_a_look_that_the_writer_has_overtaken_does_not_bring_the_past_back(watch, serve):
    """A deleted service would be let go on the sight of a Serve from before its applications were written."""
    await watch.poll()
    written = asyncio.Event()

    async def slow_pools(label: str) -> frozenset[str]:
        deploy_all(serve)
        watch.offer(await serve.fetch())
        written.set()
        return frozenset()

    serve.fetch_pools = slow_pools
    watch._pools_at = None
    await watch.poll()

    assert written.is_set()
    assert "ns.a" in watch.seen.applications


@pytest.mark.parametrize("value", [float("inf"), "many", {}])
async def test_an_answer_of_another_form_is_said_and_does_not_end_the_poller(watch, serve, value):
    deploy_all(serve)
    serve.applications["ns.a"]["deployments"]["D"]["target_num_replicas"] = value or [1]
    await watch.poll()
    assert watch.seen.reason is Reason.NOT_RAY

    deploy_all(serve)
    await watch.poll()
    assert isinstance(watch.seen, RaySeen)
