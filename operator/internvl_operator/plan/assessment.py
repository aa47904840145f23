"""Everything that was found out about a living service, before it is put into words and actions."""

from dataclasses import dataclass, replace

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.spec import RolloutStrategy
from internvl_operator.api.status import RolloutStage
from internvl_operator.plan import checks, cluster_checks, optional_objects, serving
from internvl_operator.plan.findings import Finding, progress
from internvl_operator.plan.footing import Footing, footing_of
from internvl_operator.plan.observation import Observation, RaySeen
from internvl_operator.plan.placing import Ground
from internvl_operator.plan.probing import Outcome, Verdict
from internvl_operator.plan.retry import Retry
from internvl_operator.plan.rollout import Rollout, decide
from internvl_operator.plan.serving import RoleView
from internvl_operator.plan.standing import Standing, stand
from internvl_operator.render.serve_schema import ServeApplication
from internvl_operator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One reconcile's knowledge about a service that Ray can be asked about."""

    own: Standing
    beside: Standing
    rollout: Rollout | None
    footing: Footing
    write: Finding | None
    """Why `differs` is not written yet."""
    objects: Finding | None
    """What Kubernetes refuses of what belongs to the service, or what is wrong with its route."""
    stays_ready: bool
    """Ready may stay although the probe of the new replicas is still under way."""
    is_proven_whole: bool
    """The last probe of all roles that passed was about the generations that are wanted."""
    is_proven: bool
    """The same of the last probe that passed, whether or not vision was there to be asked."""
    may_wake: frozenset[Role]
    """Sides that had no replica, by choice, while it was Ready; what starts now was not changed since it was probed."""
    is_covered: bool
    """Replicas that passed their probe answer, although those of the wanted configuration do not yet."""

    @property
    def current(self) -> Standing:
        """The applications that the wanted configuration is written to first."""
        is_beside = self.rollout is not None and self.rollout.stage is RolloutStage.BESIDE
        return self.beside if is_beside else self.own

    @property
    def views(self) -> tuple[RoleView, ...]:
        """How each role stands with the wanted configuration."""
        return self.current.views

    @property
    def retries(self) -> dict[Role, Retry]:
        """One a role."""
        return self.current.retries

    @property
    def verdict(self) -> Verdict | None:
        """Of the probe of what is written; None while there is nothing to probe."""
        return None if self.is_waiting else self.current.verdict

    @property
    def url(self) -> str | None:
        """Where clients call the service."""
        return self.own.url

    @property
    def is_waiting(self) -> bool:
        """Nothing is written: new pods or another Ray cluster do not run yet, or the rollout was given up."""
        return self.rollout is not None and self.rollout.is_waiting

    @property
    def applications(self) -> tuple[ServeApplication, ...]:
        """What must stand in Serve, but for what stays there as it is."""
        new = () if self.is_waiting else self.current.applications
        return (*new, *self.scaled)

    @property
    def differs(self) -> tuple[str, ...]:
        """Names of those that Serve holds otherwise, or not at all."""
        new = () if self.is_waiting else self.current.differs
        return (*new, *(item.name for item in self.scaled))

    @property
    def scaled(self) -> tuple[ServeApplication, ...]:
        """The service's own applications with new numbers of replicas: scaling goes on during a rollout."""
        keeps_own = self.rollout is not None and self.rollout.keeps_own
        return self.own.scaled() if keeps_own else ()

    @property
    def remove(self) -> tuple[str, ...]:
        """Names of what must not stand in Serve any more."""
        if self.rollout is not None and (self.rollout.has_stand_in or self.rollout.is_held):
            return ()
        return tuple(item.name for item in self.beside.present)

    @property
    def role_findings(self) -> dict[Role, Finding]:
        """What is to be said about single roles."""
        if self.rollout is None or not self.is_waiting:
            return self.current.role_findings
        return {view.role: self.rollout.pods.get(view.role, self.rollout.finding) for view in self.waiting}

    @property
    def waiting(self) -> tuple[RoleView, ...]:
        """Views of roles that have no replica of the wanted configuration."""
        return tuple(view for view in self.views if not view.is_serving)

    def view(self, role: Role) -> RoleView:
        """The view of one role."""
        return {view.role: view for view in self.views}[role]

    @property
    def blocker(self) -> Finding | None:
        """What stands between the service and Ready: the first of failures, write, progress, probe."""
        return None if self.is_covered or self.is_waking else self.held or self.obstacle

    @property
    def is_waking(self) -> bool:
        """Nothing but sides that had none is waited for, which get their first replica again: what needs them waits."""
        obstacle = self.obstacle
        is_under_way = obstacle is not None and not obstacle.is_failure and self.held is None
        waiting = {view.role for view in self.waiting}
        return is_under_way and bool(waiting) and waiting <= self.may_wake

    @property
    def resting(self) -> tuple[Role, ...]:
        """Sides that have no replica, by choice."""
        return () if self.is_waiting else self.current.resting

    @property
    def held(self) -> Finding | None:
        """What is wrong with the replicas that answer while the rollout leaves them as they are."""
        keeps_own = self.rollout is not None and self.rollout.keeps_own
        return checks.held_unhealthy(self.own.views, self.own.waking) if keeps_own else None

    @property
    def obstacle(self) -> Finding | None:
        """What stands between the wanted configuration and an answer."""
        found = [
            self.role_findings[view.role] for view in self.waiting
        ]  # `deploying` speaks for each of them
        outdated = any(not view.is_current for view in self.waiting)
        candidates = [item for item in found if item.is_failure]
        candidates += [self.write] if self.write is not None and outdated else []
        candidates += found
        if candidates:
            return candidates[0]
        if self.rollout is not None and self.rollout.is_held:
            return self.rollout.finding
        if self.verdict is None:
            return progress(
                Reason.HTTP_PROXY_MISSING,
                "Ray Serve has no running HTTP proxy yet, so the service has no URL; if it stays so, start "
                "Serve with proxy_location HeadOnly or EveryNode",
            )
        return None if self.stays_ready else self.verdict.finding

    @property
    def degradation(self) -> Finding | None:
        """The first thing that is wrong, whether or not it stands before Ready."""
        verdict = None if self.verdict is None else self.verdict.finding
        obstacle = self.obstacle
        if obstacle is not None and obstacle.is_failure:
            return obstacle
        others = [
            self.held,
            *self.role_findings.values(),
            self.write,
            self.objects,
            verdict if self.is_covered else None,
            None if self.rollout is None else self.rollout.trouble,
        ]
        return next((item for item in others if item is not None and item.is_failure), None)

    @property
    def movement(self) -> Finding | None:
        """The first thing that is under way."""
        verdict = None if self.verdict is None else self.verdict.finding
        rollout = None if self.rollout is None else self.rollout.finding
        others = [rollout, self.obstacle, *self.role_findings.values(), self.write, verdict]
        return next((item for item in others if item is not None and not item.is_failure), None)


