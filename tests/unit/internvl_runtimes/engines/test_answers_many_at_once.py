import asyncio
import contextlib
import threading
import weakref

import numpy as np
import pytest

from internvl_runtimes.engines.base import EngineFailed, EnginePrompt
from internvl_runtimes.engines.onnxruntime_language.engine import MAX_FAILED_STEPS, OnnxRuntimeLanguage
from internvl_runtimes.engines.onnxruntime_language.scheduler import Limits
from internvl_runtimes.protocol.handover import Overloaded, PromptTooLong, Sampling


def engine_of(decoder, *, max_model_len=400, **limits):
    bounds = {"max_sequences": 4, "max_waiting": 100, "waiting_rows": 1000, "prefill_tokens": 16, **limits}
    return OnnxRuntimeLanguage(decoder, limits=Limits(**bounds), max_model_len=max_model_len)


async def collect(engine, prompt, max_tokens=8, stop=frozenset(), **sampling):
    tokens, reason = [], None
    async for step in engine.generate(
        prompt, sampling=Sampling(max_tokens=max_tokens, **sampling), stop_token_ids=stop
    ):
        tokens += step.token_ids
        reason = step.finish_reason
    return tokens, reason


class Gate:
    """Holds the engine before each run until the test lets it go on."""

    def __init__(self, decoder):
        self._go, self._arrived = threading.Semaphore(0), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        decoder.before_run = self._hold

    def _hold(self, batch, tokens):
        self._loop.call_soon_threadsafe(self._arrived.set)
        assert self._go.acquire(timeout=2)

    async def reached(self):
        await asyncio.wait_for(self._arrived.wait(), 2)
        self._arrived.clear()

    def open(self, runs=1):
        self._go.release(runs)


async def test_many_answers_are_those_of_one_by_one(decoder, make_prompt, answer_alone):
    """Sixteen requests of different lengths, with and without visual rows, join and leave four slots."""
    rng = np.random.default_rng(11)
    requests = [
        (
            make_prompt(seed, length := int(rng.integers(1, 45)), min(length - 1, int(rng.integers(0, 20)))),
            int(rng.integers(1, 10)),
        )
        for seed in range(16)
    ]
    expected = [answer_alone(decoder, prompt, tokens) for prompt, tokens in requests]
    async with engine_of(decoder) as engine:
        answers = await asyncio.gather(*(collect(engine, prompt, tokens) for prompt, tokens in requests))
        assert [tokens for tokens, _ in answers] == expected
        assert {reason for _, reason in answers} == {"length"}
        load = engine.load()
    assert (load.running, load.waiting, load.kv_bytes_used) == (0, 0, 0)
    assert load.decode_steps < sum(len(answer) for answer in expected) / 2, "they did share steps"


async def test_a_stop_token_ends_an_answer_and_is_its_last_token(decoder, make_prompt, answer_alone):
    prompt = make_prompt(1, 20)
    whole = answer_alone(decoder, prompt, 12)
    stop = whole[3]
    async with engine_of(decoder) as engine:
        tokens, reason = await collect(engine, prompt, 12, frozenset({stop}))
    assert tokens == whole[: whole.index(stop) + 1] and reason == "stop"


async def test_a_seeded_answer_does_not_depend_on_its_neighbours(decoder, make_prompt):
    async with engine_of(decoder) as engine:
        alone, _ = await collect(engine, make_prompt(0, 9), 10, temperature=1.0, seed=4)
        together = await asyncio.gather(
            *(collect(engine, make_prompt(n, 9 + n), 10, temperature=1.0, seed=4 + n) for n in range(6))
        )
        other, _ = await collect(engine, make_prompt(0, 9), 10, temperature=1.0, seed=5)
    assert together[0][0] == alone != other


