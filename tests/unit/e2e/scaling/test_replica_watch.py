"""Replica-seconds of what Serve listed, and the share of a core that each replica gets once."""

import pytest

from e2e.scaling.replica_watch import LANGUAGE, VISION, ReplicaWatch


class Limits:
    def __init__(self):
        self.given = []

    def bound(self, pid, cores):
        self.given.append((pid, cores))


def applications(*states):
    replicas = [{"state": state, "pid": pid} for pid, state in enumerate(states)]
    return {"team.a.vision": {"deployments": {VISION: {"name": VISION, "replicas": replicas}}}}


@pytest.fixture
def watch(monkeypatch):
    made = ReplicaWatch(ray=None, limits=Limits(), cores={VISION: 0.25, LANGUAGE: 0.25})

    def look(at, *states):
        monkeypatch.setattr("time.time", lambda: at)
        made._look(applications(*states))

    made_looks = (
        (0.0, "RUNNING"),
        (10.0, "RUNNING", "STARTING"),
        (16.0, "RUNNING", "RUNNING"),
        (20.0, "RUNNING"),
    )
    for at, *states in made_looks:
        look(at, *states)
    return made


def test_a_replica_counts_from_its_order_to_the_end_of_its_drain(watch):
    assert watch.replica_seconds(VISION, 0.0, 30.0) == 10 + 2 * 10 + 10
    assert watch.replica_seconds(VISION, 5.0, 12.0) == 5 + 2 * 2
    assert watch.replica_seconds(LANGUAGE, 0.0, 30.0) == 0


def test_a_change_is_over_when_all_that_are_listed_run(watch):
    assert watch.first(VISION, 2, since=5.0) == 16.0
    assert watch.first(VISION, 1, since=16.0) == 20.0
    assert watch.first(VISION, 3, since=0.0) is None


def test_a_replica_is_bounded_once_it_runs_and_again_only_when_its_share_changes(watch):
    assert watch.limits.given == [(0, 0.25), (1, 0.25)]
    watch.cores = {VISION: 1.0, LANGUAGE: 0.25}
    watch._look(applications("RUNNING"))
    assert watch.limits.given[2:] == [(0, 1.0)]
