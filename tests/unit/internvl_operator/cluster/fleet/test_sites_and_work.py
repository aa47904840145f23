import asyncio
import json
from collections.abc import Callable

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.cluster.fleet import Fleet, initial_options, look_interval_s
from internvl_operator.cluster.http import HttpReply
from internvl_operator.cluster.ray import RayFault
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.decision import ProbeRequest
from internvl_operator.plan.observation import RaySeen, ServiceSeen
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.render.serve_config import render_applications, shared_site
from internvl_operator.settings import Settings

A, B = ServiceKey("ns", "a"), ServiceKey("ns", "b")
HERE, THERE = "http://ray:8265", "http://other:8265"
SPEC = parse_spec({"model": {"uri": "file:///m"}})
PROBE = ProbeRequest(url="http://ray:8000/ns/a/probe", subject="s", timeout_s=1.0)


class Gateway:
    """A transport whose answer the test gives."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer: Callable[[], HttpReply] = lambda: HttpReply(status=503, body=b"busy")
        self.hold = asyncio.Event()
        self.hold.set()

    async def request(self, method, url, **_):
        self.calls += 1
        await self.hold.wait()
        return self.answer()


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def woken():
    return []


@pytest.fixture
async def fleet(serve, gateway, clock, woken, monkeypatch):
    # The pollers and writers sleep by the clock of the tests, which never waits.
    monkeypatch.setattr(
        "internvl_operator.cluster.ray_watch.RayWatch.run", lambda self: asyncio.Event().wait()
    )
    fleet = Fleet(
        gateway,
        Settings(),
        wake=woken.append,
        now=clock.now,
        connect=lambda home: opened(serve, home.address),
    )
    yield fleet
    await fleet.close()


def home(address):
    return RayHome(Backend.RAY, address)


def opened(serve, address):
    serve.address = address
    return serve


def tasks_named(word: str) -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if word in task.get_name()]


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_services_on_one_address_share_its_poller_and_writer_and_the_last_one_ends_them(fleet):
    fleet.snapshot(A, home(HERE))
    fleet.snapshot(B, home(HERE))
    fleet.snapshot(A, home(HERE))
    assert sorted(tasks_named(HERE)) == [f"watch {HERE}", f"write {HERE}"]

    fleet.release(A)
    await settle()
    assert len(tasks_named(HERE)) == 2

    fleet.release(B)
    await settle()
    assert tasks_named(HERE) == []
    assert fleet.keys() == frozenset()


async def test_a_service_that_moves_leaves_its_old_address(fleet):
    fleet.snapshot(A, home(HERE))
    fleet.snapshot(A, home(THERE))
    fleet.stay(A, [home(THERE)])
    await settle()

    assert tasks_named(HERE) == []
    assert len(tasks_named(THERE)) == 2


async def test_a_service_at_two_addresses_has_a_writer_and_a_probe_at_each(fleet, gateway, woken):
    fleet.snapshot(A, home(HERE))
    fleet.snapshot(A, home(THERE))
    fleet.submit(A, home(THERE), render_applications(A, SPEC, shared_site(A, SPEC)), ())
    assert fleet.is_writing(A, home(THERE)) and not fleet.is_writing(A, home(HERE))
    fleet.probe(A, home(HERE), PROBE)
    fleet.probe(A, home(THERE), PROBE)
    await settle()
    assert gateway.calls == 2 and set(woken) == {A}
    assert fleet.write_seen(A, home(HERE)) is None and fleet.write_seen(A, home(THERE)).error is None

    fleet.stay(A, [home(THERE)])
    await settle()
    assert fleet.probe_seen(A, home(HERE)) is None and fleet.probe_seen(A, home(THERE)) is not None
    assert fleet.keys() == {A} and len(tasks_named(THERE)) == 2


async def test_what_was_written_wakes_the_service_and_is_seen_at_once(fleet, serve, woken):
    fleet.snapshot(A, home(HERE))
    fleet.submit(A, home(HERE), render_applications(A, SPEC, shared_site(A, SPEC)), ())
    assert fleet.is_writing(A, home(HERE))
    await settle()

    assert set(serve.applications) == set(names.applications(A))
    assert not fleet.is_writing(A, home(HERE))
    assert fleet.write_seen(A, home(HERE)).error is None
    seen = fleet.snapshot(A, home(HERE))
    assert isinstance(seen, RaySeen)
    assert set(seen.applications) == set(names.applications(A))
    assert A in woken


async def test_a_probe_is_asked_once_a_subject_and_wakes_the_service(fleet, gateway, woken):
    fleet.snapshot(A, home(HERE))
    gateway.hold.clear()
    fleet.probe(A, home(HERE), PROBE)
    fleet.probe(A, home(HERE), PROBE)
    await settle()
    assert gateway.calls == 1

    gateway.hold.set()
    await settle()
    assert fleet.probe_seen(A, home(HERE)).subject == "s"
    assert woken == [A]


async def test_a_newer_subject_replaces_a_probe_that_is_under_way(fleet, gateway):
    fleet.snapshot(A, home(HERE))
    gateway.hold.clear()
    fleet.probe(A, home(HERE), PROBE)
    await settle()
    fleet.probe(A, home(HERE), ProbeRequest(url=PROBE.url, subject="newer", timeout_s=1.0))
    gateway.hold.set()
    await settle()

    assert fleet.probe_seen(A, home(HERE)).subject == "newer"


async def test_a_probe_that_breaks_in_an_unknown_way_is_an_answer_and_can_be_asked_again(
    fleet, gateway, woken
):
    def burst() -> HttpReply:
        raise KeyError("nobody expected this")

    fleet.snapshot(A, home(HERE))
    gateway.answer = burst
    fleet.probe(A, home(HERE), PROBE)
    await settle()
    assert "KeyError" in fleet.probe_seen(A, home(HERE)).error
    assert woken == [A]

    gateway.answer = lambda: HttpReply(status=503, body=b"busy")
    fleet.probe(A, home(HERE), PROBE)
    await settle()
    assert "busy" in fleet.probe_seen(A, home(HERE)).error


async def test_nothing_is_known_of_a_service_that_is_gone(fleet, gateway, woken):
    fleet.snapshot(A, home(HERE))
    gateway.hold.clear()
    fleet.probe(A, home(HERE), PROBE)
    await settle()
    fleet.release(A)
    gateway.hold.set()
    await settle()

    assert fleet.probe_seen(A, home(HERE)) is None
    assert fleet.write_seen(A, home(HERE)) is None
    assert not fleet.is_writing(A, home(HERE))
    assert woken == []
    fleet.release(A)  # twice does no harm


async def test_what_waits_for_a_service_that_is_gone_is_not_written_any_more(fleet, serve):
    fleet.snapshot(A, home(HERE))
    fleet.snapshot(B, home(HERE))
    fleet.submit(A, home(HERE), render_applications(A, SPEC, shared_site(A, SPEC)), ())
    fleet.release(A)
    fleet.submit(B, home(HERE), render_applications(B, SPEC, shared_site(B, SPEC)), ())
    await settle()

    assert set(serve.applications) == set(names.applications(B))


async def test_a_write_that_serve_refuses_is_tried_again_after_a_pause_and_not_as_fast_as_it_fails(
    serve, gateway, clock, monkeypatch
):
    monkeypatch.setattr(
        "internvl_operator.cluster.ray_watch.RayWatch.run", lambda self: asyncio.Event().wait()
    )
    puts = []

    def refuse(config):
        puts.append(clock.seconds)
        return RayFault(Reason.WRITE_FAILED, "refused")

    serve.put_fault = refuse
    due: set[ServiceKey] = {A}
    fleet = Fleet(gateway, Settings(ray_address=HERE), wake=due.add, now=clock.now, connect=lambda _: serve)
    store = OneService()
    reconciler = Reconciler(store, fleet, Settings(ray_address=HERE), now=clock.now)
    fleet.snapshot(A, home(HERE))
    fleet._sites[home(HERE)].watch.offer(await serve.fetch())
    for _ in range(30):
        if due:
            due.clear()
            again_s = await reconciler.reconcile(A)
            assert again_s is not None
        await settle()
    assert len(puts) == 1

    clock.seconds += again_s
    await reconciler.reconcile(A)
    await settle()
    await fleet.close()
    assert puts == [0.0, 5.0]


class OneService:
    """A store with one object."""

    def __init__(self) -> None:
        self.seen = ServiceSeen(key=A, uid="u", generation=1, spec=SPEC, has_finalizer=True)

    async def read(self, key):
        return self.seen

    async def write_status(self, service, status):
        json.dumps(status.to_mapping())

    async def change_finalizer(self, service, change):
        raise AssertionError("not asked for")

    async def emit_event(self, service, note):
        pass


@pytest.mark.parametrize("owner_comes_first", [True, False])
async def test_who_writes_anothers_address_into_a_spec_gets_no_token_with_it(
    gateway, clock, owner_comes_first
):
    opened_with = []
    tokens = Tokens(b"k" * 32)
    fleet = Fleet(gateway, Settings(), wake=lambda key: None, now=clock.now, tokens=tokens)
    original = fleet._client

    def note(found):
        opened_with.append((found.owner, original(found)._headers.get("X-Ray-Authorization")))
        return original(found)

    fleet._connect = note
    owned = RayHome(Backend.KUBERAY, HERE, A, "uid")
    steps = [(A, owned), (B, home(HERE))]
    for key, where in steps if owner_comes_first else reversed(steps):
        fleet.snapshot(key, where)
    await fleet.close()
    assert dict(opened_with) == {A: f"Bearer {tokens.token_of(A, 'uid')}", None: None}


async def test_ray_is_asked_for_its_pools_only_where_it_is_not_the_services_own(clock, serve):
    fleet = Fleet(
        Gateway(), Settings(), wake=lambda key: None, now=clock.now, connect=lambda where: opened(serve, HERE)
    )
    fleet.snapshot(A, RayHome(Backend.KUBERAY, HERE, A, "uid"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (serve.fetches, serve.pool_fetches) == (1, 0)

    fleet.snapshot(B, home(HERE))
    for _ in range(20):
        await asyncio.sleep(0)
    await fleet.close()
    assert (serve.fetches, serve.pool_fetches) == (2, 1)


@pytest.mark.parametrize(("addresses", "interval_s"), [(1, 2.0), (400, 2.0), (1000, 5.0)])
def test_many_addresses_are_looked_at_more_slowly_and_a_hang_is_still_seen_within_fifteen_seconds(
    addresses, interval_s
):
    settings = Settings()
    assert look_interval_s(addresses, settings) == interval_s
    assert interval_s + settings.ray_timeout_s < 15


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_one_proxy_has_the_port_to_itself(host):
    options = initial_options(Settings(serve_http_host=host, serve_http_port=8000))
    assert options == {"proxy_location": "HeadOnly", "http_options": {"host": host, "port": 8000}}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), {}),
        (Settings(serve_http_port=9000), {"http_options": {"port": 9000}}),
        (Settings(serve_http_host="0.0.0.0"), {"http_options": {"host": "0.0.0.0"}}),
    ],
)
def test_elsewhere_serve_places_its_proxies_as_it_likes(settings, expected):
    assert initial_options(settings) == expected
