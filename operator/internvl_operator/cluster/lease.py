"""The Lease that makes one operator process act. Taken before Kopf starts; the process exits when it is lost.

Lost means that somebody else has it. An API server that does not answer takes it from nobody: then this
process stops writing before the Lease can run out, and goes on when it could renew it. Only this process's own
clock counts: another holder is dead when its Lease has not changed for a whole duration as watched from here,
whatever the times written in it say. Called by `__main__`.
"""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from internvl_operator.errors import NotYet

log = logging.getLogger(__name__)

RENEW_PART = 1 / 3
"""Renewed after this part of the duration."""
DEADLINE_PART = 2 / 3
"""Nothing is written this part of the duration after the last renewal began: before the Lease runs out."""
RETRY_EVERY_S = 2.0


class LeaseConflict(Exception):
    """Someone else wrote the Lease since it was read."""


class LeaseUnreachable(Exception):
    """The API server gave no usable answer."""


class LeaseLost(Exception):
    """This process must stop acting at once."""


class LeaseApi(Protocol):
    """Reads and writes one Lease object, as plain JSON."""

    async def read(self) -> dict[str, Any] | None:
        """The Lease, or None; raises `LeaseUnreachable`."""
        ...

    async def create(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Create it; raises `LeaseConflict` or `LeaseUnreachable`."""
        ...

    async def replace(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Replace it if `metadata.resourceVersion` still matches; raises like `create`."""
        ...


@dataclass(frozen=True, slots=True)
class _Sight:
    """A foreign Lease as first seen in this form."""

    version: str
    since: float


class Lease:
    """Takes, keeps and releases the Lease."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        name: str,
        namespace: str,
        identity: str,
        duration_s: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._duration_s = duration_s
        self._renew_every_s = duration_s * RENEW_PART
        self._deadline_s = duration_s * DEADLINE_PART
        self._monotonic = monotonic
        self._sleep = sleep
        self._wall = wall
        self._held: dict[str, Any] | None = None
        self._renewed = 0.0

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        seen: _Sight | None = None
        told: str | None = None
        while True:
            began = self._monotonic()
            try:
                found = await self._api.read()
                holder = _holder(found)
                if found is None or holder in ("", self._identity) or self._is_stale(found, seen, began):
                    self._held = await self._take(found)
                    self._renewed = began
                    log.info("holding lease %s/%s as %s", self._namespace, self._name, self._identity)
                    return
                version = str(found["metadata"].get("resourceVersion", ""))
                if seen is None or seen.version != version:
                    seen = _Sight(version, began)
                if told != holder:
                    log.info("lease %s/%s is held by %s, waiting", self._namespace, self._name, holder)
                    told = holder
            except LeaseConflict:
                seen = None
            except LeaseUnreachable as fault:
                log.warning("cannot read lease %s/%s: %s", self._namespace, self._name, fault)
            await self._sleep(RETRY_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads two waiters apart

    async def keep(self) -> None:
        """Renew for ever. While the API server is away nobody can take the Lease; `check` then forbids writing.

        Raises:
            LeaseLost: another process holds it, or it was deleted.
        """
        pause_s = self._renew_every_s
        while True:
            await self._sleep(pause_s)
            began = self._monotonic()
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._renew()
                self._renewed, pause_s = began, self._renew_every_s
            except (LeaseUnreachable, LeaseConflict, TimeoutError) as fault:
                log.warning(
                    "cannot renew lease %s/%s: %s", self._namespace, self._name, str(fault) or "timed out"
                )
                pause_s = RETRY_EVERY_S

    def unrenewed_s(self) -> float:
        """Seconds since the last renewal began; 0 while the Lease is not held."""
        return 0.0 if self._held is None else self._monotonic() - self._renewed

    async def release(self) -> None:
        """Give the Lease up, so that the next process need not wait. Best effort."""
        if self._held is None:
            return
        held, self._held = self._held, None
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.replace({**held, "spec": spec})
            log.info("released lease %s/%s", self._namespace, self._name)
        except (LeaseConflict, LeaseUnreachable) as fault:
            log.warning("cannot release lease %s/%s: %s", self._namespace, self._name, fault)

    async def _take(self, found: dict[str, Any] | None) -> dict[str, Any]:
        if found is None:
            return await self._api.create(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self._name, "namespace": self._namespace},
                    "spec": self._spec(acquired=None, transitions=0),
                }
            )
        before = found.get("spec") or {}
        transitions = int(before.get("leaseTransitions") or 0) + (_holder(found) != self._identity)
        return await self._api.replace({**found, "spec": self._spec(acquired=None, transitions=transitions)})

    async def _renew(self) -> None:
        assert self._held is not None
        try:
            spec = self._held["spec"]
            renewed = self._spec(acquired=spec["acquireTime"], transitions=spec["leaseTransitions"])
            self._held = await self._api.replace({**self._held, "spec": renewed})
        except LeaseConflict:
            # Our own write whose answer was lost looks like a conflict too: the holder decides.
            found = await self._api.read()
            if found is None or _holder(found) != self._identity:
                raise LeaseLost(f"now held by {_holder(found) or 'nobody'}") from None
            self._held = found
            raise

    def check(self) -> None:
        """Raise `NotYet` when the Lease may soon run out: the API server is away, or this process was stopped."""
        if self._held is None or self.unrenewed_s() > self._deadline_s:
            raise NotYet("nothing is written while the lease cannot be renewed", delay_s=RETRY_EVERY_S)

    def _is_stale(self, lease: dict[str, Any], seen: _Sight | None, now: float) -> bool:
        """Whether the Lease stood unchanged, as watched from here, for longer than it lasts."""
        if seen is None or seen.version != str(lease["metadata"].get("resourceVersion", "")):
            return False
        lasts_s = float((lease.get("spec") or {}).get("leaseDurationSeconds") or self._duration_s)
        return now - seen.since > lasts_s

    def _spec(self, *, acquired: str | None, transitions: int) -> dict[str, Any]:
        now = self._wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._duration_s),
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }


def _holder(lease: dict[str, Any] | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