async def test_visual_rows_take_the_place_of_their_tokens_embeddings(decoder, make_prompt):
    prompt = make_prompt(2, 20, visual=6)
    other = EnginePrompt(prompt.token_ids, prompt.visual_positions, prompt.visual_rows[::-1].copy())
    relabelled = EnginePrompt(
        np.where(np.isin(np.arange(20), prompt.visual_positions), 0, prompt.token_ids),
        prompt.visual_positions,
        prompt.visual_rows,
    )
    async with engine_of(decoder) as engine:
        answer, swapped, same = [(await collect(engine, each, 12))[0] for each in (prompt, other, relabelled)]
    assert answer == same != swapped


async def test_visual_rows_are_let_go_once_they_are_prefilled(decoder, make_prompt):
    prompt = make_prompt(2, 20, visual=6)
    rows = weakref.ref(prompt.visual_rows)
    async with engine_of(decoder) as engine:
        answer = engine.generate(prompt, sampling=Sampling(max_tokens=50), stop_token_ids=frozenset())
        del prompt
        for _ in range(2):  # the second token comes in a later step than the prefill
            await anext(answer)
        assert rows() is None, "while the answer goes on"
        await answer.aclose()


async def test_closing_an_answer_frees_its_slot_before_the_next_step(decoder, make_prompt, answer_alone):
    expected = answer_alone(decoder, make_prompt(3, 5), 3)
    gate = Gate(decoder)
    async with engine_of(decoder, max_sequences=1) as engine:
        first = engine.generate(
            make_prompt(0, 5), sampling=Sampling(max_tokens=200), stop_token_ids=frozenset()
        )
        started = asyncio.ensure_future(anext(first))
        await gate.reached()
        gate.open()
        await started
        second = asyncio.ensure_future(collect(engine, make_prompt(3, 5), 3))
        await gate.reached()  # the first is inside its next decode step
        assert (engine.load().running, engine.load().waiting) == (1, 1)
        await first.aclose()
        assert engine.load().running == 0, "at once, although its step is still running"
        gate.open(100)
        assert (await second)[0] == expected


async def test_cancelling_the_task_that_waits_frees_its_place_in_the_queue(decoder, make_prompt):
    gate = Gate(decoder)
    async with engine_of(decoder, max_sequences=1) as engine:
        running = asyncio.ensure_future(collect(engine, make_prompt(0, 5), 2))
        await gate.reached()
        waiting = asyncio.ensure_future(collect(engine, make_prompt(1, 5), 2))
        while engine.load().waiting == 0:
            await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert engine.load().waiting == 0
        gate.open(100)
        assert (await running)[1] == "length"


async def test_what_cannot_fit_is_refused_with_what_to_do(decoder, make_prompt):
    async with engine_of(decoder, max_model_len=20) as engine:
        with pytest.raises(PromptTooLong, match="15 tokens and the answer may have 6, together at most 20"):
            await collect(engine, make_prompt(0, 15), 6)
        assert (await collect(engine, make_prompt(0, 15), 5))[1] == "length"
        with pytest.raises(ValueError, match="outside 0 to 49"):
            await collect(
                engine, EnginePrompt(np.array([50]), np.zeros(0, np.int64), np.zeros((0, 24), np.float32))
            )
        with pytest.raises(ValueError, match="visual rows are 3 wide, not 24"):
            await collect(engine, EnginePrompt(np.array([1]), np.array([0]), np.zeros((1, 3), np.float32)))


async def test_a_full_queue_refuses_at_once(decoder, make_prompt):
    gate = Gate(decoder)
    async with engine_of(decoder, max_sequences=1, max_waiting=1) as engine:
        tasks = [asyncio.ensure_future(collect(engine, make_prompt(n, 4), 1)) for n in range(2)]
        await gate.reached()
        with pytest.raises(Overloaded, match="1 requests run and 1 wait"):
            await collect(engine, make_prompt(2, 4), 1)
        gate.open(100)
        await asyncio.gather(*tasks)


