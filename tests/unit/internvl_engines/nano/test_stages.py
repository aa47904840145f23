"""When internvl-nano learns what, and how fast."""

import pytest

from internvl_engines.nano.stages import STAGES, STEPS, WARM_UP, Schedule


def test_stages_come_in_order_and_fill_all_steps() -> None:
    schedule = Schedule()
    stages = [schedule.at(step)[0] for step in range(STEPS)]
    assert list(dict.fromkeys(stages)) == list(STAGES)
    assert [stages.count(stage) for stage in STAGES] == [stage.steps for stage in STAGES]


def test_a_shorter_training_shortens_every_stage() -> None:
    schedule = Schedule(steps=STEPS // 10)
    stages = [schedule.at(step)[0] for step in range(STEPS // 10)]
    for stage in STAGES:
        assert stages.count(stage) == pytest.approx(stage.steps / 10, abs=1)


def test_each_stage_warms_up_to_its_peak_and_cools_down() -> None:
    schedule = Schedule()
    first = 0
    for stage in STAGES:
        steps = [step for step in range(STEPS) if schedule.at(step)[0] is stage]
        rates = [schedule.rate(step) for step in steps]
        assert rates[0] < 0.1 * stage.peak
        assert max(rates) == pytest.approx(stage.peak, rel=0.1)
        assert rates.index(max(rates)) <= WARM_UP
        assert rates[-1] < 0.05 * stage.peak
        assert steps[0] >= first
        first = steps[-1]
