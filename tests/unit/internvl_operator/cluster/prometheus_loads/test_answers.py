import pytest

from internvl_operator.cluster.exposition import Sample
from internvl_operator.cluster.prometheus import PrometheusFault
from internvl_operator.cluster.prometheus_loads import read_prometheus, readings_of
from internvl_operator.cluster.promql import NEWEST, REPLICAS, Scope, of_load
from internvl_runtimes.contract import metrics

SCOPE = Scope(window_s=30.0)


def sample(value, **labels):
    return Sample("", labels, value)


def answers(**found):
    return {**dict.fromkeys(of_load(SCOPE), ()), **found}


def test_rows_become_readings_by_application():
    found = readings_of(
        answers(
            **{
                NEWEST: [sample(100.0, application="team.a"), sample(90.0, application="team.b")],
                REPLICAS: [sample(2.0, application="team.a", deployment="LanguageModel")],
                metrics.WORK.name: [
                    sample(3.0, application="team.a", stage="prefill"),
                    sample(4.0, application="team.a", stage="decode"),
                ],
                metrics.AWAITED_TILES.name: [sample(7.0, application="team.b")],
            }
        ),
        SCOPE,
    )
    a, b = found["team.a"], found["team.b"]
    assert (a.at, a.window_s, a.replicas) == (100.0, 30.0, {"LanguageModel": 2})
    assert (a.rate(metrics.WORK), a.rate(metrics.WORK, "decode"), a.rate(metrics.TILES_ADMITTED)) == (
        7.0,
        4.0,
        0,
    )
    assert b.gauge(metrics.AWAITED_TILES) == 7.0 and b.rate(metrics.WORK) == 0


def test_an_application_whose_newest_sample_is_unknown_is_absent():
    assert (
        readings_of(answers(**{metrics.WORK.name: [sample(3.0, application="x", stage="decode")]}), SCOPE)
        == {}
    )


async def test_half_a_round_is_none():
    class Half:
        async def query(self, text):
            if "awaited_tiles" in text:
                raise PrometheusFault("away")
            return ()

    with pytest.raises(PrometheusFault, match="away"):
        await read_prometheus(Half(), SCOPE)
