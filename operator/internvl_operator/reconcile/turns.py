"""Who goes over to another head of Ray when: few services at a time.

An upgrade wants another head of every service, and each move wants the room for a second Ray cluster. One after the
other, the room for one is enough for all, and where there is none the outages are not all at once. Called by
`reconcile.reconciler`.
"""

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.status import RolloutStage, RolloutStatus
from internvl_operator.plan.decision import Plan
from internvl_operator.plan.observation import ServiceSeen

_MOVING = (RolloutStage.CLUSTER, RolloutStage.IN_PLACE, RolloutStage.DRAINING)


class Turns:
    """The services of this process that move now. After a start, those that their status shows go on."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._moving: set[ServiceKey] = set()

    def before(self, service: ServiceSeen, decided: Plan) -> tuple[ServiceKey, ...]:
        """Those that come before the service may do what is decided; none when it may.

        Who is edited by its user, who reads the status, does not stand in line.
        """
        known = None if service.status is None else service.status.rollout
        was_edited = known is not None and known.generation != service.generation
        has_begun = service.key in self._moving or _moves(known)
        if not _moves(decided.status.rollout) or has_begun or was_edited:
            return ()
        return tuple(sorted(self._moving)) if len(self._moving) >= self._at_once else ()

    def note(self, key: ServiceKey, decided: Plan) -> None:
        """What was decided in the end."""
        if _moves(decided.status.rollout):
            self._moving.add(key)
        else:
            self._moving.discard(key)

    def forget(self, key: ServiceKey) -> None:
        """The service is gone."""
        self._moving.discard(key)


def _moves(rollout: RolloutStatus | None) -> bool:
    return rollout is not None and rollout.head is not None and rollout.stage in _MOVING
