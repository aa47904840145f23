"""Who goes over to another head of Ray when: few services at a time.

An upgrade wants another head of every service, and each move wants the room for a second Ray cluster. One after the
other, the room for one is enough for all, and where there is none the outages are not all at once. Who stands in line
is for `plan.two_clusters` to say. Called by `reconcile.reconciler`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from internvl_operator.api.conditions import ConditionStatus, ConditionType
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import RolloutStage
from internvl_operator.plan.decision import Plan
from internvl_operator.plan.observation import ServiceSeen

FIRST_LOOK = timedelta(seconds=30)
"""After a start nobody new begins for so long: those that had begun before are seen first."""
LONGEST = timedelta(minutes=30)
"""Who has held the line for so long is stuck, and holds it no more."""
_MOVING = (RolloutStage.CLUSTER, RolloutStage.IN_PLACE, RolloutStage.DRAINING)


class Turns:
    """The services that move now, as this process knows them."""

    def __init__(self, at_once: int, *, now: Callable[[], datetime]) -> None:
        self._at_once = at_once
        self._now = now
        self._started = now()
        self._moving: dict[ServiceKey, datetime] = {}

    def are_taken(self, key: ServiceKey) -> bool:
        """Whether as many others as may move at once do so; or may do so, just after a start."""
        now = self._now()
        others = sum(one != key and now - since < LONGEST for one, since in self._moving.items())
        return others >= self._at_once or now - self._started < FIRST_LOOK

    def note(self, service: ServiceSeen, decided: Plan) -> None:
        """What was decided. Who is being deleted, has a broken spec or is in trouble holds nobody up."""
        rollout, degraded = decided.status.rollout, decided.status.condition(ConditionType.DEGRADED)
        moves = rollout is not None and rollout.head is not None and rollout.stage in _MOVING
        is_stuck = degraded is not None and degraded.status is ConditionStatus.TRUE
        if not moves or is_stuck or service.deleting_since is not None or service.spec is None:
            self._moving.pop(service.key, None)
        else:
            self._moving.setdefault(service.key, self._now())

    def forget(self, key: ServiceKey) -> None:
        """The service is gone."""
        self._moving.pop(key, None)
