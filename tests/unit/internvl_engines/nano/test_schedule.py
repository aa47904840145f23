"""When internvl-nano learns what, and how fast."""

import pytest

from internvl_engines.nano.schedule import STAGES, WARM_UP, Schedule, stage_before, stage_named


def test_each_stage_begins_where_the_one_before_it_ended() -> None:
    assert [stage.name for stage in STAGES] == [
        "see",
        "read",
        "look",
        "spell",
        "speak",
        "find",
        "settle",
        "both",
        "mpo",
        "vico",
        "router",
    ]
    assert stage_before(STAGES[0]) is None
    assert [stage_before(stage) for stage in STAGES[1:]] == list(STAGES[:-1])
    with pytest.raises(KeyError):
        stage_named("listen")


def test_a_shorter_training_shortens_every_stage_and_leaves_none_out() -> None:
    assert [Schedule(share=0.5).steps(stage) for stage in STAGES] == [stage.steps // 2 for stage in STAGES]
    assert [Schedule(share=1e-6).steps(stage) for stage in STAGES] == [1] * len(STAGES)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_each_stage_warms_up_to_its_peak_and_cools_down(stage) -> None:
    rates = [Schedule().rate(stage, step) for step in range(stage.steps)]
    assert rates[0] < 0.1 * stage.peak
    assert max(rates) == pytest.approx(stage.peak, rel=0.1)
    assert rates.index(max(rates)) <= WARM_UP
    assert rates[-1] < 0.05 * stage.peak
    assert rates[WARM_UP:] == sorted(rates[WARM_UP:], reverse=True)
