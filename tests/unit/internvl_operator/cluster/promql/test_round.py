"""The queries of one round: few, the same for any number of services, and blind to series that are told twice."""

from internvl_operator.cluster import promql
from internvl_operator.cluster.promql import Scope
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics

SCOPE = Scope(window_s=30.0)


def test_one_round_is_fifteen_queries():
    assert len(promql.of_load(SCOPE)) == 15


def test_of_each_replica_the_largest_counts_and_replicas_are_summed():
    assert promql.per_second(metrics.WORK, SCOPE) == (
        "sum by (application, stage) (max by (application, replica, stage) "
        "(rate(ray_internvl_work_total[30000ms]) or (rate(ray_internvl_work_total[60000ms]) "
        "and on (application, replica) ray_internvl_replica_start_seconds)))"
    )
    assert promql.at_present(metrics.AWAITED_TILES, SCOPE) == (
        "sum by (application) (max by (application, replica) (ray_internvl_awaited_tiles))"
    )


def test_more_matchers_are_in_every_selector():
    scope = Scope(window_s=7.5, matchers='cluster="eu-1"')
    for query in promql.of_load(scope).values():
        assert query.count('{cluster="eu-1"}') == query.count("ray_internvl_") >= 1


def test_a_step_is_seen_in_full_after_ten_seconds_and_a_prometheus_that_scrapes_seldom_tells_a_rate_too():
    scope = Scope(window_s=Settings().prometheus_window_s)
    assert scope.rate(metrics.TILES_ADMITTED) == (
        "rate(ray_internvl_tiles_admitted_total[10000ms]) or (rate(ray_internvl_tiles_admitted_total[60000ms]) "
        "and on (application, replica) ray_internvl_replica_start_seconds)"
    )
    assert " or " not in Scope(window_s=120.0).rate(metrics.TILES_ADMITTED)
