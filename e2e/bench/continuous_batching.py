"""Continuous batching against one by one: the embedded language engine with internvl-nano's weights, one thread.

Both sides run in this process, in turns, so that what else the machine does falls on both alike. The goal is on
the decode step: eight sequences in one step against eight steps of one sequence, at the same past length.

Steps are measured in CPU time of the one thread that computes them: nothing in a step waits, so that is the
step's time on a machine that has a core for it. Whole answers are measured by the clock.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from e2e.bench.result import ROOT, BenchResult, Goal
from internvl_engines.contract.artifact import onnxruntime_key
from internvl_engines.contract.checkpoint import checkpoint_digest
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import find_artifact
from internvl_runtimes.engines.base import EnginePrompt
from internvl_runtimes.engines.onnxruntime_language.decoder import Decoder, OnnxRuntimeDecoder, decode_step
from internvl_runtimes.engines.onnxruntime_language.engine import OnnxRuntimeLanguage
from internvl_runtimes.engines.onnxruntime_language.scheduler import Limits
from internvl_runtimes.engines.onnxruntime_language.slots import KvSlots
from internvl_runtimes.protocol.handover import Sampling

CHECKPOINT = ROOT / "engines" / "internvl_engines" / "models" / "internvl-nano"
CONCURRENT = 8
PAST = 200
STEPS = 15
ROUNDS = 12
PROMPT_TOKENS, ANSWER_TOKENS = 120, 48


def run(checkpoint: Path = CHECKPOINT) -> BenchResult:
    """Measure the decode step, then whole answers through the engine."""
    key = onnxruntime_key("language", weights=checkpoint_digest(checkpoint))
    artifact = find_artifact(key, stores_for(checkpoint), checkpoint=checkpoint)
    decoder = OnnxRuntimeDecoder(artifact, threads=1)
    together_ms, apart_ms, cache_ms = _decode_steps(decoder)
    together_s, apart_s = asyncio.run(_answers(decoder))
    tokens = CONCURRENT * ANSWER_TOKENS
    step_gain = statistics.median(b / a for a, b in zip(together_ms, apart_ms, strict=True))
    rate_gain = statistics.median(b / a for a, b in zip(together_s, apart_s, strict=True))
    together, apart = statistics.median(together_ms), statistics.median(apart_ms)
    return BenchResult(
        name="continuous_batching",
        title=f"{CONCURRENT} sequences together and one by one; past {PAST}, one thread",
        columns=("what", "together", "one by one", "gain"),
        rows=(
            (
                f"one token for each of {CONCURRENT} (CPU ms)",
                f"{together:.2f}",
                f"{apart:.2f}",
                f"{step_gain:.2f}x",
            ),
            ("of it, in our own cache code (CPU ms)", f"{statistics.median(cache_ms):.2f}", "", ""),
            (
                f"whole answers of {ANSWER_TOKENS} tokens (tokens/s)",
                f"{tokens / statistics.median(together_s):.0f}",
                f"{tokens / statistics.median(apart_s):.0f}",
                f"{rate_gain:.2f}x",
            ),
        ),
        raw={
            "step_together_ms": together_ms,
            "steps_one_by_one_ms": apart_ms,
            "cache_ms": cache_ms,
            "answers_together_s": together_s,
            "answers_one_by_one_s": apart_s,
            "artifact": key.digest,
            "concurrent": CONCURRENT,
            "past": PAST,
            "prompt_tokens": PROMPT_TOKENS,
            "answer_tokens": ANSWER_TOKENS,
        },
        goals=(
            Goal(f"decode step at {CONCURRENT}, gain over one by one", round(step_gain, 2), ">=", 1.7),
            Goal(f"decode step at {CONCURRENT} and past {PAST} (CPU ms)", round(together, 2), "<=", 4.0),
        ),
    )


def _decode_steps(decoder: Decoder) -> tuple[list[float], list[float], list[float]]:
    """For each round: ms of a step of all, ms of a step of each in turn, ms of cache work in the former."""
    together, apart, cache = [], [], []
    for _ in range(ROUNDS):
        steps = list(_timed_steps(decoder, CONCURRENT))
        together.append(1e3 * statistics.median(total for total, _ in steps))
        cache.append(1e3 * statistics.median(own for _, own in steps))
        apart.append(1e3 * CONCURRENT * statistics.median(total for total, _ in _timed_steps(decoder, 1)))
    return together, apart, cache


def _timed_steps(decoder: Decoder, sequences: int) -> Iterator[tuple[float, float]]:
    """CPU seconds of each decode step, and the part of them outside the decoder."""
    shape, rng = decoder.kv_shape, np.random.default_rng(0)
    slots = KvSlots(shape, max_sequences=sequences, max_model_len=PAST + STEPS + 1)
    for number in range(sequences):
        past = rng.normal(size=(shape.layers, 1, shape.kv_heads, PAST, shape.head_dim)).astype(np.float32)
        slots.add(number, past, past)
    tokens = rng.integers(0, len(decoder.embeddings), sequences)
    for _ in range(STEPS):
        began = time.thread_time()
        cached = slots.past()
        ran = time.thread_time()
        output = decode_step(decoder, cached, tokens)
        done = time.thread_time()
        slots.append(output.new_keys, output.new_values)
        total = time.thread_time() - began
        yield total, total - (done - ran)


async def _answers(decoder: Decoder) -> tuple[list[float], list[float]]:
    """Seconds for all answers, asked together and one after the other, three rounds of each."""
    limits = Limits(max_sequences=CONCURRENT, max_waiting=CONCURRENT, waiting_rows=10_000)
    rng = np.random.default_rng(1)
    nothing = np.zeros((0, decoder.embeddings.shape[1]), np.float32)
    prompts = [
        EnginePrompt(rng.integers(0, len(decoder.embeddings), PROMPT_TOKENS), np.zeros(0, np.int64), nothing)
        for _ in range(CONCURRENT)
    ]
    together, apart = [], []
    async with OnnxRuntimeLanguage(
        decoder, limits=limits, max_model_len=PROMPT_TOKENS + ANSWER_TOKENS
    ) as engine:
        for _ in range(3):
            began = time.perf_counter()
            first = await asyncio.gather(*(_answer(engine, prompt) for prompt in prompts))
            together.append(time.perf_counter() - began)
            began = time.perf_counter()
            second = [await _answer(engine, prompt) for prompt in prompts]
            apart.append(time.perf_counter() - began)
            if first != second:
                raise AssertionError(
                    "answers differ between together and one by one: the figures mean nothing"
                )
    return together, apart


async def _answer(engine: OnnxRuntimeLanguage, prompt: EnginePrompt) -> list[int]:
    steps = engine.generate(prompt, sampling=Sampling(max_tokens=ANSWER_TOKENS), stop_token_ids=frozenset())
    return [token async for step in steps for token in step.token_ids]


if __name__ == "__main__":
    result = run(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKPOINT)
    print(f"{result.table()}\n{result.write()}")
    sys.exit(0 if all(goal.ok for goal in result.goals) else 1)
