"""Rounds of scaling: who is woken when, and what a new process does."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import (
    ApplicationSeen,
    DeploymentSeen,
    LoadSeen,
    Observation,
    RaySeen,
    RayUnavailable,
    ReplicaSeen,
    ServiceSeen,
)
from internvl_operator.plan.plan import plan
from internvl_operator.reconcile.scaler import KEPT_UP_S, SETTLE_S, SHOW_AGAIN_S, UNDECIDED_S, Scaler
from internvl_operator.scaling.history import from_json
from internvl_operator.scaling.model import Limit, SideLoad, Work, WorkKind
from internvl_operator.settings import Settings

A, B = ServiceKey("team", "a"), ServiceKey("team", "b")
HOME = RayHome(Backend.RAY, "http://ray:8265")
SPEC = {
    "model": {"uri": "file:///m"},
    "vision": {"maxReplicas": 8, "capacity": {"tilesPerSecond": 10}},
}


def service(key, **spec):
    return ServiceSeen(key=key, uid=f"uid-{key.name}", generation=1, spec=parse_spec({**SPEC, **spec}))


class World:
    """Services on one Ray, their load, and a clock."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.tiles = {}
        self.numbers = {}
        self.reason = Reason.METRICS_SEEN
        self.breaks = set()
        self.away = False
        self.trouble = "away"
        self.is_deployed = True
        self.read_fault = None
        self.reads = []
        self.woken = []
        self.interval_s = 2.0
        self.booked = []
        self.start()

    def start(self):
        """A new operator process."""
        self.scaler = Scaler(
            self, self, quiet_s=300.0, wake=self.woken.append, now=lambda: self.now, recorder=self
        )

    # the load

    async def read(self, places):
        if self.read_fault is not None:
            raise self.read_fault
        self.reads.append(set(places))
        return {key: self._load(key) for key in places}

    def _load(self, key):
        if self.reason not in (Reason.METRICS_SEEN, Reason.METRICS_INCOMPLETE):
            return LoadSeen(reason=self.reason, unknown="nobody tells")
        tiles = self.tiles.get(key, 0.0)
        side = SideLoad(
            at=self.now.timestamp(),
            window_s=5.0,
            work={WorkKind.TILES: Work(arriving="broken" if key in self.breaks else tiles)},
            requests=1000.0,
            expected_replicas=2 if self.reason is Reason.METRICS_INCOMPLETE else 1,
        )
        return LoadSeen(reason=self.reason, loads={Role.VISION: side, Role.LANGUAGE: side})

    # the Ray side

    def known(self, key, home):
        if self.away:
            return RayUnavailable(
                address=home.address, since=self.now, reason=Reason.RAY_UNREACHABLE, message=self.trouble
            )
        applications = {}
        for role in Role if self.is_deployed else ():
            count = self.numbers.get((key, role), 1)
            name = names.application(key, role)
            entry = {"name": DEPLOYMENTS[role], "num_replicas": count, "user_config": {}}
            known = applications.get(name)
            deployed = DeploymentSeen(
                name=DEPLOYMENTS[role],
                status="HEALTHY",
                target_replicas=count,
                replicas=tuple(ReplicaSeen(id=f"r{i}", state="RUNNING") for i in range(count)),
                user_config={},
            )
            applications[name] = ApplicationSeen(
                name=name,
                status="RUNNING",
                config={
                    "name": name,
                    "deployments": [*(known.config["deployments"] if known else ()), entry],
                },
                deployments={**(known.deployments if known else {}), DEPLOYMENTS[role]: deployed},
            )
        return RaySeen(address=home.address, at=self.now, applications=applications)

    # the books

    def decided(self, key, sides, ready):
        self.booked.append((key, {role: side.target for role, side in sides.items()}, dict(ready)))

    def round_took(self, seconds):
        self.booked.append(("round", seconds >= 0))

    def forget(self, key):
        self.booked.append(("gone", key))

    # what happens

    def written(self, seen):
        """The service with the status that is written now."""
        observation = Observation(
            service=seen, ray=self.known(A, HOME), scaling=self.shown(seen), now=self.now
        )
        return replace(seen, status=plan(observation, Settings(ray_address=HOME.address)).status)

    async def rounds(self, count, every_s=2.0):
        """Services that were woken meanwhile; what is shown is taken up, as a reconcile does."""
        self.woken.clear()
        for _ in range(count):
            self.now += timedelta(seconds=every_s)
            await self.scaler.round()
        return list(self.woken)

    def shown(self, seen):
        return self.scaler.follow(seen, HOME)

    def obey(self, seen):
        """Ray Serve takes up what was decided."""
        for role, side in self.shown(seen).sides.items():
            self.numbers[seen.key, role] = side.target


