"""What a language engine tells of its steps."""

import asyncio

import pytest

from internvl_runtimes.engines.base import StageWork
from internvl_runtimes.engines.step_meter import Part, StepMeter
from tests.unit.internvl_runtimes.engines.test_answers_many_at_once import Gate, collect, engine_of


def test_what_a_step_took_beside_its_parts_is_theirs_by_their_shares() -> None:
    meter = StepMeter()
    meter.step(Part("prefill", 30, 3.0), Part("decode", 4, 1.0), seconds=8.0, saturated=True, is_full=True)
    assert meter.prefill == StageWork(30, 6.0, 30, 6.0)
    assert meter.decode == StageWork(4, 2.0, 4, 2.0)


def test_only_steps_with_somebody_waiting_tell_what_a_full_engine_manages() -> None:
    meter = StepMeter()
    meter.step(Part("prefill"), Part("decode", 4, 1.0), seconds=1.0, saturated=False, is_full=False)
    meter.step(Part("prefill"), Part("decode", 8, 1.0), seconds=1.0, saturated=True, is_full=True)
    assert meter.decode == StageWork(12, 2.0, 8, 1.0)
    assert meter.prefill == StageWork()
    assert meter.decode_steps == 2


def test_while_slots_are_free_prefill_alone_is_measured_with_all_of_the_time() -> None:
    meter = StepMeter()
    meter.step(Part("prefill", 30, 3.0), Part("decode", 4, 1.0), seconds=8.0, saturated=True, is_full=False)
    assert meter.prefill == StageWork(30, 6.0, 30, 8.0)
    assert meter.decode == StageWork(4, 2.0, 0, 0.0)


def test_an_empty_step_is_nothing() -> None:
    meter = StepMeter()
    meter.step(Part("prefill"), Part("decode"), seconds=1.0, saturated=False, is_full=False)
    assert (meter.prefill, meter.decode, meter.decode_steps) == (StageWork(), StageWork(), 0)


async def test_an_engine_counts_prompt_and_output_tokens_and_sequences(decoder, make_prompt) -> None:
    async with engine_of(decoder, max_sequences=2) as engine:
        await asyncio.gather(*(collect(engine, make_prompt(n, 10 + n), 5) for n in range(4)))
        load = engine.load()
    assert load.begun == 4
    assert load.prefill.done == 10 + 11 + 12 + 13
    assert load.decode.done == 4 * (5 - 1), "the first token of each answer comes with its prefill"
    assert load.prefill.busy_s > 0 and load.decode.busy_s > 0


async def test_an_engine_is_full_while_a_sequence_waits_for_a_slot(decoder, make_prompt) -> None:
    gate = Gate(decoder)
    async with engine_of(decoder, max_sequences=1) as engine:
        running = asyncio.ensure_future(collect(engine, make_prompt(0, 5), 3))
        await gate.reached()  # in its prefill, begun alone
        waiting = asyncio.ensure_future(collect(engine, make_prompt(1, 7), 3))
        while engine.load().waiting == 0:
            await asyncio.sleep(0)
        assert engine.load().waiting_tokens == 7
        gate.open(100)
        await asyncio.gather(running, waiting)
        load = engine.load()
    assert load.decode.saturated_done == 2, "the first answer's, while the second waited"
    assert (load.prefill.done, load.prefill.saturated_done) == (5 + 7, 0)
    assert load.beside_prefill == 0, "it waited for a slot"
    assert load.waiting_tokens == 0


async def test_long_prompts_with_short_answers_teach_nothing_of_decoding(decoder, make_prompt) -> None:
    """Each prompt takes three steps, so that no more than three of four slots are taken while others wait."""
    async with engine_of(decoder, max_sequences=4) as engine:
        await asyncio.gather(*(collect(engine, make_prompt(n, 40), 3) for n in range(8)))
        load = engine.load()
    assert load.decode.done == 8 * 2
    assert (load.decode.saturated_done, load.decode.saturated_s) == (0, 0.0)
    assert load.prefill.saturated_done > 4 * 40
    assert 0 < load.beside_prefill < load.decode.done


async def test_a_step_that_fails_took_time_and_did_nothing(decoder, make_prompt) -> None:
    def refuse(batch: int, tokens: int) -> None:
        raise RuntimeError("broken")

    decoder.before_run = refuse
    async with engine_of(decoder) as engine:
        with pytest.raises(Exception, match="broken"):
            await collect(engine, make_prompt(0, 5), 3)
        load = engine.load()
    assert load.prefill.done == 0
    assert load.prefill.busy_s > 0