def assess(
    observation: Observation,
    ground: Ground | None,
    ray: RaySeen,
    settings: Settings,
    *,
    of_head: Rollout | None = None,
    has_moved: bool = False,
) -> Assessment:
    """Look at a service with a valid spec, in a Ray cluster that answered.

    `of_head` is the rollout of another head, `has_moved` says that clients were just sent here from another cluster.
    """
    status = observation.service.status
    own = stand(observation, ground, ray, settings, status=status, surges=True)
    beside = stand(observation, ground, ray, settings, status=None, stands_in=True)
    is_held = of_head is not None and of_head.is_held
    rollout = of_head if is_held else decide(observation, own, beside) or of_head
    if not _surges(observation, rollout):
        own = stand(observation, ground, ray, settings, status=status, surges=False)
    found = Assessment(
        own=own,
        beside=beside,
        rollout=rollout,
        footing=footing_of(ray, observation.service.key),
        write=None,
        objects=None
        if ground is None
        else cluster_checks.object_refused(ground.cluster)
        or (None if observation.is_beside else optional_objects.finding(observation, ground.cluster)),
        stays_ready=own.verdict is not None
        and own.verdict.outcome is Outcome.PENDING
        and _was_ready(observation)
        and (has_moved or serving.has_proven_wanted(own.views, status)),
        is_proven_whole=serving.has_proven_all(own.views, status),
        is_proven=serving.has_proven_wanted(own.views, status),
        may_wake=_may_wake(observation, own),
        is_covered=_is_covered(observation, own, beside, rollout),
    )
    if not found.differs and not found.remove:
        return found
    return replace(found, write=checks.write_finding(observation.write))


def _may_wake(observation: Observation, own: Standing) -> frozenset[Role]:
    status = observation.service.status
    if not (_was_ready(observation) and serving.has_proven_wanted(own.views, status)):
        return frozenset()
    return frozenset(role for role in Role if serving.rested(status, role))


def _surges(observation: Observation, rollout: Rollout | None) -> bool:
    """Whether replicas that move to other pods come before the old ones go.

    Not where there is no room for both, nor where the stand-in, which answers meanwhile, has taken it.
    """
    spec = observation.service.spec
    assert spec is not None  # `spec_invalid` speaks before
    is_tight = rollout is not None and rollout.stage in (RolloutStage.IN_PLACE, RolloutStage.HANDOVER)
    is_tight = is_tight and rollout is not None and rollout.head is None
    return not is_tight and spec.rollout.strategy is not RolloutStrategy.IN_PLACE


def _is_covered(observation: Observation, own: Standing, beside: Standing, rollout: Rollout | None) -> bool:
    """Whether what answers now passed its probe, although it is not what is wanted."""
    if rollout is None:
        return False
    if rollout.is_held and beside.has_replicas and _was_ready(observation):
        return True  # it was in the middle of a handover
    if rollout.keeps_own:
        is_proven = serving.has_proven_deployed(own.views, observation.service.status)
        return own.answers and (is_proven or (own.sleeps and _was_ready(observation)))
    has_failed = own.verdict is not None and own.verdict.outcome is Outcome.FAILED
    return rollout.has_stand_in and beside.has_replicas and not has_failed and _was_ready(observation)


def _was_ready(observation: Observation) -> bool:
    status = observation.service.status
    ready = None if status is None else status.condition(ConditionType.READY)
    return ready is not None and ready.status is ConditionStatus.TRUE
