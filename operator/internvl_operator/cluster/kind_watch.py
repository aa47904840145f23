"""One kind of object in one namespace or in all: a list, then what the API server tells of it.

What is kept is small (`cluster.kinds`) and as new as the stream. A subscriber is woken when something of his has
another value than before, never for a change that nobody reads. Called by `cluster.object_watch`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol

from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kinds import Kept, ObjectKind
from internvl_operator.cluster.kubernetes import ApiFault

log = logging.getLogger(__name__)

AGAIN_S = 2.0
"""Pause after a fault, also while the kind does not exist."""
MISSING_AGAIN_S = 30.0
"""The same while an optional kind may not be read or does not exist."""
REOPEN_S = 0.2
"""Pause before a stream that ended is opened again where it ended: no server may make us spin."""

Place = tuple[str, str]
"""Namespace, and the value of the label that says whose the object is."""


class ObjectApi(Protocol):
    """What is asked of the API server. Faults are `ApiFault`."""

    async def list_objects(
        self,
        kind: str,
        namespace: str | None,
        selector: Mapping[str, str | None],
        take: Callable[[dict[str, Any]], None],
    ) -> str:
        """Give `take` all objects with these labels, one after the other; the version of the list."""
        ...

    def watch_objects(
        self, kind: str, namespace: str | None, selector: Mapping[str, str | None], version: str
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What changed after that version; ends at some time."""
        ...

    async def close(self) -> None:
        """No more requests."""
        ...


class _Entry(NamedTuple):
    version: int
    kept: Kept


