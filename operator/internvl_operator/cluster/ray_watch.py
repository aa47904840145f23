"""The one poller of a Ray address: one cheap GET an interval, shared by all services there.

It keeps the last good answer or what is wrong, and wakes only those services whose own part changed.
Called by `cluster.fleet`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.labels import POOL
from internvl_operator.cluster.observe_ray import see_ray
from internvl_operator.cluster.ray import RayFault, ServeApi, ServeState
from internvl_operator.plan.observation import (
    ApplicationSeen,
    ApplicationState,
    DeploymentState,
    RaySeen,
    RayUnavailable,
)

log = logging.getLogger(__name__)

SECOND_LOOK_S = 0.5
"""A refused connection or a busy Serve is believed when it happens twice in a row."""
POOLS_EVERY_S = 6.0
"""Pause between two looks at the nodes while some application is not well; at rest nobody looks."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one service sees of a Ray address. Compared to decide whether it is woken."""

    unavailable: tuple[Reason, str] | None
    applications: tuple[ApplicationSeen | None, ...] = ()
    node_pools: frozenset[str] | None = None
    http_address: str | None = None


class RayWatch:
    """Polls one address for its subscribers. `run` is its only task."""

    def __init__(
        self,
        api: ServeApi,
        *,
        interval_s: Callable[[], float],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        wake: Callable[[ServiceKey], None],
        reads_pools: bool = True,  # False: nobody places replicas by Ray's pools, and `node_pools` stays None
    ) -> None:
        self._api = api
        self._interval_s = interval_s
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._wake = wake
        self._reads_pools = reads_pools
        self._parts: dict[ServiceKey, _Part | None] = {}
        self._pools: frozenset[str] | None = None
        self._pools_at: float | None = None
        self._shown = 0
        self.seen: RaySeen | RayUnavailable | None = None

    def subscribe(self, key: ServiceKey) -> None:
        """Wake this service when its part changes, from now on."""
        if key not in self._parts:
            self._parts[key] = self._part(key) if self.seen is not None else None

    def unsubscribe(self, key: ServiceKey) -> None:
        """Stop waking this service."""
        self._parts.pop(key, None)

    @property
    def subscribers(self) -> int:
        """Services that live on this address."""
        return len(self._parts)

    async def run(self) -> None:
        """Poll for ever. The interval counts from start to start, so that a hang costs no more than itself."""
        while True:
            began = self._monotonic()
            await self.poll()
            await self._sleep(max(SECOND_LOOK_S, self._interval_s() - (self._monotonic() - began)))

    async def poll(self) -> None:
        """Look once, twice when the first look may have been bad luck.

        What the writer has read and offered meanwhile is newer than this look, which then counts for nothing.
        """
        shown = self._shown
        try:
            try:
                state = await self._api.fetch()
            except RayFault as fault:
                if fault.reason not in (Reason.RAY_UNREACHABLE, Reason.SERVE_UNAVAILABLE):
                    raise
                await self._sleep(SECOND_LOOK_S)
                state = await self._api.fetch()
            if self._wants_pools():
                await self._look_at_pools()
            if self._shown == shown:
                self.offer(state)
        except RayFault as fault:
            if self._shown == shown:
                self._lose(fault)
        except Exception as fault:
            # An answer that parses but is shaped otherwise: another version of Serve. Without its poller an
            # address would stay as it was last seen, for ever.
            log.exception("cannot read the answer of Ray at %s", self._api.address)
            self._lose(RayFault(Reason.NOT_RAY, f"{self._api.address} answers in an unknown form: {fault}"))

    def offer(self, state: ServeState) -> None:
        """Take in an answer, from the poll or from the writer that has just read one."""
        if isinstance(self.seen, RayUnavailable):
            log.info("Ray at %s answers again", self._api.address)
        self._show(see_ray(self._api.address, state, at=self._now(), node_pools=self._pools))

    def _lose(self, fault: RayFault) -> None:
        known = self.seen if isinstance(self.seen, RayUnavailable) else None
        if known is None or known.reason is not fault.reason:
            log.warning("Ray at %s is not available: %s", self._api.address, fault.message)
        self._show(
            RayUnavailable(
                address=self._api.address,
                since=known.since if known else self._now(),
                reason=fault.reason,
                # One text a reason, so that a wording that varies by request does not wake anybody.
                message=known.message if known and known.reason is fault.reason else fault.message,
            )
        )
        # Ray may come back as another cluster.
        self._pools = self._pools_at = None

    def _show(self, seen: RaySeen | RayUnavailable) -> None:
        self.seen = seen
        self._shown += 1
        for key, before in list(self._parts.items()):
            part = self._part(key)
            if part != before:
                self._parts[key] = part
                self._wake(key)

    def _part(self, key: ServiceKey) -> _Part:
        if not isinstance(self.seen, RaySeen):
            assert self.seen is not None
            return _Part(unavailable=(self.seen.reason, self.seen.message))
        return _Part(
            unavailable=None,
            applications=(
                *(self.seen.applications.get(name) for name in names.applications(key)),
                *(
                    self.seen.applications[name]
                    for name in names.stand_ins(key)
                    if name in self.seen.applications
                ),
            ),
            node_pools=self.seen.node_pools,
            http_address=self.seen.http_address,
        )

    def _wants_pools(self) -> bool:
        if not self._reads_pools:
            return False
        if self._pools_at is None:
            return bool(self._parts)
        if self._monotonic() - self._pools_at < POOLS_EVERY_S:
            return False
        return any(not _is_well(app) for part in self._parts.values() if part for app in part.applications)

    async def _look_at_pools(self) -> None:
        self._pools_at = self._monotonic()
        try:
            self._pools = await self._api.fetch_pools(POOL)
        except RayFault as fault:
            log.debug("cannot list the nodes of %s: %s", self._api.address, fault.message)
            self._pools = None


def _is_well(app: ApplicationSeen | None) -> bool:
    return (
        app is not None
        and app.status == ApplicationState.RUNNING
        and all(item.status == DeploymentState.HEALTHY for item in app.deployments.values())
    )
