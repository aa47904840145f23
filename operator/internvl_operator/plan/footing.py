"""What a service's applications in Serve stand on: worker groups and pods that must not be taken away.

Called by `plan.assessment`, read by `plan.placing`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.plan.observation import ApplicationSeen, RaySeen, ReplicaState
from internvl_operator.plan.serving import deployed_user_config, is_adopted
from internvl_operator.render.serve_schema import replicas_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """Where replicas are, and where Serve may start some."""

    is_sure: bool
    """Every deployment has taken up what Serve holds for it, and every replica's pod is known."""
    groups: frozenset[str]
    """Worker groups that some configuration in Serve selects."""
    addresses: frozenset[str]
    """Pods with a replica."""
    configs: Mapping[str, Mapping[str, Any]]
    """What Serve holds, by the application's name."""

    def may_lose(self, group: str) -> bool:
        """Whether Serve will not start a replica in that group."""
        return self.is_sure and group not in self.groups


def footing_of(ray: RaySeen, key: ServiceKey) -> Footing:
    """The footing of all applications of a service."""
    ours = [ray.applications[name] for name in names.all_applications(key) if name in ray.applications]
    replicas = [
        replica for item in ours for deployed in item.deployments.values() for replica in deployed.replicas
    ]
    standing = [replica for replica in replicas if replica.state != ReplicaState.STOPPED]
    lost = any(item.node_ip is None and item.state != ReplicaState.STARTING for item in standing)
    return Footing(
        is_sure=not lost and all(_has_taken_up(item) for item in ours),
        groups=frozenset(pods_of(item.config for item in ours if item.config is not None)),
        addresses=frozenset(item.node_ip for item in standing if item.node_ip is not None),
        configs={item.name: item.config for item in ours if item.config is not None},
    )


def pods_of(configs: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Pods that applications need, by worker group; a group that is selected without a pod of one's own counts 0."""
    needed = Counter[str]()
    for config in configs:
        entries = config.get("deployments")
        for entry in entries if isinstance(entries, Sequence) else ():
            group = group_of(entry) if isinstance(entry, Mapping) else None
            if group is not None:
                takes = labels.REPLICA_RESOURCE in (entry["ray_actor_options"].get("resources") or {})
                needed[group] += (replicas_of(entry) or 0) if takes else 0
    return needed


def group_of(entry: Mapping[str, Any]) -> str | None:
    """The worker group that a deployment's configuration selects, if it selects one."""
    options = entry.get("ray_actor_options")
    selector = options.get("label_selector") if isinstance(options, Mapping) else None
    group = selector.get(labels.GROUP_OF_PODS) if isinstance(selector, Mapping) else None
    return group if isinstance(group, str) else None


def _has_taken_up(application: ApplicationSeen) -> bool:
    if application.config is None:
        return True  # it is being deleted: its replicas are counted as long as they stand
    return bool(application.deployments) and all(
        is_adopted(item, deployed_user_config(application.config, name))
        for name, item in application.deployments.items()
    )
