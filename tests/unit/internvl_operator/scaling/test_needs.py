"""What prompts and answers ask for adds up to the time that they took together."""

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling import needs
from internvl_operator.scaling.capacity import KNOWN_S, Capacity
from internvl_operator.scaling.model import SideLoad, SideSettings, Work, WorkKind

BOUNDS = SideSettings(minimum=1, maximum=9)
OUTPUT_SPEED = 1000.0


def full_of_prompts(*, prompts: float, outputs: float, seconds: float) -> SideLoad:
    """A window of replicas that sequences waited for to prefill, with answers beside."""
    work = Work(
        arriving=prompts / seconds,
        done_while_full=prompts,
        seconds_while_full=seconds,
        outputs_beside=outputs,
    )
    arriving = Work(arriving=outputs / seconds)
    kinds = {WorkKind.PROMPT_TOKENS: work, WorkKind.OUTPUT_TOKENS: arriving}
    return SideLoad(at=1.0, window_s=seconds, work=kinds)


def after(load: SideLoad, known: dict[WorkKind, Capacity]) -> dict[WorkKind, Capacity]:
    return needs.capacities(Role.LANGUAGE, load, known, BOUNDS)


@pytest.mark.parametrize("outputs", [0.0, 500.0, 4_000.0])
def test_a_replica_that_was_full_of_prompts_is_one_replica_whatever_came_beside_them(outputs):
    load = full_of_prompts(prompts=20_000, outputs=outputs, seconds=10.0)
    capacity = after(load, {WorkKind.OUTPUT_TOKENS: Capacity(OUTPUT_SPEED, KNOWN_S)})
    assert capacity[WorkKind.OUTPUT_TOKENS].value == OUTPUT_SPEED, "few answers beside prompts are no measure"
    assert needs.busy_replicas(load, capacity) == pytest.approx(1.0)


def test_all_of_its_time_was_for_prompts_where_nobody_knows_what_answers_take():
    load = full_of_prompts(prompts=20_000, outputs=500.0, seconds=10.0)
    capacity = after(load, {})
    assert {kind: item.value for kind, item in capacity.items()} == {WorkKind.PROMPT_TOKENS: 2_000.0}
    assert needs.busy_replicas(load, capacity) == pytest.approx(1.0)


def test_a_figure_of_answers_that_is_far_too_low_takes_half_of_the_time_at_most():
    load = full_of_prompts(prompts=20_000, outputs=4_000.0, seconds=10.0)
    capacity = after(load, {WorkKind.OUTPUT_TOKENS: Capacity(1.0, KNOWN_S)})
    assert capacity[WorkKind.PROMPT_TOKENS].value == 4_000.0
