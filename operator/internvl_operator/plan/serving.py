"""How each role stands in Serve, compared with what is wanted: derived facts, no judgement."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import names
from internvl_operator.api.names import Role
from internvl_operator.api.status import RolesStatus, RoleStatus, Status
from internvl_operator.plan import failures
from internvl_operator.plan.observation import (
    ApplicationSeen,
    ApplicationState,
    DeploymentSeen,
    DeploymentState,
    RaySeen,
)
from internvl_operator.render.serve_schema import ServeApplication, ServeDeployment, replicas_of

_MIXED = (DeploymentState.UPDATING, DeploymentState.DEPLOY_FAILED)
"""Running replicas may still be of the configuration before."""
_STARTING = (DeploymentState.UPSCALING, DeploymentState.UPDATING)
_IDENTITY = ("generation", "attempt")
"""Keys of `user_config` by which one configuration of ours is told from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleView:
    """One role: what is wanted and what Serve shows."""

    role: Role
    wanted: ServeDeployment
    application: ApplicationSeen | None
    deployment: DeploymentSeen | None
    deployed_entry: Mapping[str, Any]
    """The deployment's part of the configuration that Serve holds; empty where there is none."""
    deployed_generation: str | None
    """Of the configuration that Serve holds."""
    deployed_attempt: int
    was_updated: bool
    """Running replicas of the wanted generation were seen before, be it before Ray was away or the spec was wrong."""
    is_adopted: bool
    """What Serve says about the deployment is about the configuration that it holds.

    Serve takes a PUT at once, and its deployments turn to it a moment later; until then their states and
    texts are those of the configuration before.
    """

    @property
    def generation(self) -> str:
        """The generation that is wanted."""
        return str(self.wanted.user_config["generation"])

    @property
    def is_current(self) -> bool:
        """Serve holds the wanted configuration (whether or not replicas have it yet)."""
        return self.deployed_generation == self.generation

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of running replicas, sorted."""
        seen = () if self.deployment is None else self.deployment.running
        return tuple(sorted(replica.id for replica in seen))

    @property
    def stands_at_zero(self) -> bool:
        """Serve holds a configuration without replicas."""
        return replicas_of(self.deployed_entry) == 0

    @property
    def rests(self) -> bool:
        """No replica is wanted, and Serve knows it; old ones may still end their work."""
        return self.wanted.num_replicas == 0 and self.stands_at_zero

    @property
    def wakes(self) -> bool:
        """The first replica of a side that had none starts, and nothing is wrong with it: what comes waits for it."""
        shown = self.deployment
        may_rest = "autoscaling_config" in self.deployed_entry and not self.stands_at_zero
        is_starting = shown is not None and shown.status in _STARTING and not shown.running
        return may_rest and is_starting and failures.start_failure(self.texts) is None

    @property
    def updated(self) -> int:
        """Running replicas that surely have the wanted configuration."""
        if self.deployment is None or not self.is_current or not self.is_adopted:
            return 0
        if self.deployment.status in _MIXED and not self._changes_number:
            return 0
        return len(self.running)

    @property
    def _changes_number(self) -> bool:
        """Serve calls another number an update where numbers are written as bounds; replicas stay what they are."""
        is_updating = self.deployment is not None and self.deployment.status == DeploymentState.UPDATING
        return is_updating and self.wanted.may_rest and self.was_updated

    @property
    def is_serving(self) -> bool:
        """At least one replica of the wanted generation runs, or none is wanted."""
        return self.updated > 0 or self.rests

    @property
    def is_complete(self) -> bool:
        """All wanted replicas run, and no others."""
        return self.rests or (self.is_serving and self.updated == self.wanted.num_replicas)

    @property
    def has_given_up(self) -> bool:
        """Serve stopped trying to bring up the wanted configuration; only a changed one makes it go on."""
        if self.application is None or not self.is_current or self.rests:
            return False
        if self.deployment is None:
            return self.application.status == ApplicationState.DEPLOY_FAILED
        return self.is_adopted and self.deployment.status == DeploymentState.DEPLOY_FAILED

    @property
    def texts(self) -> str:
        """What Serve says about this role; the application's text only while it has no deployments."""
        if self.deployment is not None:
            return self.deployment.message
        return "" if self.application is None else self.application.message


def view_roles(
    names_of: Mapping[Role, str], wanted: Sequence[ServeApplication], ray: RaySeen, stored: RolesStatus
) -> tuple[RoleView, ...]:
    """One view a role, in the order vision, language, gateway.

    Args:
        names_of: role -> application name.
        wanted: the applications, with the deployments of all roles.
        ray: what Serve shows.
        stored: what was reported of these applications last.
    """
    by_name = {application.name: application for application in wanted}
    return tuple(_view(role, by_name[names_of[role]], ray, stored.of(role)) for role in Role)


