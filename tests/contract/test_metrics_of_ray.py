"""Our table of metrics, taken by Ray's own metric classes."""

import warnings
from typing import Any

import pytest

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import MetricKind, Role
from internvl_runtimes.deployments.metrics import RayRecorder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own use of pydantic is not ours to mend
    import ray.serve.metrics  # noqa: F401 - RayRecorder imports it again, then without warnings
    from ray.util import metrics as ray_metrics

Recorded = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """What reaches Ray's recording, after its own checks of values and tags."""
    seen: Recorded = []
    check = ray_metrics.Metric._record

    def record(self: Any, value: float, tags: dict[str, str] | None = None) -> None:
        check(self, value, tags)
        seen.append((self._name, value, dict(tags or {})))

    monkeypatch.setattr(ray_metrics.Metric, "_record", record)
    return seen


@pytest.mark.parametrize("role", Role)
def test_ray_takes_every_metric_of_a_role_with_all_its_labels(role: Role, recorded: Recorded) -> None:
    recorder = RayRecorder(role)
    recorded.clear()
    own = [metric for metric in metrics.ALL if role in metric.roles]
    for metric in own:
        for series in (
            metric.series(role) if all(metric.labels.values()) else [dict.fromkeys(metric.tags, "x")]
        ):
            recorder.record(metric, 2.0, **series)
    assert {name for name, _, _ in recorded} == {metric.name for metric in own}


def test_a_counter_is_there_before_it_counted_and_counts_from_zero(recorded: Recorded) -> None:
    RayRecorder(Role.LANGUAGE)
    work = [(value, tags) for name, value, tags in recorded if name == metrics.WORK.name]
    assert work == [(metrics.NOTHING, {"stage": "prefill"}), (metrics.NOTHING, {"stage": "decode"})]
    assert {name for name, _, _ in recorded} == {
        metric.name
        for metric in metrics.ALL
        if metric.kind is MetricKind.COUNTER and Role.LANGUAGE in metric.roles
    }


def test_counting_nothing_is_no_error_and_reaches_nobody(recorded: Recorded) -> None:
    recorder = RayRecorder(Role.GATEWAY)
    recorded.clear()
    recorder.record(metrics.TILES_ADMITTED, 0)
    assert recorded == []


def test_a_metric_of_another_role_is_a_fault_that_is_noticed(recorded: Recorded) -> None:
    with pytest.raises(KeyError):
        RayRecorder(Role.VISION).record(metrics.TILES_ADMITTED)
