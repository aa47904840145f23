"""All objects of all services with a Ray cluster of their own, as the API server last told of them.

One list and one stream for each kind and watched namespace, whatever the number of services: at rest nothing is
asked, and a pod in trouble or a deleted object wakes its service at once. Called by `cluster.object_store`;
made and run by `__main__`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kind_watch import KindWatch, ObjectApi
from internvl_operator.cluster.kinds import KINDS, ObjectKind, manifest_of
from internvl_operator.cluster.kubernetes import ApiFault
from internvl_operator.plan.observation import PodSeen, ScaleSeen
from internvl_operator.render.cluster_objects import Manifest, ObjectId

LIST_WITHIN_S = 5.0
"""Longest wait of a reconcile for the first list."""


class ObjectWatch:
    """The watches of every kind in every watched namespace."""

    def __init__(
        self,
        connect: Callable[[], ObjectApi],
        *,
        namespaces: Sequence[str],
        wake: Callable[[ServiceKey], None],
        kinds: Iterable[ObjectKind] = KINDS,
    ) -> None:
        """Nothing starts here.

        Args:
            connect: Gives a client; streams hold connections, so each namespace has a client of its own.
            namespaces: Those that are watched; empty: all.
            wake: Called with a service whose objects changed.
            kinds: What is watched.
        """
        self._apis: list[ObjectApi] = []
        self._watches: dict[str | None, tuple[KindWatch, ...]] = {}
        for namespace in namespaces or (None,):
            api = connect()
            self._apis.append(api)
            self._watches[namespace] = tuple(KindWatch(kind, namespace, api, wake=wake) for kind in kinds)

    async def run(self) -> None:
        """Watch until cancelled, then close the clients."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for namespace, watches in self._watches.items():
                    for watch in watches:
                        name = f"watch {watch.kind.name} in {namespace or 'all namespaces'}"
                        tasks.create_task(watch.run(), name=name)
        finally:
            for api in self._apis:
                await api.close()

    def subscribe(self, key: ServiceKey) -> None:
        """Wake this service when its objects change."""
        for watch in self._of(key):
            watch.subscribe(key)

    def unsubscribe(self, key: ServiceKey) -> None:
        """The service is gone."""
        for watch in self._of(key):
            watch.unsubscribe(key)

    async def listed(self, key: ServiceKey) -> None:
        """Return when everything of the service's is known: before, objects that stand would look missing.

        Raises:
            ApiFault: A kind that every service has cannot be read, or was not listed yet; the latter passes.
        """
        for watch in self._of(key):
            if not watch.kind.is_optional:
                await _told(watch)

    def objects(self, key: ServiceKey) -> dict[ObjectId, Manifest]:
        """The service's objects, but for its pods and for optional kinds."""
        found: dict[ObjectId, Manifest] = {}
        for watch in self._of(key):
            if not watch.kind.is_optional:
                found |= _objects(watch, key)
        return found

    async def optional_objects(self, key: ServiceKey, kind: str) -> dict[ObjectId, Manifest]:
        """The service's objects of an optional kind, which is watched from now on.

        Raises:
            ApiFault: The kind does not exist, may not be read, or was not listed yet; the last passes.
        """
        found: dict[ObjectId, Manifest] = {}
        for watch in self._of(key):
            if watch.kind.name == kind:
                watch.wanted.set()
                await _told(watch)
                found |= _objects(watch, key)
        return found

    async def scales(self, key: ServiceKey) -> dict[str, ScaleSeen]:
        """The service's InternVLScales by name, which are watched from now on.

        Raises:
            ApiFault: The kind does not exist, may not be read, or was not listed yet; the last passes.
        """
        found: dict[str, ScaleSeen] = {}
        for watch in self._of(key):
            watch.wanted.set()
            await _told(watch)
            found |= {name: kept for name, kept in watch.kept(key).items() if isinstance(kept, ScaleSeen)}
        return found

    def pods(self, key: ServiceKey) -> tuple[PodSeen, ...]:
        """The pods of the service's Ray cluster."""
        kept = (item for watch in self._of(key) for item in watch.kept(key).values())
        return tuple(item for item in kept if isinstance(item, PodSeen))

    def offer(self, kind: str, found: Mapping[str, Any]) -> None:
        """The API server's answer to a write of ours, so that what was just written is not missed."""
        namespace = found["metadata"]["namespace"]
        for watch in self._watches.get(namespace) or self._watches.get(None) or ():
            if watch.kind.name == kind:
                watch.offer(found)

    def _of(self, key: ServiceKey) -> tuple[KindWatch, ...]:
        return self._watches.get(key.namespace) or self._watches.get(None) or ()


async def _told(watch: KindWatch) -> None:
    try:
        await asyncio.wait_for(watch.told.wait(), LIST_WITHIN_S)
    except TimeoutError:
        raise ApiFault(0, f"the first list of {watch.kind.name} has not come yet") from None
    if watch.fault is not None:
        raise watch.fault


def _objects(watch: KindWatch, key: ServiceKey) -> dict[ObjectId, Manifest]:
    return {
        ObjectId(watch.kind.name, name): manifest_of(kept)
        for name, kept in watch.kept(key).items()
        if isinstance(kept, str)
    }
