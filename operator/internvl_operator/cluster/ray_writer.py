"""The one writer of a Ray address: serialised, coalescing, never in the middle of another's build.

Serve's PUT replaces the whole set and has no compare-and-swap. So each write reads the set anew, lays all
waiting submissions over it, writes, and reads again. What another writer destroyed of ours in between is
written again; what we destroyed of theirs in the few milliseconds between read and write cannot be seen from
here (`docs/decisions`: one writer per Ray address). Called by `cluster.fleet`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.ray import (
    RayFault,
    ServeApi,
    ServeState,
    encode_serve_config,
)
from internvl_operator.cluster.serve_merge import Merge, Submission, merge
from internvl_operator.errors import NotYet
from internvl_operator.plan.observation import WriteSeen

log = logging.getLogger(__name__)

BUILD_POLL_S = 1.0
_OF_ONE_KEY = (Reason.WRITE_FAILED, Reason.APPLICATION_NOT_OURS)
"""Refusals that may be the fault of one submission among several."""
REPAIRS = 5
"""Writes in a row that another writer may undo before this one reports it and leaves it to the poller."""


@dataclass(slots=True)
class _BuildWait:
    """Seconds that one write has waited for other applications' builds."""

    seconds: float = 0.0


class RayWriter:
    """Writes for all services on one Ray address. `run` is its only task."""

    def __init__(
        self,
        api: ServeApi,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        on_state: Callable[[ServeState], None],
        on_outcome: Callable[[ServiceKey], None],
        fence: Callable[[], None] = lambda: None,  # raises NotYet when this process may not write
        build_wait_s: float,  # longest wait for others' builds; theirs may hang for ever
        initial_options: Mapping[str, Any] | None = None,  # only counts where Serve does not run yet
    ) -> None:
        self._api = api
        self._now = now
        self._sleep = sleep
        self._on_state = on_state
        self._on_outcome = on_outcome
        self._fence = fence
        self._build_wait_s = build_wait_s
        self._initial_options = dict(initial_options or {})
        self._waiting: dict[ServiceKey, Submission] = {}
        self._in_hand: dict[ServiceKey, Submission] = {}
        self._outcomes: dict[ServiceKey, WriteSeen] = {}
        self._wake = asyncio.Event()

    def submit(self, key: ServiceKey, submission: Submission) -> None:
        """Ask for this state. A newer submission of the same key replaces an older one."""
        if self._waiting.get(key, self._in_hand.get(key)) == submission:
            return
        self._waiting[key] = submission
        self._wake.set()

    def outcome(self, key: ServiceKey) -> WriteSeen | None:
        """What happened to the key's last submission."""
        return self._outcomes.get(key)

    def forget(self, key: ServiceKey) -> None:
        """Drop what is kept about a key that is gone; what was not begun for it is not written any more."""
        self._outcomes.pop(key, None)
        self._waiting.pop(key, None)

    def is_writing(self, key: ServiceKey) -> bool:
        """Whether a submission of this key waits or is in hand."""
        return key in self._waiting or key in self._in_hand

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or being written."""
        return not self._waiting and not self._in_hand

    async def run(self) -> None:
        """Write what is submitted, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write_safely()

    async def _write_safely(self) -> None:
        try:
            await self.write_waiting()
        except Exception as fault:
            # A bug. The writer of an address must outlive it, or nothing is written again.
            log.exception("the write to %s failed", self._api.address)
            self._join_waiting()
            self._finish(RayFault(Reason.WRITE_FAILED, f"the write failed: {type(fault).__name__}: {fault}"))

    async def write_waiting(self) -> None:
        """Write everything that waits now, in one PUT where Serve accepts it so."""
        wait = _BuildWait()
        try:
            await self._write(wait, may_join=True)
        except RayFault as fault:
            self._join_waiting()
            if fault.reason not in _OF_ONE_KEY or len(self._in_hand) == 1:
                self._finish(fault)
                return
            await self._write_one_by_one(wait)

    async def _write_one_by_one(self, wait: _BuildWait) -> None:
        """One bad submission must not stop the others. Those that are not yet in hand still count as waiting."""
        suspects = tuple(self._in_hand)
        self._waiting, self._in_hand = self._in_hand, {}
        for key in suspects:
            submission = self._waiting.pop(key, None)
            if submission is None:
                continue  # forgotten meanwhile
            self._in_hand = {key: submission}
            try:
                await self._write(wait, may_join=False)
            except RayFault as fault:
                if fault.reason not in _OF_ONE_KEY:
                    self._join_waiting()
                self._finish(fault)

    async def _write(self, wait: _BuildWait, *, may_join: bool) -> None:
        """Write until a fresh read shows our side as wanted."""
        writes = 0
        while writes <= REPAIRS:
            if may_join:
                self._join_waiting()
            state = await self._api.fetch()
            step = merge(state, list(self._in_hand.values()))
            if not step.changed:
                self._on_state(state)
                self._finish()
                return
            if step.refusal:
                raise RayFault(step.refusal.reason, step.refusal.message)
            if step.building and wait.seconds < self._build_wait_s:
                self._tell_waiting(step.building)
                await self._sleep(BUILD_POLL_S)
                wait.seconds += BUILD_POLL_S
            else:
                await self._put(state, step)
                writes += 1
        raise RayFault(
            Reason.WRITE_FAILED,
            f"another writer replaces the Serve applications at {self._api.address} again and again; "
            "let only one tool write to this Ray cluster, or let the other one keep foreign entries",
        )

    async def _put(self, state: ServeState, step: Merge) -> None:
        log.info(
            "writing Serve config to %s: %s%s",
            self._api.address,
            ", ".join(sorted(step.changed)),
            f" (although {', '.join(step.building)} still build)" if step.building else "",
        )
        options = state.options if state.started else {**self._initial_options, **state.options}
        try:
            self._fence()
        except NotYet as fault:
            raise RayFault(Reason.SERVE_UNAVAILABLE, fault.message) from fault
        await self._api.put(encode_serve_config(options, step.applications))

    def _join_waiting(self) -> None:
        self._in_hand.update(self._waiting)
        self._waiting.clear()

    def _tell_waiting(self, building: tuple[str, ...]) -> None:
        whom = ", ".join(building)
        for key in self._in_hand:
            known = self._outcomes.get(key)
            if known is None or known.waiting_for != whom:
                self._outcomes[key] = WriteSeen(at=self._now(), waiting_for=whom)
                self._on_outcome(key)

    def _finish(self, fault: RayFault | None = None) -> None:
        done, self._in_hand = self._in_hand, {}
        for key in done:
            self._outcomes[key] = (
                WriteSeen(at=self._now())
                if fault is None
                else WriteSeen(at=self._now(), error=fault.message, reason=_reason(fault))
            )
            self._on_outcome(key)
        if fault is not None:
            log.warning("cannot write Serve config to %s: %s", self._api.address, fault.message)


def _reason(fault: RayFault) -> Reason:
    if fault.reason is Reason.FOREIGN_CONFIG_UNREADABLE:
        return fault.reason
    return Reason.WRITE_FAILED