async def test_a_failing_step_fails_its_requests_and_no_others(decoder, make_prompt, answer_alone):
    expected = answer_alone(decoder, make_prompt(1, 4), 6)

    def refuse_long_prompts(batch, tokens):
        if tokens > 8:
            raise EngineFailed("out of memory")

    decoder.before_run = refuse_long_prompts
    async with engine_of(decoder) as engine:
        good, bad = await asyncio.gather(
            collect(engine, make_prompt(1, 4), 6),
            collect(engine, make_prompt(2, 12), 6),
            return_exceptions=True,
        )
        assert good[0] == expected
        assert isinstance(bad, EngineFailed) and "failed on this request: out of memory" in str(bad)
        engine.check_health()
        assert engine.load().running == 0


async def test_an_engine_whose_steps_all_fail_says_that_it_is_unhealthy(decoder, make_prompt):
    async with engine_of(decoder) as engine:
        healthy, decoder.before_run = decoder.before_run, lambda batch, tokens: 1 / 0
        for _ in range(MAX_FAILED_STEPS):
            engine.check_health()
            with pytest.raises(EngineFailed, match="division by zero"):
                await collect(engine, make_prompt(0, 4))
        with pytest.raises(EngineFailed, match="last 3 prefill steps failed"):
            engine.check_health()
        decoder.before_run = healthy
        await collect(engine, make_prompt(0, 4))
        engine.check_health()


async def test_a_decode_that_always_fails_is_not_excused_by_its_prefill(decoder, make_prompt):
    def fail_after_the_prompt(batch: int, tokens: int) -> None:
        if tokens == 1:
            raise RuntimeError("out of memory")

    async with engine_of(decoder) as engine:
        decoder.before_run = fail_after_the_prompt
        for _ in range(MAX_FAILED_STEPS):
            engine.check_health()
            with pytest.raises(EngineFailed, match="out of memory"):
                await collect(engine, make_prompt(0, 4), 8)
        with pytest.raises(EngineFailed, match="last 3 decode steps failed"):
            engine.check_health()


async def test_a_negative_seed_is_a_seed(decoder, make_prompt):
    async with engine_of(decoder) as engine:
        answers = [
            await collect(engine, make_prompt(0, 4), 8, temperature=2.0, seed=seed) for seed in (-1, -1, -2)
        ]
    assert answers[0] == answers[1] != answers[2]


async def test_broken_logits_fail_their_own_request_only(decoder, make_prompt, answer_alone):
    poisoned = make_prompt(1, 6, visual=2)
    poisoned.visual_rows[:] = np.nan
    expected = answer_alone(decoder, make_prompt(0, 6), 8)
    async with engine_of(decoder) as engine:
        good, bad = await asyncio.gather(
            collect(engine, make_prompt(0, 6), 8), collect(engine, poisoned, 8), return_exceptions=True
        )
    assert good[0] == expected
    assert isinstance(bad, EngineFailed) and "greatest logit is nan" in str(bad)


async def test_stopping_ends_what_is_in_flight_with_an_error(decoder, make_prompt):
    gate = Gate(decoder)
    engine = engine_of(decoder)
    async with engine:
        task = asyncio.ensure_future(collect(engine, make_prompt(0, 4), 50))
        await gate.reached()
        gate.open(1000)
    with pytest.raises(EngineFailed, match="was stopped"):
        await task
    with pytest.raises(EngineFailed, match="was stopped"):
        engine.check_health()
    with pytest.raises(EngineFailed, match="was stopped"):
        await collect(engine, make_prompt(0, 4))


async def test_a_fault_in_the_loop_reaches_every_caller_and_the_health_check(
    decoder, make_prompt, monkeypatch
):
    engine = engine_of(decoder)
    monkeypatch.setattr(engine._slots, "retain", lambda ids: 1 / 0)
    async with engine:
        with pytest.raises(EngineFailed, match="ended by a fault: ZeroDivisionError"):
            await collect(engine, make_prompt(0, 4))
        with pytest.raises(EngineFailed, match="ended by a fault"):
            engine.check_health()
