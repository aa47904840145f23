"""Our own list, once a minute: finds what the watch has missed, deletions too, and watches the watch.

The watch may stall in ways that nobody reports. So each list is compared with what the watch has delivered:
a change that a list saw and the watch has still not delivered one list later means that the watch is dead.
Called by `__main__`; the liveness endpoint asks `stalled_for`.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.errors import Rejected

log = logging.getLogger(__name__)

EVERY_S = 60.0
ALL_EVERY = 10
"""Each tenth list makes all services due, as a net below everything that wakes them otherwise."""


class KindGone(Exception):
    """The CRD was removed while the operator ran."""


class Resync:
    """Lists on a slow clock and keeps book of what the watch delivered."""

    def __init__(
        self,
        list_services: Callable[[], Awaitable[list[dict[str, Any]]]],
        *,
        add: Callable[[ServiceKey], None],
        known: Callable[[], Iterable[ServiceKey]],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._list = list_services
        self._add = add
        self._known = known
        self._monotonic = monotonic
        self._sleep = sleep
        self._delivered: dict[ServiceKey, str] = {}
        self._missing: dict[ServiceKey, float] = {}
        self._lists = 0

    def on_key(self, key: ServiceKey, version: str, deleted: bool) -> None:
        """The watch delivered this; the service is due."""
        if deleted:
            self._delivered.pop(key, None)
        else:
            self._delivered[key] = version
        self._missing.pop(key, None)
        self._add(key)

    def stalled_for(self) -> float:
        """Seconds since a change was listed that the watch has not delivered; 0 while it keeps up."""
        if not self._missing:
            return 0.0
        return self._monotonic() - min(self._missing.values())

    async def run(self) -> None:
        """List for ever.

        Raises:
            KindGone: the API server does not know InternVLServices any more.
        """
        while True:
            await self._sleep(EVERY_S)
            try:
                found = await self._list()
            except ApiFault as fault:
                if fault.is_gone:
                    raise KindGone("the CRD of InternVLService was removed") from fault
                log.warning("cannot list services: %s", fault.message)
                self._missing.clear()  # what the watch owes is not known while the API server is away
                continue
            self.compare(found)

    def compare(self, found: list[dict[str, Any]]) -> None:
        """Take in one list. Services that the watch tells otherwise are due, deleted ones too; now and then all."""
        versions: dict[ServiceKey, str] = {}
        for item in found:
            meta = item["metadata"]
            try:
                versions[ServiceKey(meta["namespace"], meta["name"])] = str(meta.get("resourceVersion", ""))
            except Rejected:
                continue
        self._lists += 1
        for key in {*versions, *self._delivered, *self._known()}:
            agrees = self._delivered.get(key) == versions.get(key)
            if agrees:
                self._missing.pop(key, None)
            elif key not in versions and key in self._missing:
                # Gone in two lists: a watch that had to list anew never tells of what vanished meanwhile.
                self._missing.pop(key)
                self._delivered.pop(key, None)
            else:
                self._missing.setdefault(key, self._monotonic())
            if not agrees or self._lists % ALL_EVERY == 0:
                self._add(key)
