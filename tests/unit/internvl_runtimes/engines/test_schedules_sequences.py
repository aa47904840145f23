import random

import numpy as np
import pytest

from internvl_runtimes.engines.base import EnginePrompt
from internvl_runtimes.engines.onnxruntime_language.scheduler import Limits, Scheduler
from internvl_runtimes.engines.onnxruntime_language.sequence import Sequence
from internvl_runtimes.protocol.handover import Overloaded, Sampling

STOP = 7


def sequence(number, *, tokens=3, rows=0, max_tokens=10, at=0.0):
    rows = min(rows, tokens)
    prompt = EnginePrompt(np.zeros(tokens, np.int64), np.arange(rows), np.zeros((rows, 2), np.float32))
    return Sequence(
        id=number,
        prompt=prompt,
        sampling=Sampling(max_tokens=max_tokens),
        stop_token_ids=frozenset({STOP}),
        submitted_at=at,
        generator=np.random.default_rng(0),
    )


def limits(**changes):
    return Limits(**{"max_sequences": 2, "max_waiting": 2, "waiting_rows": 100, **changes})


def run(scheduler, now=0.0, token=1):
    """One step: compute everything that was scheduled and give each sequence the same token."""
    step = scheduler.schedule(now)
    told = [(s.id, scheduler.token(s, token, now)) for s in step.decodes]
    for prefill in step.prefills:
        scheduler.prefilled(prefill)
        if prefill.stop == prefill.sequence.prompt_tokens:
            told.append((prefill.sequence.id, scheduler.token(prefill.sequence, token, now)))
    return step, told


def test_first_come_first_served_within_the_slots():
    scheduler = Scheduler(limits())
    for number in range(4):
        scheduler.submit(sequence(number))
    step, told = run(scheduler)
    assert [p.sequence.id for p in step.prefills] == [0, 1] and step.decodes == ()
    assert [number for number, _ in told] == [0, 1]
    assert (scheduler.running, scheduler.waiting) == (2, 2)
    step, _ = run(scheduler, token=STOP)
    assert [s.id for s in step.decodes] == [0, 1] and step.prefills == ()
    step, _ = run(scheduler)
    assert [p.sequence.id for p in step.prefills] == [2, 3]


def test_a_long_prompt_is_taken_in_pieces_between_decode_steps():
    scheduler = Scheduler(limits(max_sequences=3, prefill_tokens=10))
    scheduler.submit(sequence(0, tokens=4))
    run(scheduler)
    scheduler.submit(sequence(1, tokens=25))
    scheduler.submit(sequence(2, tokens=5))
    pieces = []
    for _ in range(3):
        step, _ = run(scheduler)
        pieces.append([(p.sequence.id, p.start, p.stop) for p in step.prefills])
        assert 0 in [s.id for s in step.decodes], "the running sequence decodes in every step"
    assert pieces == [[(1, 0, 10)], [(1, 10, 20)], [(1, 20, 25), (2, 0, 5)]]


def test_waiting_and_prefill_are_timed():
    scheduler = Scheduler(limits())
    scheduler.submit(sequence(0, at=1.0))
    step = scheduler.schedule(3.0)
    scheduler.prefilled(step.prefills[0])
    told = scheduler.token(step.prefills[0].sequence, 1, 3.5)
    assert (told.wait_s, told.prefill_s) == (2.0, 0.5)


def test_an_answer_ends_by_its_stop_token_or_its_length():
    scheduler = Scheduler(limits())
    scheduler.submit(sequence(0, max_tokens=1))
    scheduler.submit(sequence(1))
    _, told = run(scheduler)
    assert [(number, t.token_ids, t.finish_reason) for number, t in told] == [
        (0, (1,), "length"),
        (1, (1,), None),
    ]
    _, told = run(scheduler, token=STOP)
    assert [(number, t.token_ids, t.finish_reason) for number, t in told] == [(1, (STOP,), "stop")]
    assert scheduler.schedule(0.0).is_empty and scheduler.running == 0


