"""The loop of the embedded language engine: schedule, run, sample, deliver, in a thread of its own.

The event loop never waits for a tensor: it puts sequences into the scheduler's book under a lock that is held
for microseconds, and gets each step's tokens in one call.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from typing import Self

import numpy as np

from internvl_runtimes.engines.base import EngineFailed, EngineLoad, EnginePrompt, TokenStep
from internvl_runtimes.engines.onnxruntime_language.decoder import Decoder, PartialPrompt, decode_step
from internvl_runtimes.engines.onnxruntime_language.sampling import LogitsInvalid, choose_token
from internvl_runtimes.engines.onnxruntime_language.scheduler import Limits, Prefill, Scheduler
from internvl_runtimes.engines.onnxruntime_language.sequence import Sequence
from internvl_runtimes.engines.onnxruntime_language.slots import Floats, KvSlots
from internvl_runtimes.engines.step_meter import Part, StepMeter
from internvl_runtimes.protocol.handover import PromptTooLong, Sampling

MAX_FAILED_STEPS = 3
"""Failed steps in a row after which the engine calls itself unhealthy."""

_Event = TokenStep | EngineFailed


class OnnxRuntimeLanguage:
    """`LanguageEngine` over a `Decoder`."""

    def __init__(
        self,
        decoder: Decoder,
        *,
        limits: Limits,
        max_model_len: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoder = decoder
        self._clock = clock
        self._max_model_len = max_model_len
        self._slots = KvSlots(
            decoder.kv_shape, max_sequences=limits.max_sequences, max_model_len=max_model_len
        )
        self._scheduler = Scheduler(limits)
        self._changed = threading.Condition()  # guards the scheduler, the streams and `_stopping`
        self._streams: dict[int, asyncio.Queue[_Event]] = {}
        self._ids = itertools.count()
        self._prompt: PartialPrompt | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._failed_steps: Counter[str] = Counter()
        self._dead: str | None = "the engine has not been started"
        self._meter = StepMeter()

    @property
    def hidden_size(self) -> int:
        """H: width of a visual row."""
        return int(self._decoder.embeddings.shape[1])

    @property
    def max_model_len(self) -> int:
        """Prompt and answer together, in tokens."""
        return self._max_model_len

    async def __aenter__(self) -> Self:
        """Start the thread; answers are delivered to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._dead, self._stopping = None, False
        self._failed_steps.clear()
        self._thread = threading.Thread(target=self._work, name="language-engine", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop after the step in flight; what was being answered ends with `EngineFailed`."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def generate(
        self, prompt: EnginePrompt, *, sampling: Sampling, stop_token_ids: frozenset[int]
    ) -> AsyncGenerator[TokenStep, None]:
        """See `LanguageEngine.generate`."""
        self._refuse_what_cannot_fit(prompt, sampling)
        sequence = Sequence(
            id=next(self._ids),
            prompt=prompt,
            sampling=sampling,
            stop_token_ids=stop_token_ids,
            submitted_at=self._clock(),
            # OpenAI's seeds are signed, numpy's are not.
            generator=np.random.default_rng(None if sampling.seed is None else sampling.seed % 2**64),
        )
        del prompt  # its rows are let go when they are prefilled, not when the answer ends
        events: asyncio.Queue[_Event] = asyncio.Queue()
        with self._changed:
            self._refuse_if_dead()
            self._scheduler.submit(sequence)
            self._streams[sequence.id] = events
            self._changed.notify()
        try:
            while True:
                event = await events.get()
                if isinstance(event, EngineFailed):
                    raise event
                yield event
                if event.finish_reason is not None:
                    return
        finally:
            with self._changed:
                self._streams.pop(sequence.id, None)
                self._scheduler.cancel(sequence)

    def load(self) -> EngineLoad:
        """Figures of this moment."""
        with self._changed:
            return EngineLoad(
                running=self._scheduler.running,
                waiting=self._scheduler.waiting,
                kv_bytes_reserved=self._slots.bytes_reserved,
                kv_bytes_used=self._scheduler.cached_tokens * self._decoder.kv_shape.bytes_per_token,
                kv_bytes_limit=self._slots.bytes_limit,
                decode_steps=self._meter.decode_steps,
                beside_prefill=self._meter.beside_prefill,
                waiting_tokens=self._scheduler.waiting_tokens,
                begun=self._scheduler.begun,
                prefill=self._meter.prefill,
                decode=self._meter.decode,
            )

    def check_health(self) -> None:
        """Raise `EngineFailed` when the loop has ended, or when the last prefills or decode steps all failed."""
        with self._changed:
            self._refuse_if_dead()
        for part, failed in list(self._failed_steps.items()):
            if failed >= MAX_FAILED_STEPS:
                raise EngineFailed(f"the language engine's last {failed} {part} steps failed")

    def _refuse_if_dead(self) -> None:
        if self._dead is not None:
            raise EngineFailed(self._dead)

    def _refuse_what_cannot_fit(self, prompt: EnginePrompt, sampling: Sampling) -> None:
        tokens = len(prompt.token_ids)
        if tokens + sampling.max_tokens > self._max_model_len:
            raise PromptTooLong(
                f"the prompt has {tokens} tokens and the answer may have {sampling.max_tokens}, together at most "
                f"{self._max_model_len}: shorten the prompt, lower max_tokens, or send smaller or fewer pictures"
            )
        if tokens < 1 or sampling.max_tokens < 1:
            raise ValueError("a prompt and an answer have at least one token")
        vocabulary = len(self._decoder.embeddings)
        if prompt.token_ids.min() < 0 or prompt.token_ids.max() >= vocabulary:
            raise ValueError(f"the prompt has token ids outside 0 to {vocabulary - 1}")
        if prompt.visual_rows.shape[0] and prompt.visual_rows.shape[1] != self.hidden_size:
            raise ValueError(f"visual rows are {prompt.visual_rows.shape[1]} wide, not {self.hidden_size}")

    # Below this line: the engine's thread.

    def _work(self) -> None:
        reason = "the language engine was stopped"
        try:
            while self._wait_for_work():
                self._step()
        except Exception as error:  # a fault of ours must end in every caller's hands, not in a log
            reason = f"the language engine's loop ended by a fault: {error!r}"
        finally:
            with self._changed:
                self._dead = reason
                left = self._scheduler.all()
                for sequence in left:
                    self._scheduler.cancel(sequence)
            self._deliver([(sequence, EngineFailed(reason)) for sequence in left])

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._scheduler.running or self._scheduler.waiting
            )
            return not self._stopping

    def _step(self) -> None:
        """Schedule, run, sample, deliver."""
        with self._changed:
            began = self._clock()
            step = self._scheduler.schedule(began)
            saturated, is_full = self._scheduler.waiting > 0, self._scheduler.is_full
            self._slots.retain(self._scheduler.running_ids())
        events: list[tuple[Sequence, _Event]] = []
        prefills, decodes = Part("prefill"), Part("decode")
        # Decoding first: a sequence that is prefilled in this step has its row in the cache only after it.
        if step.decodes:
            decode = partial(self._decode, step.decodes)
            self._attempt(decodes, len(step.decodes), decode, step.decodes, events)
        for prefill in step.prefills:
            tokens, run = prefill.stop - prefill.start, partial(self._prefill, prefill)
            self._attempt(prefills, tokens, run, (prefill.sequence,), events)
        seconds = self._clock() - began
        self._meter.step(prefills, decodes, seconds=seconds, saturated=saturated, is_full=is_full)
        self._deliver(events)

    def _attempt(
        self,
        part: Part,
        tokens: int,
        run: Callable[[], list[tuple[Sequence, _Event]]],
        sequences: tuple[Sequence, ...],
        events: list[tuple[Sequence, _Event]],
    ) -> None:
        """Run a part of a step; when it fails, those that it was for fail, and only those."""
        began = self._clock()
        # Counted apart: a decode that always fails is not excused by the prefills that go well before it.
        try:
            made = run()
        except Exception as error:
            made = [(sequence, self._fail(sequence, error)) for sequence in sequences]
            self._failed_steps[part.name] += 1
            part.ran(0, self._clock() - began)
        else:
            part.ran(tokens, self._clock() - began)
            # Logits of a prefill may be invalid by the request's own rows; those of a whole batch are not.
            invalid = (
                part.name == "decode" and made and all(isinstance(event, EngineFailed) for _, event in made)
            )
            self._failed_steps[part.name] = self._failed_steps[part.name] + 1 if invalid else 0
        events += made

    def _fail(self, sequence: Sequence, error: Exception) -> EngineFailed:
        with self._changed:
            self._scheduler.cancel(sequence)
        return EngineFailed(f"the language engine failed on this request: {error}")

    def _prefill(self, prefill: Prefill) -> list[tuple[Sequence, _Event]]:
        sequence, prompt = prefill.sequence, self._prompt
        if prompt is None or prompt.sequence_id != sequence.id:
            assert sequence.prompt is not None, "a prompt is kept until its last token is prefilled"
            prompt = PartialPrompt(self._decoder, sequence.id, sequence.prompt)
        self._prompt = prompt
        logits = prompt.prefill(prefill.start, prefill.stop)
        with self._changed:
            self._scheduler.prefilled(prefill)
        if prefill.stop < sequence.prompt_tokens:
            return []
        self._prompt = None
        self._slots.add(sequence.id, prompt.keys, prompt.values)
        return self._sample([sequence], logits[None])

    def _decode(self, sequences: tuple[Sequence, ...]) -> list[tuple[Sequence, _Event]]:
        past = self._slots.past()
        rows = [self._slots.row(sequence.id) for sequence in sequences]
        tokens = np.zeros(len(past.positions), np.int64)
        tokens[rows] = [sequence.answer[-1] for sequence in sequences]
        output = decode_step(self._decoder, past, tokens)
        self._slots.append(output.new_keys, output.new_values)
        return self._sample(sequences, output.logits[rows])

    def _sample(self, sequences: Iterable[Sequence], logits: Floats) -> list[tuple[Sequence, _Event]]:
        """Choose each sequence's next token; whoever was cancelled meanwhile is told nothing."""
        events: list[tuple[Sequence, _Event]] = []
        for sequence, row in zip(sequences, logits, strict=True):
            try:
                token = choose_token(
                    row, temperature=sequence.sampling.temperature, generator=sequence.generator
                )
            except LogitsInvalid as error:
                events.append((sequence, self._fail(sequence, error)))
                continue
            with self._changed:
                step = self._scheduler.token(sequence, token, self._clock())
            if step is not None:
                events.append((sequence, step))
        return events

    def _deliver(self, events: list[tuple[Sequence, _Event]]) -> None:
        if not events or self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._hand_out, events)

    def _hand_out(self, events: list[tuple[Sequence, _Event]]) -> None:
        for sequence, event in events:
            if (stream := self._streams.get(sequence.id)) is not None:
                stream.put_nowait(event)
