import asyncio
from typing import Any

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.ray import RayFault
from internvl_operator.cluster.ray_writer import REPAIRS, RayWriter
from internvl_operator.cluster.serve_merge import Submission
from internvl_operator.errors import NotYet

A, B = ServiceKey("ns", "a"), ServiceKey("ns", "b")


def wants(name: str, **config: Any) -> Submission:
    return Submission(({"name": name, **config},))


@pytest.fixture
def woken():
    return []


@pytest.fixture
def states():
    return []


@pytest.fixture
def writer(serve, clock, woken, states):
    return RayWriter(
        serve,
        now=clock.now,
        sleep=clock.sleep,
        on_state=states.append,
        on_outcome=woken.append,
        build_wait_s=60.0,
        initial_options={"http_options": {"host": "127.0.0.1", "port": 8001}},
    )


def names(body: dict[str, Any]) -> list[str]:
    return sorted(app["name"] for app in body["applications"])


async def test_submissions_of_several_services_go_out_in_one_put(writer, serve, woken):
    serve.deploy("theirs", port=1)
    writer.submit(A, wants("a"))
    writer.submit(B, wants("b"))

    await writer.write_waiting()

    assert [names(body) for body in serve.bodies] == [["a", "b", "theirs"]]
    assert set(woken) == {A, B}
    assert writer.outcome(A).error is None


async def test_nothing_is_put_when_serve_already_holds_what_is_wanted(writer, serve):
    serve.deploy("a", v=1)
    writer.submit(A, wants("a", v=1))

    await writer.write_waiting()

    assert serve.bodies == []
    assert writer.outcome(A).error is None


async def test_only_the_newest_of_many_submissions_is_written(writer, serve):
    for v in range(5):
        writer.submit(A, wants("a", v=v))

    await writer.write_waiting()

    assert [body["applications"] for body in serve.bodies] == [[{"name": "a", "v": 4}]]


async def test_options_of_a_running_serve_are_put_back_as_it_reported_them(writer, serve):
    serve.options = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "::", "port": 9},
        "target_capacity": 50.0,
    }
    writer.submit(A, wants("a"))

    await writer.write_waiting()

    assert {key: value for key, value in serve.bodies[0].items() if key != "applications"} == serve.options


async def test_our_own_options_count_only_where_serve_does_not_run_yet(writer, serve):
    serve.started = False
    writer.submit(A, wants("a"))

    await writer.write_waiting()

    assert serve.bodies[0]["http_options"] == {"host": "127.0.0.1", "port": 8001}


async def test_what_another_writer_destroyed_between_is_written_again(writer, serve, states):
    undone = iter([True, True, False])

    def destroy() -> None:
        if next(undone):
            serve.applications.pop("a", None)

    serve.after_put = destroy
    writer.submit(A, wants("a"))

    await writer.write_waiting()

    assert len(serve.bodies) == 3
    assert "a" in states[-1].applications
    assert writer.outcome(A).error is None


async def test_a_writer_that_never_stops_is_reported_instead_of_fought_for_ever(writer, serve):
    serve.after_put = lambda: serve.applications.pop("a", None)
    writer.submit(A, wants("a"))

    await writer.write_waiting()

    assert len(serve.bodies) == REPAIRS + 1
    assert "again and again" in writer.outcome(A).error
    assert writer.outcome(A).reason is Reason.WRITE_FAILED


async def test_a_write_waits_for_a_foreign_build_and_says_for_whom(writer, serve, clock, woken):
    serve.deploy("theirs", status="DEPLOYING", deployments=False)
    seen: list[str | None] = []

    async def sleep(seconds: float) -> None:
        seen.append(writer.outcome(A).waiting_for)
        await clock.sleep(seconds)
        if clock.seconds >= 3:
            serve.deploy("theirs")

    writer._sleep = sleep
    writer.submit(A, wants("a"))
    await writer.write_waiting()

    assert seen == ["theirs"] * 3
    assert writer.outcome(A).waiting_for is None
    assert len(serve.bodies) == 1
    assert woken == [A, A]  # once for the wait, once for the end


async def test_a_build_that_hangs_for_ever_holds_a_write_up_only_for_a_while(writer, serve, clock):
    serve.deploy("theirs", status="DEPLOYING", deployments=False)
    writer.submit(A, wants("a"))

    await writer.write_waiting()

    assert clock.seconds == pytest.approx(60.0)
    assert names(serve.bodies[0]) == ["a", "theirs"]


async def test_our_own_build_is_replaced_at_once_by_a_newer_spec(writer, serve, clock):
    serve.deploy("a", status="DEPLOYING", deployments=False, v=1)
    writer.submit(A, wants("a", v=2))

    await writer.write_waiting()

    assert clock.seconds == 0.0
    assert serve.bodies[0]["applications"] == [{"name": "a", "v": 2}]