def test_the_queue_is_bounded_and_says_when_to_come_back():
    scheduler = Scheduler(limits())
    for number in range(4):
        scheduler.submit(sequence(number, max_tokens=1))
    with pytest.raises(Overloaded, match="0 requests run and 4 wait") as refused:
        scheduler.submit(sequence(4))
    assert refused.value.retry_after_s == 1.0, "nothing is known of the service time yet"
    step = scheduler.schedule(0.0)
    for prefill in step.prefills:
        scheduler.prefilled(prefill)
        scheduler.token(prefill.sequence, 1, 6.0)  # held its slot for 6 s
    for number in (4, 5):
        scheduler.submit(sequence(number))
    with pytest.raises(Overloaded) as refused:
        scheduler.submit(sequence(6))
    assert refused.value.retry_after_s == pytest.approx(18.0), (
        "five would wait for two slots: three rounds of 6 s"
    )


def test_without_a_queue_only_a_free_slot_admits():
    scheduler = Scheduler(limits(max_waiting=0))
    scheduler.submit(sequence(0))
    scheduler.submit(sequence(1))
    with pytest.raises(Overloaded):
        scheduler.submit(sequence(2))
    scheduler.cancel(scheduler.all()[0])
    scheduler.submit(sequence(2))


def test_visual_rows_of_the_queue_are_bounded_but_one_request_alone_may_pass():
    scheduler = Scheduler(limits(waiting_rows=10))
    scheduler.submit(sequence(0, tokens=50, rows=20))
    with pytest.raises(Overloaded, match="hold 20 visual rows, at most 10"):
        scheduler.submit(sequence(2, tokens=5, rows=1))
    scheduler.schedule(0.0)
    scheduler.submit(sequence(3, tokens=20, rows=10))


def test_cancelling_frees_the_slot_at_once_wherever_the_sequence_is():
    scheduler = Scheduler(limits(max_sequences=1, prefill_tokens=2))
    running, waiting = sequence(0), sequence(1)
    scheduler.submit(running)
    scheduler.submit(waiting)
    step = scheduler.schedule(0.0)
    assert scheduler.cancel(running) and scheduler.running == 0, "while it is prefilled"
    scheduler.prefilled(step.prefills[0])
    assert scheduler.token(running, 1, 0.0) is None, "what was computed of it is ignored"
    run(scheduler)
    run(scheduler)
    assert scheduler.running_ids() == {1}
    assert scheduler.cancel(waiting) and scheduler.running == 0, "while it decodes"
    assert scheduler.token(waiting, 1, 0.0) is None
    assert not scheduler.cancel(waiting)
    scheduler.submit(sequence(2))
    assert scheduler.cancel(scheduler.all()[0]) and scheduler.waiting == 0, "while it waits"


@pytest.mark.parametrize("seed", range(40))
def test_every_sequence_gets_its_tokens_in_order_and_slots_are_never_exceeded(seed):
    chance = random.Random(seed)
    bounds = limits(max_sequences=chance.randint(1, 4), max_waiting=3, prefill_tokens=chance.randint(1, 8))
    scheduler = Scheduler(bounds)
    submitted, done, number = {}, {}, 0
    for now in range(60):
        if now < 25 and chance.random() < 0.5:
            new = sequence(number, tokens=chance.randint(1, 12), max_tokens=chance.randint(1, 5))
            number += 1
            try:
                scheduler.submit(new)
                submitted[new.id] = new
            except Overloaded:
                assert scheduler.running + scheduler.waiting == bounds.max_sequences + bounds.max_waiting
        if submitted and chance.random() < 0.1:
            victim = chance.choice(sorted(submitted))
            if scheduler.cancel(submitted[victim]):
                del submitted[victim]
        step, told = run(scheduler, now)
        assert (
            len({s.id for s in step.decodes} | {p.sequence.id for p in step.prefills}) <= bounds.max_sequences
        )
        assert sum(p.stop - p.start for p in step.prefills) <= bounds.prefill_tokens
        for key, event in told:
            assert event is not None and key not in done
            if event.finish_reason:
                done[key] = len(submitted[key].answer)
    while not scheduler.schedule(60).is_empty:
        for key, event in run(scheduler, 60)[1]:
            if event.finish_reason:
                done[key] = len(submitted[key].answer)
    assert done == {key: value.sampling.max_tokens for key, value in submitted.items()}
