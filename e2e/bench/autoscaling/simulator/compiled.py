"""The loops over single requests, compiled by numba: each request begins on the replica that is free first.

Arrays named `free` are heaps of seconds, one for each replica that serves, and are changed in place.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba
import numpy as np

from e2e.bench.autoscaling.requests import Floats, Ints

P = ParamSpec("P")
R = TypeVar("R")


def machine_code(function: Callable[P, R]) -> Callable[P, R]:
    """Machine code of it, made at the first call and kept beside the source, or else in the user's cache."""
    found: Callable[P, R]
    try:
        found = numba.njit(cache=True)(function)
    except RuntimeError:  # neither can be written: each process makes its own, in some seconds
        found = numba.njit(cache=False)(function)
    return found


@machine_code
def _replace_least(heap: Floats, value: float) -> None:
    """`heapq.heapreplace` of an array."""
    place, size = 0, len(heap)
    child = 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = value


@machine_code
def encode(free: Floats, at: Floats, service: Floats, until: float, ended: Floats) -> int:
    """Begin what can begin before `until`, in order.

    Args:
        free: of the replicas.
        at: arrivals of the requests that wait or will come, increasing seconds.
        service: seconds of a replica in each.
        until: nothing begins then or later.
        ended: gets the end of each request that began.

    Returns:
        How many began.
    """
    if len(free) == 0:
        return 0
    for i in range(len(at)):
        begin = max(at[i], free[0])
        if begin >= until:
            return i
        ended[i] = begin + service[i]
        _replace_least(free, ended[i])
    return len(at)


@machine_code
def queue(
    until: float,
    came_at: Floats,
    came: Ints,
    size: int,
    others_at: Floats,
    others: Ints,
    queue_at: Floats,
    queued: Ints,
) -> tuple[int, int]:
    """Put what is there before `until` into a queue, in the order of its time; of one time, those of `others` first.

    Args:
        until: what comes then or later stays where it is.
        came_at: times of `came`, in any order.
        came: numbers of requests; those that stay are moved to the front.
        size: how many of these count.
        others_at: times of `others`, increasing.
        others: numbers of requests.
        queue_at: gets the times.
        queued: gets the numbers.

    Returns:
        How many of `others` went into the queue, and how many of `came` stay.
    """
    n = m = stay = 0
    while m < len(others_at) and others_at[m] < until:
        queue_at[n], queued[n] = others_at[m], others[m]
        n, m = n + 1, m + 1
    for i in range(size):
        if came_at[i] < until:
            queue_at[n], queued[n] = came_at[i], came[i]
            n += 1
        else:
            came_at[stay], came[stay] = came_at[i], came[i]
            stay += 1
    if n > m:
        order = np.argsort(queue_at[:n], kind="mergesort")
        queue_at[:n], queued[:n] = queue_at[:n][order], queued[:n][order]
    return m, stay


@machine_code
def prefill(
    free: Floats,
    at: Floats,
    number: Ints,
    prompt: Floats,
    encode: Floats,
    slowness: float,
    now: float,
    until: float,
    ended: Floats,
) -> tuple[int, float, float]:
    """As `encode`, for requests that waited for a place too.

    Args:
        free: of the replicas.
        at: when each request came.
        number: of each request, by which `prompt`, `encode` and `ended` have it.
        prompt: seconds of a replica, times `slowness`.
        encode: seconds of a replica, on top.
        slowness: of a prefill.
        now: nothing begins before.
        until: nothing begins then or later.
        ended: gets the end of each request that began.

    Returns:
        How many began, and the sums of `prompt` and `encode` over them.
    """
    prompt_s = encode_s = 0.0
    if len(free) == 0:
        return 0, prompt_s, encode_s
    for i in range(len(at)):
        begin, request = max(at[i], free[0], now), number[i]
        if begin >= until:
            return i, prompt_s, encode_s
        ended[request] = begin + (prompt[request] * slowness + encode[request])
        _replace_least(free, ended[request])
        prompt_s += prompt[request]
        encode_s += encode[request]
    return len(at), prompt_s, encode_s


@machine_code
def answer(
    number: Ints,
    output: Ints,
    first_token: Floats,
    allowed: Floats,
    now: float,
    tokens: float,
    rate: float,
    ends: Ints,
) -> tuple[Ints, int, int]:
    """Note where each of these answers ends.

    Args:
        number: of each request, by which the next three have it.
        output: tokens.
        first_token: when it is there.
        allowed: when it is late.
        now: when `tokens` was counted.
        tokens: that a sequence has made which runs since the beginning.
        rate: tokens a second of each sequence.
        ends: sequences that end with each token.

    Returns:
        `ends`, longer where it was too short, tokens of all answers, and how many first tokens are late.
    """
    outputs = late = 0
    for request in number:
        place = int(tokens + rate * (first_token[request] - now)) + output[request]
        if place >= len(ends):
            longer = np.zeros(2 * place, np.int64)
            longer[: len(ends)] = ends
            ends = longer
        ends[place] += 1
        outputs += output[request]
        late += first_token[request] > allowed[request]
    return ends, outputs, late
