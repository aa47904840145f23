"""The rounds of scaling: look at the load of all services that scale, decide about each, wake those with news.

At rest nothing is woken and so nothing is written: a decision is shown when a number changes, when what holds it up
has changed for a while or stands longer than was said, or when it has not been shown for long and says something else.
That nothing can be decided any more is shown too.
What is remembered of the load goes along with what is shown. Called by `reconcile.reconciler`, run by `__main__` and
`standalone`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

from internvl_operator.api.conditions import ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import PodSettings
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import RolesStatus
from internvl_operator.plan import failures
from internvl_operator.plan.backend import RayHome
from internvl_operator.plan.observation import (
    LoadSeen,
    RaySeen,
    RayUnavailable,
    ScalingSeen,
    ServiceSeen,
)
from internvl_operator.plan.replicas import decided_roles
from internvl_operator.plan.scaling_input import gpus_of, scaling_observation, scaling_settings
from internvl_operator.plan.scaling_status import sayings, says_something, says_the_same
from internvl_operator.reconcile.ports import LoadSource, RayKnown, ScalingRecorder
from internvl_operator.scaling.decide import decide
from internvl_operator.scaling.history import History, from_json, to_json
from internvl_operator.scaling.sentences import without_reserve

log = logging.getLogger(__name__)

SETTLE_S = 10.0
"""What is no change of a number is shown when it has lasted so long: a node that was late once is no news."""
KEPT_UP_S = 60.0
"""A number that is kept although fewer would do is shown, with the time until when, after so long: no dip is news."""
SHOW_AGAIN_S = 600.0
"""Sentences that say something else are shown after so long, though no number changed."""
UNDECIDED_S = 60.0
"""That nothing is decided about a service any more is shown after so long."""
AT_ONCE = 50
"""Decisions in a row; then others have their turn."""


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why a round decided nothing about a service."""

    why: str
    load: LoadSeen
    """What it saw of the load."""


_BROKEN_ROUND = _Obstacle(
    "the rounds break, see the operator's log",
    LoadSeen(reason=Reason.METRICS_MISSING, unknown="the operator cannot look at it"),
)


@dataclass(slots=True)
class _Faults:
    """Which fault was logged last, and when: one that comes back each second is logged seldom."""

    kind: type[Exception] | None = None
    at: datetime | None = None

    def is_news(self, fault: Exception, now: datetime) -> bool:
        """Whether it is to be logged; then it is taken to be."""
        is_old = self.at is None or not 0 <= (now - self.at).total_seconds() < SHOW_AGAIN_S
        if type(fault) is self.kind and not is_old:
            return False
        self.kind, self.at = type(fault), now
        return True


@dataclass(slots=True)
class _Followed:
    """A service that scales."""

    service: ServiceSeen
    home: RayHome
    history: History
    shown: ScalingSeen | None = None
    differs_since: float | None = None
    """Since when what was decided says something else than what is shown."""
    silent_since: float | None = None
    """When this process decided first, until it shows something."""
    kept_since: float | None = None
    """Since when what is shown does not say why a number is kept, or until when."""
    decided_at: datetime | None = None
    """When something was decided last; before that, when it was tried first."""
    obstacle: _Obstacle | None = None
    """Why the last round decided nothing, if it got so far as to know."""
    faults: _Faults = field(default_factory=_Faults)


