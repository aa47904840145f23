"""The table of metrics: names that Prometheus and Ray take, and no metric beside it or unused in it."""

import ast
import re
from collections import Counter
from pathlib import Path

import internvl_runtimes
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Metric, MetricKind, Role, Unit

PACKAGE = Path(internvl_runtimes.__file__).parent
OF_RAY = {
    "deployment",
    "replica",
    "application",
    "route",
    "Component",
    "NodeAddress",
    "SessionName",
    "WorkerId",
}


def used_in_code() -> set[str]:
    """Names of constants of the table that the deployments and engines name."""
    sources = [p for p in PACKAGE.rglob("*.py") if p.parent.name != "contract"]
    return {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "metrics"
    }


def test_every_metric_of_the_table_is_recorded_and_no_other() -> None:
    in_table = {name for name, value in vars(metrics).items() if isinstance(value, Metric)}
    recorded = {name for name in used_in_code() if name.isupper()} - {"ALL", "NOTHING"}
    assert recorded == in_table
    assert len(in_table) == len(metrics.ALL)


def test_no_name_is_given_twice() -> None:
    assert [name for name, times in Counter(m.exported for m in metrics.ALL).items() if times > 1] == []


def test_names_and_labels_are_those_that_ray_takes() -> None:
    for metric in metrics.ALL:
        assert re.fullmatch(r"internvl(_[a-z]+)+", metric.name)
        assert not metric.name.endswith("_total"), "Ray adds it"
        assert not OF_RAY & set(metric.labels)
        assert all(edge > 0 for edge in metric.boundaries)
        assert list(metric.boundaries) == sorted(set(metric.boundaries))
        assert bool(metric.boundaries) == (metric.kind is MetricKind.HISTOGRAM)


def test_seconds_and_bytes_say_so_in_their_names() -> None:
    for metric in metrics.ALL:
        assert (metric.unit is Unit.SECONDS) == ("seconds" in metric.name), metric.name
        assert (metric.unit is Unit.BYTES) == ("bytes" in metric.name), metric.name


def test_counters_are_exported_with_total() -> None:
    assert metrics.TILES.exported == "ray_internvl_tiles_total"
    assert metrics.QUEUE_DEPTH.exported == "ray_internvl_queue_depth"


def test_a_role_begins_only_series_of_its_own() -> None:
    assert list(metrics.WORK.series(Role.VISION)) == [{"stage": "vision"}]
    assert list(metrics.WORK.series(Role.LANGUAGE)) == [{"stage": "prefill"}, {"stage": "decode"}]
    assert list(metrics.WORK.series(Role.GATEWAY)) == []
    read = list(metrics.MODEL_BYTES_READ.series(Role.VISION))
    assert [series["role"] for series in read] == ["vision"] * 3
    assert list(metrics.TILES_ADMITTED.series(Role.GATEWAY)) == [{}]


def test_a_label_whose_values_are_not_known_begins_no_series() -> None:
    assert list(metrics.ERRORS.series(Role.GATEWAY)) == []


def test_what_has_not_counted_yet_is_lost_in_the_first_real_addition() -> None:
    assert metrics.NOTHING > 0
    assert metrics.NOTHING + 1e-9 == 1e-9
