"""Answering: prefill in the order in which features arrive, then tokens, which running sequences share evenly.

A replica prefills one request after the other; sequences are spread evenly over the replicas that serve. The rate of a
sequence is the same for all at one time, so how far they are is one number, `_tokens`: tokens made by a sequence that has
run since the beginning. One that begins at 700 and wants 100 ends at 800, whatever the rate does between.
"""

import numpy as np

from e2e.bench.autoscaling.requests import Floats, Ints, Requests
from e2e.bench.autoscaling.simulator import compiled
from e2e.bench.autoscaling.simulator.pool import Pool
from e2e.bench.autoscaling.simulator.sample import Full, SideSample
from e2e.bench.autoscaling.site import Site

RECENT_ANSWERS_S = 60.0
"""Over so long the mean length of an answer is taken."""


class LanguageStage:
    """A queue with as many servers as the pool has replicas, and a number of running sequences."""

    def __init__(self, requests: Requests, site: Site, pool: Pool) -> None:
        replica = site.language
        self.pool = pool
        self._replica = replica
        self._encode = (requests.tiles * site.encode_s_per_tile).astype(np.float64)
        self._prompt = requests.prompt_tokens / replica.prompt_tokens_per_s
        self._seconds = self._prompt + self._encode
        self._output = requests.output_tokens
        self._at = requests.at
        self._allowed = requests.at + allowed_s(requests, site)
        self._prompt_before = np.concatenate(([0.0], np.cumsum(requests.prompt_tokens)))
        self._encode_before = np.concatenate(([0.0], np.cumsum(self._encode)))
        self._waits_at = np.empty(len(requests))
        self._waits = np.empty(len(requests), np.int64)
        """Numbers of requests, in the order in which they came to this side; those before `_next` are begun."""
        self._next = self._came = 0
        self._encoded_at = np.empty(len(requests))
        self._encoded = np.empty(len(requests), np.int64)
        self._encoding = 0
        """So many of these will come to this side, in any order."""
        self._direct = np.arange(len(requests)) if site.is_coupled else np.flatnonzero(requests.tiles == 0)
        self._direct_at = requests.at[self._direct]
        self._next_direct = 0
        self.first_token = np.full(len(requests), np.inf)
        self.running = 0
        self.answered = 0
        self.late = 0
        self._tokens = 0.0
        self._rate = 1 / replica.step_s
        self._ends = np.zeros(65_536, np.int64)
        """By the number of a token, as `_tokens` counts them: sequences whose last one it is."""
        self._curve: list[tuple[float, float]] = [(0.0, 0.0)]
        self._mean_output = float(np.mean(requests.output_tokens[:200])) if len(requests) else 0.0
        self._waiting_s = 0.0
        self._encoding_s = 0.0
        """Of encoders that were begun and have not ended."""
        self._done_s = 0.0
        self._sampled_at = 0.0
        self._sampled_done_s = 0.0
        self._sampled_arrived = 0
        self._arrived_output = 0.0
        self._is_full = self._has_slot = False
        self._full_prompt = self._full_prompt_s = self._full_output = self._full_output_s = 0.0
        self._beside_prompt = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether every request that came to this side was begun and has ended."""
        waits = self._next < self._came or self._next_direct < len(self._direct)
        return not (self.running or self._encoding or waits)

    def receive(self, at: Floats, number: Ints) -> None:
        """Take requests with pictures: when their features are here, and which they are."""
        size = self._encoding + len(number)
        self._encoded_at[self._encoding : size], self._encoded[self._encoding : size] = at, number
        self._encoding = size

    def advance(self, now: float, until: float) -> None:
        """Begin what can begin before `until`, and let running sequences make tokens until then."""
        self.pool.admit(until)
        self._let_in(until)
        active = max(len(self.pool.free), 1 if self.running else 0)
        if not active:
            self._curve.append((until, self._tokens))
            return
        unfinished = self.pool.unfinished_s(now)
        was_full, had_slot = self._is_full, self._has_slot
        each = self._replica.step_s + self._replica.sequence_s * self.running / active
        slowness = 1 + each / self._replica.chunk_s
        begun_s, stalled_s, prompt_s = self._begin(now, until, slowness)
        seconds = active * (until - now)
        worked = min(max(unfinished + begun_s - self.pool.unfinished_s(until), 0.0), seconds)
        self._encoding_s += stalled_s
        stalled_now_s = min(self._encoding_s, worked)
        self._encoding_s -= stalled_now_s
        stalled = stalled_now_s / seconds
        prefill = worked / seconds - stalled
        self._rate = (1 - prefill - stalled) / each + prefill / (each + self._replica.chunk_s)
        self._make_tokens(until)
        # The share of a step's time that goes to answers, while a prefill runs, and that of the rest.
        answering = min(prefill * each / (each + self._replica.chunk_s) + (1 - prefill - stalled), 1.0)
        made = self._rate * self.running * (until - now)
        self._done_s += prompt_s + stalled_s + made / self._replica.output_tokens_per_s
        if was_full and self._is_full:
            # What was done, not what was begun: others wait because long prompts were begun before.
            prefill_s = worked - stalled_now_s
            self._full_prompt += (prefill_s / slowness + stalled_now_s) * self._replica.prompt_tokens_per_s
            if had_slot or self._has_slot:  # as the data plane measures: by the steps in which others wait
                self._full_prompt_s += worked
                self._beside_prompt += self.running / active * prefill_s / (each + self._replica.chunk_s)
            else:
                self._full_prompt_s += seconds * (1 - answering)
                self._full_output += made
                self._full_output_s += seconds * answering

    def _let_in(self, until: float) -> None:
        before, size, direct = self._came, self._encoding, self._next_direct
        if not size and (direct == len(self._direct) or self._direct_at[direct] >= until):
            return
        directly, self._encoding = compiled.queue(
            until,
            self._encoded_at,
            self._encoded,
            size,
            self._direct_at[direct:],
            self._direct[direct:],
            self._waits_at[before:],
            self._waits[before:],
        )
        self._next_direct += directly
        self._came += directly + size - self._encoding
        self._waiting_s += float(self._seconds[self._waits[before : self._came]].sum())

    def _begin(self, now: float, until: float, slowness: float) -> tuple[float, float, float]:
        """Returns seconds of replicas begun, those of them in an encoder, and of prefill alone."""
        room = int(self._replica.sequences * len(self.pool.free)) - self.running
        if self._next == self._came:
            self._waiting_s, self._is_full, self._has_slot = 0.0, False, room > 0
            return 0.0, 0.0, 0.0
        free = np.array(self.pool.free)
        waits = slice(self._next, min(self._came, self._next + max(room, 0)))
        begun, prompt_s, stalled_s = compiled.prefill(
            free,
            self._waits_at[waits],
            self._waits[waits],
            self._prompt,
            self._encode,
            slowness,
            now,
            until,
            self.first_token,
        )
        if begun:
            self.pool.free = free.tolist()
            self._answer(self._waits[self._next : self._next + begun], now, until)
        self._next += begun
        is_full = self._next < self._came
        self._waiting_s = self._waiting_s - prompt_s - stalled_s if is_full else 0.0
        self._is_full, self._has_slot = is_full, room > begun
        return prompt_s * slowness + stalled_s, stalled_s, prompt_s

    def _answer(self, begun: Ints, now: float, until: float) -> None:
        """Let these run from their first token on."""
        self._ends, outputs, late = compiled.answer(
            begun, self._output, self.first_token, self._allowed, now, self._tokens, self._rate, self._ends
        )
        self.running += len(begun)
        self.answered += len(begun)
        self.late += late
        weight = min((until - now) / RECENT_ANSWERS_S, 1.0)
        self._mean_output += weight * (outputs / len(begun) - self._mean_output)

    def _make_tokens(self, until: float) -> None:
        before = int(self._tokens)
        self._tokens += self._rate * (until - self._curve[-1][0])
        after = int(self._tokens)
        # One that ends in the token being made ends with it.
        self.running -= int(self._ends[before + 1 : after + 1].sum())
        self._curve.append((until, self._tokens))

    def ended(self, requests: Requests) -> Floats:
        """When each request had its last token, in seconds; infinite where it has none yet."""
        at = np.array([time for time, _ in self._curve])
        made = np.array([tokens for _, tokens in self._curve])
        first = self.first_token
        begun = np.interp(first, at, made)
        ended: Floats = np.interp(begun + requests.output_tokens, made, at, right=np.inf)
        return np.where(np.isfinite(first), np.maximum(ended, first), np.inf)

    def sample(self, now: float) -> SideSample:
        """What can be seen now. Work counts when it comes to the gateway, waiting when it is at this side."""
        arrived = int(np.searchsorted(self._at, now))
        queued = self._came - self._next
        tokens_per_s = self._replica.prompt_tokens_per_s
        outputs_per_s = self._replica.output_tokens_per_s
        ready = len(self.pool.free)
        seconds = max(ready, 1) * (now - self._sampled_at)
        busy = (self._done_s - self._sampled_done_s) / seconds if seconds > 0 else 0.0
        self._arrived_output += (arrived - self._sampled_arrived) * self._mean_output
        self._sampled_at, self._sampled_done_s, self._sampled_arrived = now, self._done_s, arrived
        # An encoder's seconds on a coupled replica count as the prompt tokens that it could have prefilled meanwhile.
        arrived_prompt = float(self._prompt_before[arrived] + self._encode_before[arrived] * tokens_per_s)
        return SideSample(
            target=self.pool.target,
            ready=ready,
            starting=self.pool.starting,
            arrived=arrived_prompt / tokens_per_s + self._arrived_output / outputs_per_s,
            arrived_requests=arrived,
            arrived_prompt_tokens=arrived_prompt,
            arrived_output_tokens=self._arrived_output,
            queued=queued,
            waiting=self._waiting_s + queued * self._mean_output / outputs_per_s,
            waiting_prompt_tokens=self._waiting_s * tokens_per_s,
            waiting_output_tokens=queued * self._mean_output,
            running=self.running,
            busy=min(max(busy, 0.0), 1.0),
            occupied=(self.running + queued) / (max(ready, 1) * self._replica.sequences),
            full=Full(done=self._full_prompt, seconds=self._full_prompt_s, outputs=self._beside_prompt),
            full_output=Full(done=self._full_output, seconds=self._full_output_s),
        )


def allowed_s(requests: Requests, site: Site) -> Floats:
    """Seconds that each request's first token may take: what it takes on an empty service, and the objective's on top."""
    replica = site.language
    alone = 1 + replica.step_s / replica.chunk_s
    empty = requests.vision_s(site) + requests.prompt_tokens / replica.prompt_tokens_per_s * alone
    allowed: Floats = empty + site.objectives.first_token_s
    return allowed
