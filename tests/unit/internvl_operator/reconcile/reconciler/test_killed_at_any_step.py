"""The operator is killed at each step of each story, started again, and must end at the same place.

The store and Serve keep their state over a kill; the reconciler, its poller, writer and probe do not.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionStatus, ConditionType
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import Status, parse_stored_status
from internvl_operator.cluster.observe_ray import see_ray
from internvl_operator.cluster.ray import ServeState
from internvl_operator.cluster.serve_merge import Submission, merge
from internvl_operator.errors import NotYet
from internvl_operator.plan.decision import FinalizerChange
from internvl_operator.plan.observation import ProbeSeen, RayUnavailable, ServiceSeen, WriteSeen
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.settings import Settings
from internvl_runtimes.contract.probes import ProbeAnswer, RoleAnswer

KEY = ServiceKey("ns", "a")
RAY = "http://ray:8265"
SPEC = {"model": {"uri": "file:///m"}}


class Killed(BaseException):
    """The process ended here."""


class World:
    """What outlives the process, and a counter that ends it after a number of steps."""

    def __init__(self) -> None:
        self.service: ServiceSeen | None = ServiceSeen(key=KEY, uid="u", generation=1, spec=parse_spec(SPEC))
        self.serve: dict[str, dict] = {}
        self.seconds = 0.0
        self.puts = 0
        self.status_writes = 0
        self.finalizer_writes = 0
        self.steps_left: int | None = None

    def step(self) -> None:
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise Killed
            self.steps_left -= 1

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def serve_state(self) -> ServeState:
        return ServeState(
            options={"http_options": {"host": "127.0.0.1", "port": 8000}},
            applications=self.serve,
            started=True,
            has_proxy=True,
        )

    def put(self, config: list[dict]) -> None:
        self.puts += 1
        wanted = {app["name"]: app for app in json.loads(json.dumps(config))}
        self.serve = {
            name: {
                "status": "RUNNING",
                "source": "declarative",
                "deployed_app_config": app,
                "deployments": {
                    item["name"]: {
                        "name": item["name"],
                        "status": "HEALTHY",
                        "target_num_replicas": item["num_replicas"],
                        "deployment_config": {"user_config": item["user_config"]},
                        "replicas": [
                            {"replica_id": f"{name}-{item['name']}", "state": "RUNNING", "node_id": "n"}
                        ],
                    }
                    for item in app["deployments"]
                },
            }
            for name, app in wanted.items()
        }

    # the store

    async def read(self, key: ServiceKey) -> ServiceSeen | None:
        self.step()
        return self.service

    async def write_status(self, service: ServiceSeen, status: Status) -> None:
        self.step()
        assert self.service is not None
        self.service = replace(self.service, status=parse_stored_status(status.to_mapping()))
        self.status_writes += 1
        self.step()

    async def change_finalizer(self, service: ServiceSeen, change: FinalizerChange) -> None:
        self.step()
        assert self.service is not None
        self.finalizer_writes += 1
        if change is FinalizerChange.REMOVE:
            self.service = None if self.service.deleting_since else replace(self.service, has_finalizer=False)
        else:
            self.service = replace(self.service, has_finalizer=True)
        self.step()

    async def emit_event(self, service: ServiceSeen, note: object) -> None:
        self.step()


class Fleet:
    """The Ray side of one process: sees the world as it is, writes and probes at once, forgets when killed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.writes: dict[ServiceKey, WriteSeen] = {}
        self.probes: dict[ServiceKey, ProbeSeen] = {}

    def stay(self, key, homes):
        pass

    def snapshot(self, key, home):
        return see_ray(home.address, self.world.serve_state(), at=self.world.now(), node_pools=frozenset())

    def submit(self, key, home, applications, remove):
        self.world.step()
        assert self.world.service is not None and self.world.service.has_finalizer, (
            "written without finalizer"
        )
        submission = Submission(tuple(app.to_mapping() for app in applications), remove)
        step = merge(self.world.serve_state(), [submission])
        if step.changed:
            self.world.put(list(step.applications))
        self.world.step()
        self.writes[key] = WriteSeen(at=self.world.now())

    def is_writing(self, key, home):
        return False

    def write_seen(self, key, home):
        return self.writes.get(key)

    def probe(self, key, home, request):
        self.world.step()
        roles = {}
        for name in ("gateway", "vision", "language"):
            app = names.vision_application(KEY) if name == "vision" else names.main_application(KEY)
            app = names.stand_in(app) if "/-/next/" in request.url else app
            deployment = {"gateway": "Gateway", "vision": "VisionEncoder", "language": "LanguageModel"}[name]
            config = self.world.serve[app]["deployed_app_config"]["deployments"]
            generation = next(i["user_config"]["generation"] for i in config if i["name"] == deployment)
            roles[name] = RoleAnswer(ok=True, generation=generation, revision="sha256:" + "0" * 64)
        answer = ProbeAnswer(ok=True, features_differ=True, **roles)
        self.probes[key] = ProbeSeen(at=self.world.now(), subject=request.subject, answer=answer)

    def probe_seen(self, key, home):
        return self.probes.get(key)

    def release(self, key):
        self.writes.pop(key, None)


async def run_process(world: World, *, rounds: int = 8) -> None:
    """One life of the operator, reconciling as often as things may wake it."""
    reconciler = Reconciler(world, Fleet(world), Settings(ray_address=RAY), now=world.now)
    for _ in range(rounds):
        await reconciler.reconcile(KEY)
        world.seconds += 1.0


