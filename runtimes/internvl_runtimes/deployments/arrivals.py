"""What a gateway measures: the load as it arrives, and how long callers wait. On one event loop."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Input
from internvl_runtimes.deployments.admission import Admitted
from internvl_runtimes.deployments.handles import PendingFeatures
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.protocol.handover import Chunk


class Answering:
    """One admitted request until its answer ends."""

    def __init__(self, arrivals: "Arrivals", admitted: Admitted) -> None:
        self._arrivals = arrivals
        self.admitted = admitted
        self.began = self._at = arrivals.clock()
        self.first_token = False
        self.features: PendingFeatures | None = None
        """Its encode; None while there is none, as between two tries."""

    @property
    def queued_tiles(self) -> int:
        """Tiles that no vision replica has taken yet."""
        return self.admitted.tiles if self.features is None or self.features.is_queued else 0

    def piece(self, chunk: Chunk) -> None:
        """The next piece of the answer is here."""
        now = self._arrivals.clock()
        if not self.first_token:
            self._arrivals.first_token(self, now - self.began)
        elif chunk.token_ids:
            self._arrivals.between(now - self._at, len(chunk.token_ids))
        self._at = now


class Arrivals:
    """Counts requests when they are admitted and once each, whatever becomes of them."""

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.monotonic) -> None:
        self._recorder = recorder
        self.clock = clock
        self._awaited: set[Answering] = set()

    def admitted(self, admitted: Admitted) -> None:
        """Count a request that will be sent on."""
        record, visual = self._recorder.record, admitted.visual_tokens_bound
        record(metrics.REQUESTS_ADMITTED, input=_input(admitted))
        record(metrics.TILES_ADMITTED, admitted.tiles)
        record(metrics.PROMPT_TOKENS_ADMITTED, admitted.prompt_tokens_bound - visual, kind="prompt")
        record(metrics.PROMPT_TOKENS_ADMITTED, visual, kind="visual")
        record(metrics.OUTPUT_TOKENS_ADMITTED, admitted.sampling.max_tokens)

    @contextmanager
    def answering(self, admitted: Admitted) -> Iterator[Answering]:
        """Watch one request's answer; give it each piece."""
        answering = Answering(self, admitted)
        self._awaited.add(answering)
        try:
            yield answering
        finally:
            self._awaited.discard(answering)

    def first_token(self, answering: Answering, seconds: float) -> None:
        """An answer has begun."""
        answering.first_token = True
        self._awaited.discard(answering)
        self._recorder.record(metrics.TIME_TO_FIRST_TOKEN, seconds, input=_input(answering.admitted))

    def between(self, seconds: float, tokens: int) -> None:
        """An answer has gone on by so many tokens."""
        self._recorder.record(metrics.BETWEEN_TOKENS, seconds / tokens)

    def record_load(self) -> None:
        """Set the gauges: what waits for its first token, and for a vision replica."""
        for kind in Input:
            requests = sum(_input(one.admitted) is kind for one in self._awaited)
            self._recorder.record(metrics.AWAITED, requests, input=kind)
        self._recorder.record(metrics.AWAITED_TILES, sum(one.queued_tiles for one in self._awaited))


def _input(admitted: Admitted) -> Input:
    return Input.PICTURES if admitted.images else Input.TEXT