async def test_a_submission_that_comes_during_the_wait_joins_the_same_put(writer, serve, clock):
    serve.deploy("theirs", status="DEPLOYING", deployments=False)

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        writer.submit(B, wants("b"))
        serve.deploy("theirs")

    writer._sleep = sleep
    writer.submit(A, wants("a"))
    await writer.write_waiting()

    assert [names(body) for body in serve.bodies] == [["a", "b", "theirs"]]


async def test_one_refused_submission_does_not_stop_the_other(writer, serve):
    serve.put_fault = lambda body: (
        RayFault(Reason.WRITE_FAILED, "route taken") if "a" in names(body) else None
    )
    writer.submit(A, wants("a"))
    writer.submit(B, wants("b"))

    await writer.write_waiting()

    assert writer.outcome(A).error == "route taken"
    assert writer.outcome(B).error is None
    assert names(serve.bodies[-1]) == ["b"]


async def test_a_ray_that_is_away_is_told_once_to_all_without_trying_each(writer, serve):
    serve.fault = RayFault(Reason.RAY_UNREACHABLE, "gone")
    writer.submit(A, wants("a"))
    writer.submit(B, wants("b"))

    await writer.write_waiting()

    assert writer.outcome(A).error == writer.outcome(B).error == "gone"
    assert serve.fetches == 1
    assert writer.idle


async def test_a_process_that_cannot_renew_its_lease_does_not_put(serve, clock):
    def fence() -> None:
        raise NotYet("no lease")

    writer = RayWriter(
        serve,
        now=clock.now,
        on_state=lambda _: None,
        on_outcome=lambda _: None,
        build_wait_s=60.0,
        fence=fence,
    )
    writer.submit(A, wants("a"))

    await writer.write_waiting()

    assert serve.bodies == []
    assert writer.outcome(A).error == "no lease"


async def test_the_running_writer_takes_up_a_submission_by_itself(writer, serve):
    task = asyncio.create_task(writer.run())
    writer.submit(A, wants("a"))
    while not serve.bodies or not writer.idle:
        await asyncio.sleep(0)
    task.cancel()
    assert names(serve.bodies[0]) == ["a"]


async def test_removing_what_is_not_there_writes_nothing(writer, serve):
    serve.deploy("theirs")
    writer.submit(A, Submission((), remove=("a", "a.vision")))

    await writer.write_waiting()

    assert serve.bodies == []
    assert writer.outcome(A).error is None


async def test_a_bug_in_one_write_does_not_end_the_writer(writer, serve):
    def explode() -> None:
        serve.before_put = lambda: None
        raise KeyError("unexpected")

    serve.before_put = explode
    task = asyncio.create_task(writer.run())
    writer.submit(A, wants("a"))
    while writer.outcome(A) is None:
        await asyncio.sleep(0)
    assert "KeyError" in writer.outcome(A).error

    writer.submit(B, wants("b"))
    while writer.outcome(B) is None:
        await asyncio.sleep(0)
    task.cancel()
    assert writer.outcome(B).error is None


async def test_what_is_written_one_by_one_counts_as_being_written_until_its_turn(writer, serve):
    """Else a service that is deleted meanwhile is let go, and its applications are written after that."""
    pending: list[bool] = []

    def refuse_together(body: dict[str, Any]) -> RayFault | None:
        pending.append(writer.is_writing(A) or writer.outcome(A) is not None)
        pending.append(writer.is_writing(B))
        return RayFault(Reason.WRITE_FAILED, "bad") if "a" in names(body) else None

    serve.put_fault = refuse_together
    writer.submit(A, wants("a"))
    writer.submit(B, wants("b"))

    await writer.write_waiting()

    assert pending == [True] * 6
    assert writer.outcome(A).error == "bad"
    assert writer.outcome(B).error is None
    assert writer.idle


async def test_a_newer_submission_replaces_one_that_waits_for_its_turn(writer, serve):
    def refuse(body: dict[str, Any]) -> RayFault | None:
        if names(body) == ["a"]:
            writer.submit(B, wants("b", v=2))
        return RayFault(Reason.WRITE_FAILED, "bad") if "a" in names(body) else None

    serve.put_fault = refuse
    writer.submit(A, wants("a"))
    writer.submit(B, wants("b", v=1))

    await writer.write_waiting()

    assert [body["applications"] for body in serve.bodies] == [[{"name": "b", "v": 2}]]


async def test_a_ray_that_goes_away_meanwhile_is_asked_once_and_not_once_a_service(writer, serve):
    def refuse(body: dict[str, Any]) -> RayFault | None:
        serve.fault = RayFault(Reason.RAY_TIMED_OUT, "hangs")
        return RayFault(Reason.WRITE_FAILED, "bad")

    serve.put_fault = refuse
    for name in "abcd":
        writer.submit(ServiceKey("ns", name), wants(name))

    await writer.write_waiting()

    assert serve.fetches == 2
    assert {writer.outcome(ServiceKey("ns", name)).error for name in "abcd"} == {"hangs"}
    assert writer.idle