def _view(role: Role, wanted: ServeApplication, ray: RaySeen, stored: RoleStatus) -> RoleView:
    name = names.DEPLOYMENTS[role]
    application = ray.applications.get(wanted.name)
    deployment = None if application is None else application.deployments.get(name)
    held = None if application is None else application.config
    config = deployed_user_config(held, name)
    generation = config.get("generation")
    entry = wanted.deployment(name)
    return RoleView(
        role=role,
        wanted=entry,
        application=application,
        deployment=deployment,
        deployed_entry=deployed_entry(held, name),
        deployed_generation=generation if isinstance(generation, str) else None,
        deployed_attempt=_attempt(config.get("attempt")),
        was_updated=stored.updated != 0 and stored.generation == entry.user_config["generation"],
        is_adopted=deployment is None or is_adopted(deployment, config),
    )


def is_adopted(deployment: DeploymentSeen, config: Mapping[str, Any]) -> bool:
    """Whether what Serve says about a deployment is about this `user_config`, which it holds for it."""
    return all(deployment.user_config.get(key) == config.get(key) for key in _IDENTITY)


def deployed_entry(config: Mapping[str, Any] | None, deployment: str) -> Mapping[str, Any]:
    """One deployment in a configuration that Serve gave; empty where there is none.

    What Serve gives may have been written by anybody, so its shape is not taken for granted.
    """
    entries = None if config is None else config.get("deployments")
    for entry in entries if isinstance(entries, Sequence) else ():
        if isinstance(entry, Mapping) and entry.get("name") == deployment:
            return entry
    return {}


def deployed_user_config(config: Mapping[str, Any] | None, deployment: str) -> Mapping[str, Any]:
    """`user_config` of one deployment in a configuration that Serve gave; empty where there is none."""
    user_config = deployed_entry(config, deployment).get("user_config")
    return user_config if isinstance(user_config, Mapping) else {}


def _attempt(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1_000_000 else 0


def has_proven_wanted(views: Sequence[RoleView], status: Status | None) -> bool:
    """Whether the last probe that passed was about the generations that are wanted now."""
    wanted = {view.role: view.generation for view in views}
    return _has_proven(wanted, status, without_vision=any(view.rests for view in _of(Role.VISION, views)))


def has_proven_deployed(views: Sequence[RoleView], status: Status | None) -> bool:
    """The same of the generations that Serve holds now."""
    held = {view.role: view.deployed_generation or "" for view in views}
    without_vision = any(view.stands_at_zero for view in _of(Role.VISION, views))
    return _has_proven(held, status, without_vision=without_vision)


def is_asleep(views: Sequence[RoleView]) -> bool:
    """Whether language rests, without which nothing can be probed."""
    return any(view.rests for view in _of(Role.LANGUAGE, views))


def _of(role: Role, views: Sequence[RoleView]) -> list[RoleView]:
    return [view for view in views if view.role is role]


def has_proven_all(views: Sequence[RoleView], status: Status | None) -> bool:
    """Whether the last probe of all roles that passed was about the generations that are wanted now."""
    return _generations({view.role: view.generation for view in views}) == _last_whole(status)


def rested(status: Status | None, role: Role = Role.VISION) -> bool:
    """Whether vision had no replica, by choice, when a probe passed last; or language has had none since then."""
    parts = _PARTS_ASLEEP if role is Role.LANGUAGE else _PARTS_AT_REST
    return role is not Role.GATEWAY and len(_passed(status)) >= parts


def probe_subject(views: Sequence[RoleView], status: Status | None) -> str:
    """What a probe speaks about: the generations and the replicas that run.

    Vision that rests cannot be asked: then the generations that the last probe of all roles was about follow, so that
    it is known, when it has replicas again, whether they are the ones that were proven. While language rests nothing
    can be asked: what was proven last stays, with a mark.
    """
    if is_asleep(views):
        return "-".join([*(*_passed(status), "", "")[:2], _last_whole(status), _ASLEEP])
    asked = [view for view in views if not view.rests]
    subject = f"{_generations({view.role: view.generation for view in asked})}-{_running(asked)}"
    return subject if len(asked) == len(views) else f"{subject}-{_last_whole(status)}"


_PARTS_AT_REST, _PARTS_ASLEEP = 3, 4
_ASLEEP = "asleep"


def _has_proven(generations: Mapping[Role, str], status: Status | None, *, without_vision: bool) -> bool:
    if _generations(generations) == _last_whole(status):
        return True
    asked = [generation for role, generation in generations.items() if role is not Role.VISION]
    return without_vision and _passed(status)[:1] == [_hash(asked)]


def _passed(status: Status | None) -> list[str]:
    """Parts of the subject of the last probe that passed; none where there was none."""
    return [] if status is None or status.probe is None else status.probe.subject.split("-")


def _last_whole(status: Status | None) -> str:
    """Generations that the last probe of all roles was about; empty where there was none."""
    parts = _passed(status)
    return "" if not parts else parts[2] if rested(status) else parts[0]


def _generations(of: Mapping[Role, str]) -> str:
    return _hash(of.values())


def _running(views: Sequence[RoleView]) -> str:
    return _hash("/".join(view.running) for view in views)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
