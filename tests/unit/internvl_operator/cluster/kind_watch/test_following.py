import asyncio

import pytest

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kind_watch import KindWatch
from internvl_operator.cluster.kinds import KINDS, manifest_of
from internvl_operator.cluster.kubernetes import ApiFault

KEY = ServiceKey("team", "nano")
OTHER = ServiceKey("team", "other")
SERVICES = next(kind for kind in KINDS if kind.name == "Service")


def made(version, *, name="front", owner="nano", port=80, **metadata):
    return {
        "metadata": {
            "namespace": "team",
            "name": name,
            "labels": {labels.SERVICE: owner},
            "resourceVersion": str(version),
            **metadata,
        },
        "spec": {"port": port},
    }


class Api:
    """Answers lists and streams in the order in which a test prepared them; then the test is over."""

    def __init__(self):
        self.answers = []
        self.asked = []
        self.done = asyncio.Event()

    def lists(self, version, *items):
        self.answers.append((list(items), str(version)))

    def streams(self, *events):
        self.answers.append(events)

    def fails(self, code):
        self.answers.append(ApiFault(code, f"code {code}"))

    async def _next(self, what):
        self.asked.append(what)
        if not self.answers:
            self.done.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def list_objects(self, kind, namespace, selector, take):
        assert selector == {labels.MANAGED_BY: labels.COMPONENT, labels.SERVICE: None}
        items, version = await self._next("list")
        for item in items:
            take(item)
        return version

    async def watch_objects(self, kind, namespace, selector, version):
        for event in await self._next(f"watch {version}"):
            if callable(event):
                event()
            elif isinstance(event, Exception):
                raise event
            else:
                yield event


class World:
    def __init__(self, clock):
        self.api = Api()
        self.woken = []
        self.watch = KindWatch(SERVICES, None, self.api, wake=self.woken.append, sleep=clock.sleep)
        self.watch.subscribe(KEY)
        self.watch.subscribe(OTHER)

    async def run(self):
        """Until all that was prepared has been taken."""
        task = asyncio.create_task(self.watch.run())
        await self.api.done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def ports(self, key=KEY):
        return {name: manifest_of(kept)["spec"]["port"] for name, kept in self.watch.kept(key).items()}


@pytest.fixture
def world(clock):
    return World(clock)


async def test_what_is_listed_is_known_and_its_services_are_woken(world):
    world.api.lists(7, made(5), made(6, owner="other"), made(3, owner="stranger"))
    await world.run()
    assert world.ports() == {"front": 80}
    assert sorted(world.woken) == [KEY, OTHER]
    assert world.api.asked == ["list", "watch 7"]


async def test_nothing_is_told_before_the_first_list(world):
    assert not world.watch.told.is_set()
    world.api.lists(7)
    await world.run()
    assert world.watch.told.is_set()


async def test_a_change_and_a_deletion_wake_the_service_whose_object_it_is(world):
    world.api.lists(7, made(5), made(5, owner="other", name="theirs"))
    world.api.streams(("MODIFIED", made(8, port=81)), world.woken.clear, ("DELETED", made(9, port=81)))
    await world.run()
    assert world.ports() == {}
    assert world.woken == [KEY]
    assert world.ports(OTHER) == {"theirs": 80}


async def test_a_change_that_nobody_reads_wakes_nobody(world):
    world.api.lists(7, made(5))
    changed = {**made(8, managedFields=[{"manager": "x"}], generation=3), "status": {"loadBalancer": {}}}
    world.api.streams(world.woken.clear, ("MODIFIED", changed))
    await world.run()
    assert world.woken == []


async def test_a_stream_that_ends_goes_on_where_it_ended_without_a_list(world):
    world.api.lists(7)
    world.api.streams(("ADDED", made(9)))
    world.api.streams()
    await world.run()
    assert world.api.asked == ["list", "watch 7", "watch 9", "watch 9"]


async def test_after_410_everything_is_listed_anew_and_what_vanished_wakes_its_service(world):
    world.api.lists(7, made(5), made(6, owner="other", name="theirs"))
    world.api.streams(world.woken.clear, ApiFault(410, "too old resource version"))
    world.api.lists(90, made(6, owner="other", name="theirs"))
    await world.run()
    assert world.api.asked == ["list", "watch 7", "list", "watch 90"]
    assert world.woken == [KEY], "the other's objects are what they were"
    assert world.ports() == {}


