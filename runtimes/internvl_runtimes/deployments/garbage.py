"""Collects reference cycles soon after the requests that they belong to.

Ray 2.60 leaves a cycle around the reference to each response that is passed on unresolved (`ObjectRef._ready`, by
Serve's router). Until Python's collector meets it, by default after thousands of requests, the request's features
stay in the object stores of both nodes: megabytes each.
"""

import asyncio
import gc

INTERVAL_S = 0.5


class CycleCollector:
    """Runs Python's collector at most every `INTERVAL_S`, and only when something was left. On one event loop.

    What is alive when it is made is never looked at again: a collection then takes about a millisecond for what
    the requests left, not fifty for all that Ray imports.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        self._timer: asyncio.TimerHandle | None = None

    def request_ended(self) -> None:
        """Something that may be in a cycle is no longer needed."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._collect)

    def _collect(self) -> None:
        self._timer = None
        gc.collect()
