"""What Kopf does for us: it watches InternVLServices and calls back with each event."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import kopf

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.errors import Rejected

log = logging.getLogger(__name__)

AGAIN_S = 3.0
"""Pause before Kopf is started again after a fault that it does not survive."""
SERVER_TIMEOUT_S = 30
"""The API server ends each watch after this, so a stream that says nothing for longer is dead.

Kopf's own default waits 70 s for a bookmark, which the API server sends once a minute. We want a half-open
connection (packets dropped, not reset) noticed within 60 s, and a watch is cheap to open again.
"""
INACTIVITY_S = 38.0
CLIENT_TIMEOUT_S = 45.0
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 15.0


class _EndlessBackoff:
    """Pauses between tries of Kopf's own requests: without end, so that no outage ends the watch."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1.0, 2.0)
        while True:
            yield 3.0


OnEvent = Callable[[ServiceKey, str, bool, Mapping[str, Any] | None], None]
"""Called with the key, the object's resourceVersion, whether it is deleted, and the object if a list brought it: a list
is what stands at that moment, while an event of the stream may be replayed after a break. Must not block."""


def build_registry(on_event: OnEvent) -> kopf.OperatorRegistry:
    """Handlers of one operator."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(labels.GROUP, labels.VERSION, labels.PLURAL, registry=registry)
    async def enqueue(event: Any, **_: Any) -> None:
        found = event["object"]
        try:
            key = ServiceKey(found["metadata"]["namespace"], found["metadata"]["name"])
        except Rejected:
            return  # the CRD refuses such names; an object older than that rule is not ours to serve
        version, kind = str(found["metadata"].get("resourceVersion", "")), event.get("type")
        on_event(key, version, kind == "DELETED", found if kind is None else None)

    return registry


def build_settings() -> kopf.OperatorSettings:
    """Kopf's settings: only watch, notice a dead stream soon, never give up, write nothing."""
    settings = kopf.OperatorSettings()
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.inactivity_timeout = INACTIVITY_S
    settings.watching.client_timeout = CLIENT_TIMEOUT_S
    settings.watching.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.networking.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.error_backoffs = _EndlessBackoff()
    # The CRD exists before Kopf starts (`__main__` waits for it); watching CRDs and namespaces would need
    # cluster-wide rights for nothing.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None
    return settings


class Watcher:
    """Kopf in a thread with an event loop of its own.

    When Kopf ends it cancels every task of its loop, and some faults of a watch end it. Apart from ours, neither
    touches a write or a probe, and Kopf can be started again.
    """

    def __init__(self, on_event: OnEvent, *, namespaces: Sequence[str]) -> None:
        self._on_event = on_event
        self._namespaces = tuple(namespaces)
        self._stop = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled. `on_event` is called in the loop of the caller."""
        home = asyncio.get_running_loop()

        def deliver(key: ServiceKey, version: str, deleted: bool, listed: Mapping[str, Any] | None) -> None:
            home.call_soon_threadsafe(self._on_event, key, version, deleted, listed)

        ended = asyncio.Event()

        def work() -> None:
            try:
                self._watch(deliver)
            finally:
                home.call_soon_threadsafe(ended.set)

        thread = threading.Thread(target=work, name="kopf", daemon=True)
        thread.start()
        try:
            await ended.wait()
        finally:
            self._stop.set()

    def _watch(self, deliver: OnEvent) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(
                    kopf.operator(
                        registry=build_registry(deliver),
                        settings=build_settings(),
                        standalone=True,
                        clusterwide=not self._namespaces,
                        namespaces=self._namespaces,
                        stop_flag=self._stop,
                    )
                )
            except Exception as fault:
                log.warning("the watch ended and is started again: %s", fault)
            self._stop.wait(AGAIN_S)