async def test_an_api_server_that_is_away_is_asked_again_and_nothing_is_forgotten(world):
    world.api.lists(7, made(5))
    world.api.streams(ApiFault(0, "cannot be reached"))
    world.api.fails(503)
    await world.run()
    assert world.api.asked == ["list", "watch 7", "watch 7", "watch 7"]
    assert world.ports() == {"front": 80}
    assert world.watch.fault is None


async def test_a_kind_that_does_not_exist_is_told_once_and_heals_when_it_is_there(world):
    world.api.fails(404)
    world.api.fails(404)
    world.api.lists(7)
    task = asyncio.create_task(world.watch.run())
    await world.watch.told.wait()
    assert world.watch.fault is not None and world.watch.fault.is_gone
    await world.api.done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.watch.fault is None
    assert sorted(world.woken) == [KEY, KEY, OTHER, OTHER], (
        "once each that it is missing, once that it is there"
    )


@pytest.mark.parametrize(("times", "is_believed"), [(1, False), (2, True)])
async def test_a_refusal_is_believed_when_it_is_repeated(world, times, is_believed):
    world.api.lists(7, made(5))
    world.api.streams(world.woken.clear, ApiFault(403, "forbidden, as just after a start"))
    for _ in range(times - 1):
        world.api.fails(403)
    await world.run()
    assert (world.watch.fault is not None) is is_believed
    assert (world.woken != []) is is_believed
    assert world.api.asked[-1] == "list"


async def test_an_answer_in_an_unknown_form_does_not_end_the_watch(world):
    world.api.lists(7)
    world.api.streams(("MODIFIED", {"metadata": {}}))
    world.api.streams(("ADDED", made(9)))
    await world.run()
    assert world.ports() == {"front": 80}


async def test_the_answer_to_a_write_of_ours_counts_before_the_stream_tells_of_it(world):
    world.api.lists(7)
    world.api.streams(lambda: world.watch.offer(made(12, port=12)), ("MODIFIED", made(11, port=11)))
    await world.run()
    assert world.ports() == {"front": 12}, "what the stream tells next is older"


@pytest.mark.parametrize(("listed", "port"), [(11, 12), (13, 80)])
async def test_the_answer_to_a_write_of_ours_during_the_list_counts_if_it_is_newer(world, listed, port):
    world.watch.offer(made(12, port=12))
    world.api.lists(listed, made(13) if listed == 13 else made(10))
    await world.run()
    assert world.ports() == {"front": port}


async def test_the_answer_to_a_write_of_ours_that_comes_late_brings_nothing_back(world):
    world.api.lists(7)
    late = made(8)
    world.api.streams(("ADDED", late), ("DELETED", made(9)), lambda: world.watch.offer(late))
    await world.run()
    assert world.ports() == {}


async def test_an_object_that_is_given_to_another_service_leaves_the_first(world):
    world.api.lists(7, made(5))
    world.api.streams(world.woken.clear, ("MODIFIED", made(8, owner="other")))
    await world.run()
    assert (world.ports(), world.ports(OTHER)) == ({}, {"front": 80})
    assert world.woken == [KEY, OTHER]


async def test_who_does_not_subscribe_any_more_is_not_woken(world):
    world.api.lists(7)
    world.watch.unsubscribe(KEY)
    world.api.streams(("ADDED", made(8)))
    await world.run()
    assert world.woken == []


async def test_pods_of_both_ray_clusters_of_a_service_are_its_own(clock):
    pods = next(kind for kind in KINDS if kind.name == "Pod")
    woken = []
    watch = KindWatch(pods, None, Api(), wake=woken.append, sleep=clock.sleep)
    watch.subscribe(KEY)

    def pod(version, cluster):
        given = {labels.RAY_CLUSTER: cluster, labels.ROLE: "head"}
        name = {"namespace": "team", "name": f"{cluster}-head", "labels": given}
        return {"metadata": {**name, "resourceVersion": str(version)}}

    watch._version = 0
    for version, cluster in enumerate(("nano-ray", "nano-alt", "other-ray"), 1):
        watch.offer(pod(version, cluster))
    assert set(watch.kept(KEY)) == {"nano-ray-head", "nano-alt-head"} and woken == [KEY, KEY]
    watch.unsubscribe(KEY)
    watch.offer(pod(4, "nano-alt"))
    assert woken == [KEY, KEY]
