"""How one pair of applications stands: a service's own, or that of its stand-in during a rollout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import names
from internvl_operator.api.names import Role
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import RolesStatus, Status
from internvl_operator.plan import checks, probing
from internvl_operator.plan.findings import Finding
from internvl_operator.plan.footing import group_of
from internvl_operator.plan.observation import ApplicationSeen, DeploymentState, Observation, RaySeen
from internvl_operator.plan.placing import Ground
from internvl_operator.plan.probing import Outcome, Verdict
from internvl_operator.plan.retry import Retry, plan_retries
from internvl_operator.plan.serving import RoleView, probe_subject, rested, view_roles
from internvl_operator.render.groups import pod_site
from internvl_operator.render.serve_config import render_applications, shared_site
from internvl_operator.render.serve_schema import ServeApplication, parse_application
from internvl_operator.scaling.model import SIDES
from internvl_operator.settings import Settings
from internvl_runtimes.contract.serve_args import ModelSource

_SETTLED = (
    DeploymentState.HEALTHY,
    DeploymentState.UNHEALTHY,
    DeploymentState.UPSCALING,
    DeploymentState.DOWNSCALING,
)
"""All running replicas have the configuration that Serve holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is wanted of a pair of applications, and what Serve shows of it."""

    views: tuple[RoleView, ...]
    applications: tuple[ServeApplication, ...]
    """With the attempts that are due."""
    differs: tuple[str, ...]
    """Names of applications that Serve holds otherwise, or not at all."""
    present: tuple[ApplicationSeen, ...]
    """Applications that Serve holds, and that are not being deleted."""
    retries: dict[Role, Retry]
    role_findings: dict[Role, Finding]
    url: str | None
    subject: str | None
    """None while there is nothing to probe."""
    verdict: Verdict | None
    waking: frozenset[Role]
    """Roles that had no replica, by choice, and whose first one starts: what comes waits for it."""

    @property
    def is_written(self) -> bool:
        """Serve holds a configuration of every role, whichever."""
        return all(view.deployed_generation is not None for view in self.views)

    @property
    def is_proven(self) -> bool:
        """All replicas that are wanted run, and their probe passed."""
        passed = self.verdict is not None and self.verdict.outcome is Outcome.PASSED
        return passed and all(view.is_complete for view in self.views)

    @property
    def runs(self) -> bool:
        """Every role has a running replica of the configuration that Serve holds, whichever that is, or is to have none."""
        return self.has_replicas and all(
            view.deployment is not None and view.deployment.status in _SETTLED and view.is_adopted
            for view in self.views
        )

    @property
    def has_replicas(self) -> bool:
        """Every role has a running replica, whatever it is about to become, or is to have none."""
        return all(view.running or view.stands_at_zero for view in self.views)

    @property
    def sleeps(self) -> bool:
        """Language has no replica, by choice: nothing can be probed, and an edit was written without a proof."""
        return any(view.stands_at_zero for view in self.views if view.role is Role.LANGUAGE)

    @property
    def answers(self) -> bool:
        """The same, or it gets its first replica, and what comes waits for that."""
        return all(view.running or view.stands_at_zero or view.role in self.waking for view in self.views)

    def scaled(self) -> tuple[ServeApplication, ...]:
        """The applications as Serve holds them, where their numbers of replicas are not those that are wanted.

        Not those of roles that move to other pods, and none that this operator would write otherwise than it reads it.
        """
        replicas = {
            view.wanted.name: view.wanted.num_replicas
            for view in self.views
            if group_of(view.deployed_entry) == group_of(view.wanted.to_mapping())
        }
        held = [parse_application(item.config) for item in self.present]
        changed = ((item, item.scaled(replicas)) for item in held if item is not None)
        return tuple(scaled for item, scaled in changed if scaled != item)

    def models(self) -> frozenset[str]:
        """Identities of the models that Serve holds configurations of, over both sides."""
        return frozenset(_model(_deployed(view)) for view in self.views if view.role is not Role.GATEWAY)

    @property
    def resting(self) -> tuple[Role, ...]:
        """Roles that have no replica, by choice, so that they cannot be probed."""
        return tuple(view.role for view in self.views if view.rests)

    @property
    def wanted_models(self) -> frozenset[str]:
        """The same of what is wanted: one."""
        return frozenset(_model(view.wanted.user_config) for view in self.views)


def stand(
    observation: Observation,
    ground: Ground | None,
    ray: RaySeen,
    settings: Settings,
    *,
    status: Status | None,
    stands_in: bool = False,
    surges: bool = False,
) -> Standing:
    """Look at the service's own applications, or at its stand-in's. `status` is the memory of a passed probe.

    `surges`: in pods, new replicas come before old ones go.
    """
    service = observation.service
    spec, key = service.spec, service.key
    assert spec is not None  # `spec_invalid` speaks before
    spec = _awake(spec) if stands_in else spec
    site = shared_site(key, spec) if ground is None else pod_site(ground.shapes, surges=surges)

    def render(attempts: Mapping[Role, int] | None = None) -> tuple[ServeApplication, ServeApplication]:
        return render_applications(
            key,
            spec,
            site,
            artifact_stores=settings.artifact_stores,
            attempts=attempts,
            stands_in=stands_in,
        )

    named = {role: names.application(key, role) for role in Role}
    if stands_in:
        named = {role: names.stand_in(name) for role, name in named.items()}
    fresh = render()
    stored = RolesStatus() if service.status is None else service.status.roles
    views = view_roles(named, fresh, ray, RolesStatus() if stands_in else stored)
    retries = plan_retries(views, stored, now=observation.now, settings=settings)
    attempts = {role: retry.attempt for role, retry in retries.items()}
    wanted = render(attempts) if any(attempts.values()) else fresh
    woken = frozenset(view.role for view in views if view.wakes and rested(status, view.role))
    inputs = [
        checks.RoleInput(view=view, ray=ray, observation=observation, is_woken=view.role in woken)
        for view in views
    ]
    found = {given.view.role: checks.role_finding(given) for given in inputs}
    url = _url(observation, ray, has_front=ground is not None, stands_in=stands_in)
    can_probe = url is not None and all(view.is_serving for view in views)
    subject = probe_subject(views, status) if can_probe else None
    verdict = (
        None
        if subject is None
        else probing.judge(
            observation.probe, subject=subject, views=views, spec=spec, status=status, now=observation.now
        )
    )
    seen = (ray.applications.get(item.name) for item in wanted)
    return Standing(
        views=views,
        applications=wanted,
        differs=tuple(item.name for item in wanted if not item.matches(_config(ray, item.name))),
        present=tuple(item for item in seen if item is not None and item.config is not None),
        retries=retries,
        role_findings={role: item for role, item in found.items() if item is not None},
        url=url,
        subject=subject,
        verdict=verdict,
        waking=woken,
    )


def _awake(spec: InternVLServiceSpec) -> InternVLServiceSpec:
    """A stand-in proves both sides, also where the service has no replica of one just now."""
    return spec.with_replicas({role: max(1, spec.replicas(role)) for role in SIDES})


def _url(observation: Observation, ray: RaySeen, *, has_front: bool, stands_in: bool) -> str | None:
    key = observation.service.key
    if ray.http_address is None:
        return None
    if observation.is_beside:
        return names.next_url(key, observation.house)
    url = names.front_url(key) if has_front else ray.http_address.rstrip("/") + names.route_prefix(key)
    return names.stand_in_path(url) if stands_in else url


def _config(ray: RaySeen, name: str) -> Mapping[str, Any] | None:
    application = ray.applications.get(name)
    return None if application is None else application.config


def _deployed(view: RoleView) -> Mapping[str, Any]:
    user_config = view.deployed_entry.get("user_config")
    return user_config if isinstance(user_config, Mapping) else {}


def _model(user_config: Mapping[str, Any]) -> str:
    """Identity of the model in a configuration that may be anybody's; empty where there is none."""
    model = user_config.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("uri"), str):
        return ""
    return ModelSource(uri=model["uri"], revision=model.get("revision"), name="").identity
