"""A case as a whole: which runs it has, and what one of them leaves behind."""

from pathlib import Path

import pytest

from e2e.bench.autoscaling.case import SECONDS, Case, Work
from e2e.bench.autoscaling.plan import Depth
from e2e.bench.autoscaling.policies.base import Entry, Setting
from e2e.bench.autoscaling.policies.catalogue import ENTRIES, OURS, PEERS, UNSTATED
from e2e.bench.autoscaling.running import attained, first_that_attains
from e2e.bench.autoscaling.store import CaseFile


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("heavy", 2, "swings", None)


def test_every_run_has_a_name_of_its_own_and_defaults_come_first(case: Case) -> None:
    keys = [work.key for work in case.works(Depth.FULL)]
    assert len(set(keys)) == len(keys)
    first: dict[str, object] = {}
    for work in case.works(Depth.FULL):
        first.setdefault(work.policy, work.setting)
    assert {name: first[name] for name in ENTRIES} == {name: entry.default for name, entry in ENTRIES.items()}


def test_a_service_that_states_nothing_is_run_once_on_the_heavy_site_and_smaller_fleets() -> None:
    def times(site: str, fleet: int) -> int:
        works = Case(site, fleet, "swings", None).works(Depth.FULL)
        return sum(work.policy == UNSTATED.name for work in works)

    assert [times("heavy", 4), times("heavy", 20)] == [1, 1]
    assert [times("heavy", 100), times("light", 20)] == [0, 0]


def test_peers_are_swept_about_as_finely_as_our_rule() -> None:
    assert all(0.7 * len(OURS.sweep) <= len(peer.sweep) for peer in PEERS)


@pytest.mark.parametrize("least", [0, 3])
@pytest.mark.parametrize("first", range(16))
def test_of_plans_the_cheapest_that_attains_is_found(case: Case, first: int, least: int) -> None:
    works = case.oracles()[0]
    asked: list[int] = []

    def attains(work: Work) -> bool:
        asked.append(works.index(work))
        return asked[-1] >= first

    wanted = min(max(first, least), len(works) - 1)
    assert first_that_attains(works, attains, least=least) == wanted
    assert wanted in asked and len(set(asked)) <= 8
    assert wanted > least + 1 or len(set(asked)) <= 2, "near is found at once"


def test_an_oracle_that_knows_less_comes_later_and_has_the_same_factors(case: Case) -> None:
    oracles = case.oracles()
    windows = [{work.setting["window_s"] for work in works} for works in oracles]
    assert windows == [{5}, {15}, {60}]
    factors = [[work.setting["factor"] for work in works] for works in oracles]
    assert factors[0] == factors[1] == factors[2] == sorted(factors[0])


def test_where_a_replica_has_one_gpu_both_coupled_deployments_are_one_run(tmp_path: Path) -> None:
    def coupled(site: str) -> dict[str, str]:
        works = Case(site, 2, "swings", None).works(Depth.DEFAULTS)
        return {work.policy: work.like for work in works if work.policy.startswith("coupled")}

    assert coupled("heavy") == {"coupled-measured": "", "coupled-ideal": ""}
    assert coupled("light") == {"coupled-measured": "", "coupled-ideal": "coupled-measured"}
    file = CaseFile(tmp_path, "light-2-swings", "", "")
    file.add("coupled-measured", {"policy": "coupled-measured", "judged": {"attained": 0.5}})
    case = Case("light", 2, "swings", None)
    (ideal,) = (work for work in case.works(Depth.DEFAULTS) if work.policy == "coupled-ideal")
    assert attained(case, ideal, file) == 0.5
    assert file.body["runs"]["coupled-ideal"]["policy"] == "coupled-ideal"


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_coarse_sweep_still_tries_every_choice_or_another_one_each_time(entry: Entry) -> None:
    tried = Depth.COARSE.thinned(entry.sweep)
    for name in entry.sweep[0]:
        values, all_values = ({setting[name] for setting in some} for some in (tried, entry.sweep))
        assert len(values) >= min(len(tried), len(all_values)), name


def test_a_run_tells_both_halves_and_how_replicas_followed_the_load(case: Case) -> None:
    works = {work.key: work for work in case.works(Depth.DEFAULTS)}
    found = case.run(works[OURS.name])
    assert found["tuning"]["requests"] + found["judged"]["requests"] == len(case.requests)
    assert found["judged"]["attained"] > 0.9
    assert len(found["series"]["language"]) == SECONDS / 60
    assert found["tuning"]["gpu_hours"] >= SECONDS / 2 / 3600 * (case.site.language.gpus + 1)


@pytest.mark.parametrize("policy", ["hpa", "aibrix", "ray-serve"])
def test_a_least_that_no_number_was_below_changes_nothing_and_another_one_is_run(policy: str) -> None:
    case = Case("heavy", 4, "smooth", None)
    entry, told = ENTRIES[policy], []
    free = {**entry.sweep[0], "least": 0.0}
    known = case.run(_work(case, entry, free))
    finer = {**known, "setting": {**free, "finer": 1.0}}
    for least in (0.3, 0.8, 3.0):
        work = _work(case, entry, {**free, "least": least})
        assert case.unbound_like(work, {"other": {**known, "policy": "other"}, "finer": finer}) == ""
        told.append(case.unbound_like(work, {"finer": finer, "free": known}))
        run = case.run(work)
        is_same = all(run[half] == known[half] for half in ("tuning", "judged"))
        assert is_same == (told[-1] == "free")
    assert (told[0], told[-1]) == ("free", "")


def _work(case: Case, entry: Entry, setting: Setting) -> Work:
    return Work(entry.name, setting, case.site, lambda: entry.make(case.context(case.site), setting))


def test_coupled_replicas_have_no_vision_beside_them(case: Case) -> None:
    works = {work.key: work for work in case.works(Depth.DEFAULTS)}
    found = case.run(works["coupled-measured"])
    assert found["judged"]["vision_gpu_hours"] == 0
    assert found["judged"]["unanswered"] == 0


def test_the_description_tells_that_the_requests_part(case: Case) -> None:
    traffic = case.description()
    assert traffic["correlation_requests"] < -0.5
    assert traffic["mean_vision"] + traffic["mean_language"] == pytest.approx(0.65 * 2, rel=0.1)