class KindWatch:
    """The objects of one kind. `run` is its only task."""

    def __init__(
        self,
        kind: ObjectKind,
        namespace: str | None,
        api: ObjectApi,
        *,
        wake: Callable[[ServiceKey], None],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.kind = kind
        self.fault: ApiFault | None = None
        """Why nothing can be read, until the next list that succeeds."""
        self.told = asyncio.Event()
        """Set once there was a first list, or a fault that does not pass by itself."""
        self.wanted = asyncio.Event()
        """Nothing is asked of the API server before this is set."""
        if not kind.is_optional:
            self.wanted.set()
        self._namespace = namespace
        self._api = api
        self._wake = wake
        self._sleep = sleep
        self._subscribers: dict[Place, ServiceKey] = {}
        self._entries: dict[Place, dict[str, _Entry]] = {}
        self._places: dict[tuple[str, str], Place] = {}
        """By namespace and name of an object: its label may be changed to another service's."""
        self._version: int | None = None
        """Up to here everything was delivered; None: a list is due."""
        self._refusals = 0
        """In a row."""

    def subscribe(self, key: ServiceKey) -> None:
        """Wake this service from now on."""
        for place in self._places_of(key):
            self._subscribers[place] = key

    def unsubscribe(self, key: ServiceKey) -> None:
        """Wake it no more."""
        for place in self._places_of(key):
            self._subscribers.pop(place, None)

    def kept(self, key: ServiceKey) -> dict[str, Kept]:
        """What is known of a service's objects, by name."""
        found = (self._entries.get(place, {}) for place in self._places_of(key))
        return {name: entry.kept for entries in found for name, entry in sorted(entries.items())}

    def offer(self, found: Mapping[str, Any]) -> None:
        """The answer to a write of our own: what stands before the stream tells of it.

        When the stream is further already, it has told of this, and perhaps of a deletion since. A list that is under
        way drops what is older than itself.
        """
        if self._version is None or _version_of(found) > self._version:
            self._hold(found)

    async def run(self) -> NoReturn:
        """Follow for ever, from when it is wanted."""
        await self.wanted.wait()
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._follow()
                await self._sleep(REOPEN_S)
            except ApiFault as fault:
                await self._bear(fault)
            except Exception as fault:
                # An answer in an unknown form. Without its watch the kind would stay as it was, for ever.
                log.exception("the watch of %s broke and begins anew", self.kind.name)
                await self._bear(ApiFault(0, f"{type(fault).__name__}: {fault}"))

    async def _list(self) -> None:
        entries: dict[Place, dict[str, _Entry]] = {}

        def take(item: dict[str, Any]) -> None:
            entries.setdefault(self._place(item), {})[item["metadata"]["name"]] = self._entry(item)

        version = await self._api.list_objects(self.kind.name, self._namespace, self.kind.selector, take)
        self._version = int(version)
        for place, known in self._entries.items():
            # Answers to our own writes during the list are newer than it.
            newer = {name: entry for name, entry in known.items() if entry.version > self._version}
            if newer:
                entries.setdefault(place, {}).update(newer)
        before, self._entries = self._entries, entries
        self._places = {(place[0], name): place for place, known in entries.items() for name in known}
        was_in_trouble, self.fault, self._refusals = self.fault is not None, None, 0
        self.told.set()
        for place in {*before, *entries, *(self._subscribers if was_in_trouble else ())}:
            if was_in_trouble or _values(before.get(place)) != _values(entries.get(place)):
                self._wake_at(place)

    async def _follow(self) -> None:
        stream = self._api.watch_objects(
            self.kind.name, self._namespace, self.kind.selector, str(self._version)
        )
        async for what, found in stream:
            if what == "DELETED":
                self._drop(found)
            else:
                self._hold(found)
            self._version = _version_of(found)

    async def _bear(self, fault: ApiFault) -> None:
        if fault.code == 410:  # what happened since is forgotten there
            self._version = None
            await self._sleep(REOPEN_S)
            return
        if not fault.may_pass:
            self._version = None
            self._refusals += 1
            # An API server that has just started may refuse what it allows a moment later.
            if self.fault is None and (self._refusals > 1 or not self.told.is_set()):
                log.warning("cannot watch %s: %s", self.kind.name, fault.message)
                self.fault = fault
                self.told.set()
                for place in self._subscribers:
                    self._wake_at(place)
        is_missing = self.kind.is_optional and self.fault is not None
        await self._sleep(MISSING_AGAIN_S if is_missing else AGAIN_S)

    def _hold(self, found: Mapping[str, Any]) -> None:
        place, name, entry = self._place(found), found["metadata"]["name"], self._entry(found)
        if self._places.get((place[0], name), place) != place:
            self._drop(found)
        known = self._entries.setdefault(place, {}).get(name)
        if known is not None and entry.version < known.version:
            return  # an answer to our own write was newer
        self._entries[place][name] = entry
        self._places[place[0], name] = place
        if known is None or known.kept != entry.kept:
            self._wake_at(place)

    def _drop(self, found: Mapping[str, Any]) -> None:
        namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
        place = self._places.get((namespace, name))
        if place is None or self._entries[place][name].version > _version_of(found):
            return  # unknown, or made again by us since
        del self._places[namespace, name], self._entries[place][name]
        if not self._entries[place]:
            del self._entries[place]
        self._wake_at(place)

    def _entry(self, found: Mapping[str, Any]) -> _Entry:
        return _Entry(_version_of(found), self.kind.keep(dict(found)))

    def _place(self, found: Mapping[str, Any]) -> Place:
        meta = found["metadata"]
        return meta["namespace"], str(meta.get("labels", {}).get(self.kind.label, ""))

    def _places_of(self, key: ServiceKey) -> tuple[Place, ...]:
        return tuple((key.namespace, value) for value in self.kind.values_of(key))

    def _wake_at(self, place: Place) -> None:
        key = self._subscribers.get(place)
        if key is not None:
            self._wake(key)


def _version_of(found: Mapping[str, Any]) -> int:
    """Kubernetes' resourceVersion, which from 1.35 on is a number to compare by promise, and before that in fact."""
    return int(found["metadata"]["resourceVersion"])


def _values(entries: Mapping[str, _Entry] | None) -> dict[str, Kept]:
    return {name: entry.kept for name, entry in (entries or {}).items()}