def is_ready(world: World) -> bool:
    assert world.service is not None and world.service.status is not None
    ready = world.service.status.condition(ConditionType.READY)
    return ready is not None and ready.status is ConditionStatus.TRUE


def grow(world: World) -> None:
    assert world.service is not None
    spec = parse_spec({**SPEC, "language": {"maxModelLen": 64}})
    world.service = replace(world.service, spec=spec, generation=2)


def remodel(world: World) -> None:
    assert world.service is not None
    spec = parse_spec({**SPEC, "model": {"uri": "file:///other"}})
    world.service = replace(world.service, spec=spec, generation=2)


def delete(world: World) -> None:
    assert world.service is not None
    world.service = replace(world.service, deleting_since=world.now())


async def story(world: World, change: Callable[[World], None] | None) -> None:
    if change is not None:
        await run_process(world)
        assert is_ready(world)
        change(world)


async def count_steps(change: Callable[[World], None] | None) -> int:
    world = World()
    await story(world, change)
    world.steps_left = 10_000
    await run_process(world)
    return 10_000 - world.steps_left


@pytest.mark.parametrize(
    ("change", "writes"),
    [(None, 1), (grow, 1), (remodel, 3), (delete, 1)],
    ids=["create", "change", "model", "delete"],
)
async def test_a_process_killed_at_any_step_is_carried_on_by_the_next(change, writes):
    steps = await count_steps(change)
    assert steps > 5
    for step in range(steps):
        world = World()
        await story(world, change)
        puts = world.puts
        world.steps_left = step
        with pytest.raises(Killed):
            await run_process(world, rounds=50)
        world.steps_left = None
        await run_process(world)

        if change is delete:
            assert world.service is None, f"killed at step {step}"
            assert world.serve == {}, f"killed at step {step}"
        else:
            assert is_ready(world), f"killed at step {step}"
            assert set(world.serve) == set(names.applications(KEY))
        assert world.puts - puts == writes, f"killed at step {step}: Serve was written too often"


async def test_a_restart_writes_nothing_when_all_is_well():
    world = World()
    await run_process(world)
    assert is_ready(world)
    before = (world.puts, world.status_writes, world.finalizer_writes)

    await run_process(world)

    assert (world.puts, world.status_writes, world.finalizer_writes) == before


async def test_while_ray_was_never_asked_nothing_is_said_or_written():
    world = World()
    fleet = Fleet(world)
    fleet.snapshot = lambda key, home: None

    again = await Reconciler(world, fleet, Settings(ray_address=RAY), now=world.now).reconcile(KEY)

    assert again is None
    assert world.status_writes == world.finalizer_writes == world.puts == 0


async def test_a_store_that_is_away_is_tried_again_and_is_no_bug():
    world = World()

    async def read(key):
        raise NotYet("the API server cannot be reached", delay_s=2.0)

    world.read = read

    assert await Reconciler(world, Fleet(world), Settings(), now=world.now).reconcile(KEY) == 2.0


async def test_a_process_that_cannot_renew_its_lease_changes_nothing():
    world = World()

    def fence() -> None:
        raise NotYet("no lease", delay_s=2.0)

    reconciler = Reconciler(world, Fleet(world), Settings(ray_address=RAY), now=world.now, fence=fence)

    assert await reconciler.reconcile(KEY) == 2.0
    assert world.status_writes == world.finalizer_writes == world.puts == 0


async def test_a_deleted_service_is_let_go_at_the_deadline_when_ray_is_gone_for_good():
    world = World()
    await run_process(world)
    delete(world)
    fleet = Fleet(world)
    fleet.snapshot = lambda key, home: RayUnavailable(
        address=RAY, since=world.now(), reason="RayUnreachable", message="refused"
    )
    reconciler = Reconciler(world, fleet, Settings(ray_address=RAY), now=world.now)
    began = world.seconds
    while world.service is not None:
        again = await reconciler.reconcile(KEY)
        if world.service is not None:
            assert again is not None
            world.seconds += again
        assert world.seconds - began < 65.0

    assert world.seconds - began >= 60.0


async def test_a_deleted_service_is_kept_while_a_write_of_ours_may_still_land():
    world = World()
    fleet = Fleet(world)
    reconciler = Reconciler(world, fleet, Settings(ray_address=RAY), now=world.now)
    world.service = replace(world.service, has_finalizer=True)
    delete(world)
    submitted = []
    fleet.is_writing = lambda key, home: True
    fleet.submit = lambda key, home, applications, remove: submitted.append((applications, remove))

    assert await reconciler.reconcile(KEY) is not None
    assert world.service is not None
    assert submitted == [((), names.all_applications(KEY))]

    fleet.is_writing = lambda key, home: False
    await reconciler.reconcile(KEY)
    assert world.service is None


async def test_a_deleted_service_is_kept_until_ray_was_seen_after_a_write_that_broke_off():
    world = World()
    fleet = Fleet(world)
    reconciler = Reconciler(world, fleet, Settings(ray_address=RAY), now=world.now)
    world.service = replace(world.service, has_finalizer=True)
    delete(world)
    fleet.writes[KEY] = WriteSeen(at=world.now(), error="broke off")

    await reconciler.reconcile(KEY)
    assert world.service is not None

    world.seconds += 2.0  # the next look is newer than the write
    fleet.writes[KEY] = WriteSeen(at=world.now() - timedelta(seconds=1), error="broke off")
    await reconciler.reconcile(KEY)
    assert world.service is None
