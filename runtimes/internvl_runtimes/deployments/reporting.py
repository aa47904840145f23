"""The reports of a replica about its load: once a second, for its whole life. Called by `app`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger("ray.serve")  # reaches the replica's log

REPORT_S = 1.0
"""Ray forgets a gauge once it was exported: it must be set again at least as often as that."""


async def report_forever(
    *records: Callable[[], None], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Call these one after the other, again and again.

    When one raises, the ones after it wait for the next time: a replica that cannot tell its load must not say that it
    is there, or its load would pass for none. Each type of exception is logged once.
    """
    said: set[type[Exception]] = set()
    while True:
        try:
            for record in records:
                record()
        except Exception as fault:  # whatever it is: without reports the replica would be silent for ever
            if type(fault) not in said:
                said.add(type(fault))
                _LOG.exception(
                    "the load of this replica could not be reported; it is tried again each second"
                )
        await sleep(REPORT_S)