class Scaler:
    """Decides about the replicas of all services that scale."""

    def __init__(
        self,
        loads: LoadSource,
        fleet: RayKnown,
        *,
        quiet_s: float,
        wake: Callable[[ServiceKey], None],
        now: Callable[[], datetime],
        offer: PodSettings | None = None,
        recorder: ScalingRecorder | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._loads = loads
        self._fleet = fleet
        self._quiet_s = quiet_s
        self._wake = wake
        self._now = now
        self._offer = offer
        self._recorder = recorder
        self._sleep = sleep
        self._followed: dict[ServiceKey, _Followed] = {}
        self._faults = _Faults()

    def follow(self, service: ServiceSeen, home: RayHome) -> ScalingSeen | None:
        """What was decided about a service; from now on it is decided about. None: not yet, or it does not scale."""
        if not decided_roles(service.spec) or service.deleting_since is not None:
            self.forget(service.key)
            return None
        known = self._followed.get(service.key)
        if known is None or known.service.uid != service.uid:
            stored = None if service.status is None else service.status.scaling
            history = from_json(None if stored is None else stored.memory)
            known = self._followed[service.key] = _Followed(service, home, history)
        known.service, known.home = service, home
        return known.shown

    def forget(self, key: ServiceKey) -> None:
        """The service is gone, or its numbers are fixed."""
        if self._followed.pop(key, None) is not None and self._recorder is not None:
            self._recorder.forget(key)

    async def run(self) -> None:
        """One round after the other, for ever."""
        while True:
            try:
                await self.round()
            except Exception as fault:
                # Without its rounds every service would stay as it is for ever, and say nothing.
                if self._faults.is_news(fault, self._now()):
                    log.exception("a round of scaling broke")
            await self._sleep(self._loads.interval_s)

    async def round(self) -> None:
        """Look at all loads, and decide about each service. One that breaks holds up no other."""
        try:
            await self._decide_all()
        finally:
            self._show_undecided()

    async def _decide_all(self) -> None:
        places: dict[ServiceKey, tuple[RayHome, RaySeen]] = {}
        for key, followed in self._followed.items():
            ray, followed.obstacle = self._fleet.known(key, followed.home), None
            if isinstance(ray, RaySeen):
                places[key] = (followed.home, ray)
            else:
                followed.obstacle = _unseen(ray)
        loads = await self._loads.read(places)
        began = perf_counter()
        for count, (key, load) in enumerate(loads.items(), 1):
            followed_now = self._followed.get(key)
            if followed_now is not None:
                try:
                    self._decide(followed_now, places[key][1], load)
                except Exception as fault:
                    why = f"deciding broke, {type(fault).__name__}: {fault}"
                    followed_now.obstacle = _Obstacle(why, load)
                    if followed_now.faults.is_news(fault, self._now()):
                        log.exception("%s: the decision about its replicas broke", key)
            if count % AT_ONCE == 0:
                await asyncio.sleep(0)
        if self._recorder is not None and loads:
            self._recorder.round_took(perf_counter() - began)

    def _decide(self, followed: _Followed, ray: RaySeen, load: LoadSeen) -> None:
        service, now = followed.service, self._now()
        assert service.spec is not None  # a service without a spec does not scale
        gpus = gpus_of(service.spec, self._offer)
        observation = scaling_observation(service, ray, load, gpus, now)
        if observation is None:
            followed.obstacle = _Obstacle("Ray Serve has no configuration of a side", load)
            return
        settings = scaling_settings(service.spec, gpus, now, quiet_s=self._quiet_s)
        decision = decide(observation, followed.history, settings, now.timestamp())
        followed.history = decision.history
        if self._recorder is not None:
            ready = {role: side.ready for role, side in observation.sides.items()}
            self._recorder.decided(service.key, decision.sides, ready)
        seen = ScalingSeen(
            at=now,
            sides=decision.sides,
            metrics=load.reason,
            unknown=load.unknown,
            advice=load.advice,
            memory=to_json(decision.history),
        )
        stand = {role: side.target for role, side in observation.sides.items()}
        if _is_news(followed, seen, stand, service.spec):
            followed.shown, followed.differs_since, followed.kept_since = seen, None, None
            self._wake(service.key)
        followed.decided_at = now

    def _show_undecided(self) -> None:
        """Of each service about which nothing was decided for long: that it is so, and why."""
        now = self._now()
        for key, followed in self._followed.items():
            if followed.decided_at is None or now < followed.decided_at:  # the clock was set back
                followed.decided_at = now
            if (now - followed.decided_at).total_seconds() < UNDECIDED_S:
                continue
            shown, obstacle = followed.shown, followed.obstacle or _BROKEN_ROUND
            why = f"nothing has been decided since {followed.decided_at:%H:%M:%S} UTC: {obstacle.why}"
            if shown is not None and shown.undecided:
                is_old = not 0 <= (now - shown.at).total_seconds() < SHOW_AGAIN_S
                if shown.undecided == why or not is_old:
                    continue
            followed.shown = ScalingSeen(
                at=now,
                sides={} if shown is None else shown.sides,
                metrics=obstacle.load.reason,
                unknown=obstacle.load.unknown,
                undecided=why,
                memory=to_json(followed.history),
            )
            followed.differs_since, followed.kept_since = None, None
            if self._recorder is not None:
                self._recorder.forget(key)
            self._wake(key)


def _unseen(ray: RayUnavailable | None) -> _Obstacle:
    why = "Ray was not asked yet" if ray is None else ray.message
    return _Obstacle(why, LoadSeen(reason=Reason.METRICS_MISSING, unknown=why))


def _is_news(
    followed: _Followed, seen: ScalingSeen, stand: Mapping[Role, int], spec: InternVLServiceSpec
) -> bool:
    """Whether people, or Ray Serve, are to be told. `stand`: numbers in Serve's configuration."""
    shown, now = followed.shown, seen.at.timestamp()
    targets = {role: side.target for role, side in seen.sides.items()}
    if shown is None:
        # A process that was started anew, at rest, has nothing to tell.
        since = followed.silent_since = now if followed.silent_since is None else followed.silent_since
        if targets != stand or not says_something(followed.service.status):
            return True
        has_settled = not 0 <= now - since < SETTLE_S  # the first rounds know no rates yet
        if has_settled and not says_the_same(followed.service.status, spec, seen):
            return True
        return not 0 <= now - since < SHOW_AGAIN_S and _sums(seen) != _stored_sums(followed.service, seen)
    if targets != {role: side.target for role, side in shown.sides.items()}:
        return True
    if not shown.undecided and _reasons(spec, seen) == _reasons(spec, shown):
        followed.differs_since = None
    elif followed.differs_since is None or followed.differs_since > now:
        followed.differs_since = now
    has_lasted = followed.differs_since is not None and now - followed.differs_since >= SETTLE_S
    if not _is_kept_otherwise(shown, seen):
        followed.kept_since = None
    elif followed.kept_since is None or followed.kept_since > now:
        followed.kept_since = now
    is_kept = followed.kept_since is not None and now - followed.kept_since >= KEPT_UP_S
    is_old = not 0 <= now - shown.at.timestamp() < SHOW_AGAIN_S
    return has_lasted or is_kept or (is_old and _sums(seen) != _sums(shown))


def _is_kept_otherwise(shown: ScalingSeen, seen: ScalingSeen) -> bool:
    """Whether a number is kept that was not, when it was shown, or longer than was said then."""
    age_s = seen.at.timestamp() - shown.at.timestamp()
    return any(
        (side.until_s is not None and before.until_s is None)
        or (before.until_s is not None and age_s > before.until_s)
        for side, before in ((seen.sides[role], shown.sides[role]) for role in seen.sides)
    )


def _reasons(spec: InternVLServiceSpec, seen: ScalingSeen) -> dict[ConditionType, tuple[str, str]]:
    return {kind: (said.status, said.reason) for kind, said in sayings(spec, seen).items()}


def _sums(seen: ScalingSeen) -> list[str]:
    """The sentences without their beginnings, which say whether the number changed, and without a reserve that fades."""
    return [_sum(side.why) for side in seen.sides.values()]


def _stored_sums(service: ServiceSeen, seen: ScalingSeen) -> list[str]:
    """The same of the status."""
    roles = RolesStatus() if service.status is None else service.status.roles
    return [_sum(roles.of(role).why or "") for role in seen.sides]


def _sum(why: str) -> str:
    return without_reserve(failures.shorten(why)).partition(": ")[2]
