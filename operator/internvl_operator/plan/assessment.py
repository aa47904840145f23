"""Everything that was found out about a living service, before it is put into words and actions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.status import RolesStatus
from internvl_operator.plan import checks, cluster_checks, optional_objects, probing
from internvl_operator.plan.findings import Finding, progress
from internvl_operator.plan.observation import Observation, RaySeen
from internvl_operator.plan.placing import ground_of
from internvl_operator.plan.probing import Outcome, Verdict
from internvl_operator.plan.retry import Retry, plan_retries
from internvl_operator.plan.serving import RoleView, probe_subject, view_roles
from internvl_operator.render.serve_config import render_applications, shared_site
from internvl_operator.render.serve_schema import ServeApplication
from internvl_operator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One reconcile's knowledge about a service that Ray can be asked about."""

    views: tuple[RoleView, ...]
    applications: tuple[ServeApplication, ...]
    """With the attempts that are due."""
    differs: tuple[str, ...]
    """Names of applications that Serve holds otherwise, or not at all."""
    retries: dict[Role, Retry]
    role_findings: dict[Role, Finding]
    write: Finding | None
    """Why `differs` is not written yet."""
    objects: Finding | None
    """What Kubernetes refuses of what belongs to the service, or what is wrong with its route."""
    url: str | None
    subject: str | None
    """None while there is nothing to probe."""
    verdict: Verdict | None
    stays_ready: bool
    """Ready may stay although the probe of the new replicas is still under way."""

    def view(self, role: Role) -> RoleView:
        """The view of one role."""
        return {view.role: view for view in self.views}[role]

    @property
    def blocker(self) -> Finding | None:
        """What stands between the service and Ready: the first of failures, write, progress, probe."""
        stopped = [view for view in self.views if not view.is_serving]
        found = [self.role_findings[view.role] for view in stopped]  # `deploying` speaks for each of them
        outdated = any(not view.is_current for view in stopped)
        candidates = [item for item in found if item.is_failure]
        candidates += [self.write] if self.write is not None and outdated else []
        candidates += found
        if candidates:
            return candidates[0]
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
        blocker = self.blocker
        if blocker is not None and blocker.is_failure:
            return blocker
        others = [*self.role_findings.values(), self.write, self.objects]
        return next((item for item in others if item is not None and item.is_failure), None)

    @property
    def movement(self) -> Finding | None:
        """The first thing that is under way."""
        verdict = None if self.verdict is None else self.verdict.finding
        others = [self.blocker, *self.role_findings.values(), self.write, verdict]
        return next((item for item in others if item is not None and not item.is_failure), None)


def assess(observation: Observation, ray: RaySeen, settings: Settings) -> Assessment:
    """Look at a service with a valid spec, in a Ray cluster that answered."""
    service = observation.service
    spec, status, key = service.spec, service.status, service.key
    assert spec is not None  # `spec_invalid` speaks before
    stores = settings.artifact_stores
    ground = ground_of(observation)
    site = shared_site(key, spec) if ground is None else ground.site
    fresh = render_applications(key, spec, site, artifact_stores=stores)
    views = view_roles({role: names.application(key, role) for role in Role}, fresh, ray)
    stored = RolesStatus() if status is None else status.roles
    retries = plan_retries(views, stored, now=observation.now, settings=settings)
    attempts = {role: retry.attempt for role, retry in retries.items()}
    wanted = render_applications(key, spec, site, artifact_stores=stores, attempts=attempts)
    differs = tuple(item.name for item in wanted if not item.matches(_config(ray, item.name)))
    inputs = [checks.RoleInput(view=view, ray=ray, observation=observation) for view in views]
    found = {given.view.role: checks.role_finding(given) for given in inputs}
    url = _url(key, ray, has_front=ground is not None)
    can_probe = url is not None and all(view.is_serving for view in views)
    subject = probe_subject(views) if can_probe else None
    verdict = (
        None
        if subject is None
        else probing.judge(observation.probe, subject=subject, views=views, spec=spec, status=status)
    )
    return Assessment(
        views=views,
        applications=wanted,
        differs=differs,
        retries=retries,
        role_findings={role: item for role, item in found.items() if item is not None},
        write=checks.write_finding(observation.write) if differs else None,
        objects=None
        if ground is None
        else cluster_checks.object_refused(ground.cluster)
        or optional_objects.finding(observation, ground.cluster),
        url=url,
        subject=subject,
        verdict=verdict,
        stays_ready=verdict is not None
        and verdict.outcome is Outcome.PENDING
        and _was_ready(observation)
        and probing.same_generations(views, status),
    )


def _url(key: ServiceKey, ray: RaySeen, *, has_front: bool) -> str | None:
    if ray.http_address is None:
        return None
    return names.front_url(key) if has_front else ray.http_address.rstrip("/") + names.route_prefix(key)


def _config(ray: RaySeen, name: str) -> Mapping[str, Any] | None:
    application = ray.applications.get(name)
    return None if application is None else application.config


def _was_ready(observation: Observation) -> bool:
    status = observation.service.status
    ready = None if status is None else status.condition(ConditionType.READY)
    return ready is not None and ready.status is ConditionStatus.TRUE
