from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.handlers.operator_metrics import OperatorMetrics
from internvl_operator.scaling.model import Limit, SideDecision

KEY = ServiceKey("team", "nano")
LABELS = '{namespace="team",role="vision",service="nano"}'


def lines(metrics):
    return [line for line in metrics.encode().decode().splitlines() if not line.startswith("#")]


def side(target, **more):
    return SideDecision(target=target, why="because", **more)


def test_the_newest_decision_is_shown_with_what_limits_it():
    metrics = OperatorMetrics()
    metrics.decided(KEY, {Role.VISION: side(2, limited_by=Limit.QUIET, load=1.5)}, {Role.VISION: 2})
    metrics.decided(KEY, {Role.VISION: side(4, load=3.1)}, {Role.VISION: 2})
    found = lines(metrics)
    assert f"internvl_operator_replicas_desired{LABELS} 4.0" in found
    assert f"internvl_operator_replicas_ready{LABELS} 2.0" in found
    assert f"internvl_operator_replicas_busy{LABELS} 3.1" in found
    limits = [line for line in found if line.startswith("internvl_operator_scaling_limit")]
    assert limits == [
        'internvl_operator_scaling_limit{limit="none",namespace="team",role="vision",service="nano"} 1.0'
    ]


def test_a_load_that_is_unknown_is_absent_and_not_zero():
    metrics = OperatorMetrics()
    metrics.decided(KEY, {Role.VISION: side(4, load=3.1)}, {Role.VISION: 4})
    metrics.decided(KEY, {Role.VISION: side(4, limited_by=Limit.UNKNOWN)}, {Role.VISION: 4})
    assert not [line for line in lines(metrics) if "replicas_busy" in line]


def test_a_side_that_somebody_else_owns_by_now_leaves_no_series():
    metrics = OperatorMetrics()
    both = {role: side(4, load=3.1) for role in (Role.VISION, Role.LANGUAGE)}
    metrics.decided(KEY, both, dict.fromkeys(both, 4))
    metrics.decided(KEY, {Role.LANGUAGE: both[Role.LANGUAGE]}, {Role.LANGUAGE: 4})
    assert {role for role in both if any(f'role="{role}"' in line for line in lines(metrics))} == {
        Role.LANGUAGE
    }


def test_a_service_that_is_gone_leaves_no_series():
    metrics = OperatorMetrics()
    metrics.decided(KEY, {Role.VISION: side(4, load=3.1)}, {Role.VISION: 4})
    metrics.round_took(0.01)
    metrics.forget(KEY)
    assert not [line for line in lines(metrics) if "nano" in line]
    assert any("scaling_decision_seconds_count 1.0" in line for line in lines(metrics))