@pytest.fixture
def world():
    return World()


async def test_a_step_of_the_load_wakes_the_service_in_the_next_round(world):
    seen = service(A)
    assert world.shown(seen) is None
    await world.rounds(3)
    world.obey(seen)
    assert await world.rounds(20) == []
    world.tiles[A] = 35.0
    assert await world.rounds(1) == [A]
    target = world.shown(seen).sides[Role.VISION].target
    assert target >= 4
    assert world.booked[-2] == (A, {Role.VISION: target}, {Role.VISION: 1})


async def test_at_rest_and_under_a_steady_load_nobody_is_woken(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(60)
    world.obey(seen)
    await world.rounds(1)
    assert await world.rounds(200) == []


async def test_fixed_numbers_are_never_looked_at(world):
    fixed = service(B, vision={"minReplicas": 2})
    assert world.shown(fixed) is None
    assert await world.rounds(3) == [] and world.reads == [set()] * 3
    assert not [entry for entry in world.booked if entry[0] == B]


async def test_a_side_that_somebody_else_owns_is_never_looked_at(world):
    theirs = service(B, vision={"maxReplicas": 8, "scaledBy": "External"})
    assert world.shown(theirs) is None
    assert await world.rounds(3) == [] and world.reads == [set()] * 3


async def test_a_decision_that_breaks_holds_up_no_other(world, caplog):
    world.breaks = {A}
    world.tiles[B] = 35.0
    world.shown(service(A)), world.shown(service(B))
    assert set(await world.rounds(2)) == {B}
    assert "team/a" in caplog.text


async def test_a_load_that_is_unknown_holds_the_number_and_is_told_when_it_lasts(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(3)
    world.obey(seen)
    await world.rounds(1)
    world.reason = Reason.PROMETHEUS_UNAVAILABLE
    assert await world.rounds(int(SETTLE_S / 2)) == []
    assert await world.rounds(1) == [A]
    assert world.shown(seen).metrics is Reason.PROMETHEUS_UNAVAILABLE
    assert world.shown(seen).sides[Role.VISION].target == world.numbers[A, Role.VISION]
    assert await world.rounds(100, every_s=30.0) == [], "a number that is held for hours is no news"


async def test_a_node_that_was_late_once_is_no_news(world):
    seen = service(A)
    world.shown(seen)
    await world.rounds(2)
    for _ in range(20):
        world.reason = Reason.METRICS_INCOMPLETE
        assert await world.rounds(2) == []
        world.reason = Reason.METRICS_SEEN
        assert await world.rounds(1) == []


async def test_while_ray_is_away_nothing_is_decided(world):
    world.shown(service(A))
    world.away = True
    assert await world.rounds(5) == [] and world.shown(service(A)) is None


async def test_a_number_that_is_kept_for_the_quiet_window_says_until_when(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 32.0
    await world.rounds(30)
    world.obey(seen)
    world.tiles[A] = 1.0
    assert await world.rounds(int(KEPT_UP_S / 2)) == [], "a dip is no news"
    assert await world.rounds(1) == [A]
    side = world.shown(seen).sides[Role.VISION]
    assert side.limited_by is Limit.QUIET
    end = world.shown(seen).at + timedelta(seconds=side.until_s)
    assert side.why.endswith(f"fewer not before {end:%H:%M:%S} UTC")
    while world.now < end - timedelta(seconds=2):
        assert await world.rounds(1) == []
    assert await world.rounds(2) == [A] and world.shown(seen).sides[Role.VISION].target < side.target


async def test_a_number_that_is_kept_for_longer_than_was_said_is_shown_again(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(30)
    world.obey(seen)
    world.tiles[A] = 1.0
    await world.rounds(60)
    first = world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(5)
    world.tiles[A] = 1.0
    left_s = first.sides[Role.VISION].until_s - 130
    await world.rounds(int(left_s / 2) + int(KEPT_UP_S / 2) + 35)
    again = world.shown(seen)
    assert again.sides[Role.VISION].target == first.sides[Role.VISION].target
    assert again.sides[Role.VISION].why != first.sides[Role.VISION].why
    assert (again.at - first.at).total_seconds() <= first.sides[Role.VISION].until_s + KEPT_UP_S + 4


async def test_bursts_that_a_number_must_hold_are_shown_seldom(world):
    seen = service(A)
    world.shown(seen)
    shows = 0
    for _ in range(60):
        world.tiles[A] = 35.0
        shows += len(await world.rounds(15))
        world.obey(seen)
        world.tiles[A] = 1.0
        shows += len(await world.rounds(45))
        world.obey(seen)
    assert shows <= 30, "in two hours"


async def test_after_a_load_the_reserve_that_fades_is_no_news(world):
    seen = service(A)
    world.shown(seen)
    for tiles, rounds in ((5.0, 16), (35.0, 4)) * 15:  # further apart than the quiet window keeps
        world.tiles[A] = tiles
        await world.rounds(rounds, every_s=30.0)
        world.obey(seen)
    world.tiles[A] = 0.0
    await world.rounds(120, every_s=30.0)
    world.obey(seen)
    before = world.shown(seen).sides[Role.VISION]
    assert "reserve" in before.why
    shows = 0
    for _ in range(24):
        shows += len(await world.rounds(120, every_s=30.0))
        world.obey(seen)
    after = world.shown(seen).sides[Role.VISION]
    assert shows <= 4 * (before.target - after.target), "in a day of rest, for each number that comes down"


async def test_sentences_that_say_something_else_are_shown_after_ten_minutes(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 33.0
    await world.rounds(3)
    world.obey(seen)
    await world.rounds(30)
    world.tiles[A] = 33.5
    before = world.shown(seen).at
    woken = await world.rounds(int(SHOW_AGAIN_S / 2) + 2)
    assert len(woken) <= 2 and (world.shown(seen).at - before).total_seconds() >= SHOW_AGAIN_S


async def test_a_new_process_at_rest_wakes_nobody_and_remembers(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(60)
    world.obey(seen)
    await world.rounds(1)

    stored = world.written(seen)
    assert stored.status.condition(ConditionType.SCALING_ACTIVE) is not None
    world.start()
    assert world.shown(stored) is None
    assert await world.rounds(30) == []

    world.tiles[A] = 0.0
    assert await world.rounds(30) == [], "the quiet window of the process before still lasts"


async def test_a_new_process_shows_what_it_learned_after_ten_minutes_and_only_news(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(60)
    world.obey(seen)
    await world.rounds(1)
    stored = world.written(seen)
    learned = from_json(stored.status.scaling.memory).of(Role.VISION).rises.seen_s

    world.start()
    world.shown(stored)
    rounds = int(SHOW_AGAIN_S / 2)
    world.tiles[A] = 35.5
    assert await world.rounds(rounds - 10) == []
    assert await world.rounds(20) == [A]
    shown = world.shown(stored)
    assert "35.5 tiles/s" in shown.sides[Role.VISION].why
    assert from_json(shown.memory).of(Role.VISION).rises.seen_s > learned + SHOW_AGAIN_S / 2


async def test_a_new_process_whose_sentences_stay_true_wakes_nobody_for_hours(world):
    seen = service(A)
    world.shown(seen)
    await world.rounds(3)
    world.obey(seen)
    await world.rounds(1)
    decided = plan(
        Observation(service=seen, ray=world.known(A, HOME), scaling=world.shown(seen), now=world.now),
        Settings(ray_address=HOME.address),
    )
    world.start()
    world.shown(replace(seen, status=decided.status))
    assert await world.rounds(1000) == []


async def test_a_new_process_finishes_what_the_one_before_had_only_decided(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(2)
    decided = plan(
        Observation(service=seen, ray=world.known(A, HOME), scaling=world.shown(seen), now=world.now),
        Settings(ray_address=HOME.address),
    )
    world.start()
    world.shown(replace(seen, status=decided.status))
    assert await world.rounds(1) == [A], "Ray Serve has not got that number"
    assert world.shown(seen).sides[Role.VISION].target >= 4


async def test_what_was_learned_outlives_an_hour_in_which_somebody_else_had_the_number(world):
    stored = await at_rest(world)
    await world.rounds(rounds_in(SHOW_AGAIN_S))
    world.tiles[A] = 45.0
    assert await world.rounds(1) == [A]
    world.obey(stored)
    stored = world.written(stored)
    learned = from_json(stored.status.scaling.memory).of(Role.VISION).rises
    assert learned.seen_s > 0
    ours, theirs = stored.spec, service(A, vision={"maxReplicas": 8, "scaledBy": "External"}).spec
    stored = world.written(replace(stored, spec=theirs))
    world.now += timedelta(hours=1)
    world.numbers[A, Role.VISION] = 2
    world.reason = Reason.METRICS_MISSING
    stored = replace(world.written(stored), spec=ours)
    world.shown(stored)
    await world.rounds(rounds_in(SETTLE_S) + 2)
    shown = world.shown(stored)
    assert shown.sides[Role.VISION].target == 2, "it begins with the number that stands"
    assert from_json(shown.memory).of(Role.VISION).rises == learned


# --- decisions that stop -----------------------------------------------------------------------------------


async def at_rest(world):
    """A service with four replicas of vision, whose status says so."""
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 25.0
    await world.rounds(60)
    world.obey(seen)
    await world.rounds(1)
    return world.written(seen)


def said(stored):
    """Both conditions of a status: whether, why, and in words."""
    return {
        kind.value: (found.status, found.reason, found.message)
        for kind in (ConditionType.SCALING_ACTIVE, ConditionType.METRICS_AVAILABLE)
        if (found := stored.status.condition(kind))
    }


def rounds_in(seconds):
    return int(seconds / 2)


async def test_that_ray_is_away_is_told_once_when_it_lasts_and_when_it_ends(world):
    stored = await at_rest(world)
    before = stored.status.roles.vision
    since = f"nothing has been decided since {world.now:%H:%M:%S} UTC: away"
    world.away = True
    assert await world.rounds(rounds_in(UNDECIDED_S) - 1) == [], "a short outage is no news"
    assert await world.rounds(1) == [A]
    stored = world.written(stored)
    assert said(stored)["ScalingActive"] == ("False", Reason.SCALING_HELD, since)
    assert said(stored)["MetricsAvailable"][:2] == ("False", Reason.METRICS_MISSING)
    assert "away" in said(stored)["MetricsAvailable"][2]
    vision = stored.status.roles.vision
    assert vision.why == f"vision stays at {before.target}: held, because {since}"
    assert (vision.target, vision.desired, vision.last_scaling) == (
        before.target,
        before.desired,
        before.last_scaling,
    )
    assert ("gone", A) in world.booked, "figures of before are not what is"
    assert await world.rounds(rounds_in(3600)) == []

    world.away = False
    assert await world.rounds(rounds_in(SETTLE_S) + 1) == [A]
    stored = world.written(stored)
    assert said(stored)["ScalingActive"][:2] == ("True", Reason.SCALED_BY_LOAD)
    assert said(stored)["MetricsAvailable"][:2] == ("True", Reason.METRICS_SEEN)
    assert "tiles/s" in stored.status.roles.vision.why


async def test_another_reason_is_told_after_ten_minutes(world):
    stored = await at_rest(world)
    world.away = True
    await world.rounds(rounds_in(UNDECIDED_S))
    world.trouble = "it answers no more in time"
    assert await world.rounds(rounds_in(SHOW_AGAIN_S) - 1) == []
    assert await world.rounds(1) == [A]
    assert said(world.written(stored))["ScalingActive"][2].endswith("UTC: it answers no more in time")


async def test_decisions_that_go_on_without_a_load_are_told_too(world):
    stored = await at_rest(world)
    world.away = True
    await world.rounds(rounds_in(UNDECIDED_S))
    world.away, world.reason = False, Reason.METRICS_MISSING
    assert await world.rounds(rounds_in(SETTLE_S) + 1) == [A]
    assert "its load is unknown: nobody tells" in world.written(stored).status.roles.vision.why


async def test_a_new_process_that_cannot_decide_says_so_and_changes_no_number(world):
    stored = await at_rest(world)
    memory, target = stored.status.scaling.memory, stored.status.roles.vision.target
    world.start()
    world.away = True
    assert world.shown(stored) is None
    assert await world.rounds(rounds_in(UNDECIDED_S) + 1) == [A]
    stored = world.written(stored)
    assert said(stored)["ScalingActive"][:2] == ("False", Reason.SCALING_HELD)
    assert "held, because nothing has been decided since" in stored.status.roles.vision.why
    assert (stored.status.roles.vision.target, stored.status.scaling.memory) == (target, memory)
    world.away = False
    assert A in await world.rounds(rounds_in(SETTLE_S) + 1)
    assert world.shown(stored).sides[Role.VISION].target == target


async def test_a_decision_that_breaks_each_time_is_told_and_logged_seldom(world, caplog):
    stored = await at_rest(world)
    world.breaks = {A}
    assert await world.rounds(rounds_in(UNDECIDED_S)) == [A]
    stored = world.written(stored)
    status, reason, message = said(stored)["ScalingActive"]
    assert (status, reason) == ("False", Reason.SCALING_HELD)
    assert "deciding broke, TypeError: " in message
    assert said(stored)["MetricsAvailable"][:2] == ("True", Reason.METRICS_SEEN)
    assert len(caplog.records) == 1
    assert await world.rounds(rounds_in(3600)) == []
    assert len(caplog.records) == 1 + 3600 / SHOW_AGAIN_S


async def test_another_fault_is_logged_at_once(world, caplog):
    world.shown(service(A))
    world.breaks = {A}
    await world.rounds(3)
    world.breaks, world.read_fault = set(), OSError("no more files")
    for _ in range(3):
        with pytest.raises(OSError, match="no more files"):
            await world.rounds(1)
    assert len(caplog.records) == 1, "of the round it is for its caller to say"
    world.read_fault = None

    def breaks(*_):
        raise KeyError("x")

    world.decided = breaks
    await world.rounds(3)
    assert [record.exc_info[0] for record in caplog.records] == [TypeError, KeyError]


async def test_rounds_that_break_are_told_and_logged_seldom(world, caplog):
    stored = await at_rest(world)
    world.read_fault = OSError("no more files")

    async def sleep(seconds):
        world.now += timedelta(seconds=seconds)
        if world.now > end:
            raise asyncio.CancelledError

    end = world.now + timedelta(seconds=2 * UNDECIDED_S)
    world.scaler._sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        await world.scaler.run()
    assert world.woken == [A]
    assert said(world.written(stored))["ScalingActive"][2].endswith(
        "UTC: the rounds break, see the operator's log"
    )
    assert len(caplog.records) == 1


async def test_a_serve_that_holds_no_configuration_is_the_reason(world):
    stored = await at_rest(world)
    world.is_deployed = False
    assert await world.rounds(rounds_in(UNDECIDED_S)) == [A]
    assert said(world.written(stored))["ScalingActive"][2].endswith(
        "Ray Serve has no configuration of a side"
    )


async def test_a_clock_that_is_set_back_delays_it_by_no_more_than_a_minute(world):
    await at_rest(world)
    world.away = True
    world.now -= timedelta(days=1)
    await world.rounds(1)
    assert await world.rounds(rounds_in(UNDECIDED_S)) == [A]


async def test_who_is_gone_is_forgotten(world):
    seen = service(A)
    world.shown(seen)
    await world.rounds(1)
    world.scaler.forget(A)
    assert await world.rounds(2) == [] and world.reads[-1] == set()
    assert ("gone", A) in world.booked


async def test_a_service_that_is_being_deleted_is_not_scaled(world):
    seen = service(A)
    world.shown(seen)
    assert world.scaler.follow(replace(seen, deleting_since=world.now), HOME) is None
    await world.rounds(1)
    assert world.reads == [set()]


async def test_another_service_of_the_same_name_begins_anew(world):
    seen = service(A)
    world.shown(seen)
    world.tiles[A] = 35.0
    await world.rounds(3)
    assert world.shown(replace(seen, uid="another")) is None
