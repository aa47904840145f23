"""When internvl-nano learns what, and how fast."""

import pytest

from internvl_engines.nano.stages import STAGES, WARM_UP, Schedule


def test_stages_come_in_order_and_fill_all_steps() -> None:
    schedule = Schedule(steps=1000)
    names = [schedule.at(step)[0].name for step in range(1000)]
    assert [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name] == [
        stage.name for stage in STAGES
    ]
    for stage in STAGES:
        assert names.count(stage.name) == pytest.approx(1000 * stage.share, abs=1)


def test_each_stage_warms_up_to_its_peak_and_cools_down() -> None:
    schedule = Schedule(steps=1000)
    first = 0
    for stage in STAGES:
        steps = [step for step in range(1000) if schedule.at(step)[0] is stage]
        rates = [schedule.rate(step) for step in steps]
        assert rates[0] < 0.1 * stage.peak
        assert max(rates) == pytest.approx(stage.peak, rel=0.1)
        assert rates.index(max(rates)) <= WARM_UP
        assert rates[-1] < 0.05 * stage.peak
        assert steps[0] >= first
        first = steps[-1]
