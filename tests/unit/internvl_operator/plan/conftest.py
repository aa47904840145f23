"""Worlds for the plan: a small builder whose steps are what Serve, people and probes do.

`World` starts with a service that was just created in a Ray cluster where nothing runs. Each step changes it;
`plan()` decides, and `settle()` carries the status over as the reconciler does. `check_possible` rejects
observations that no real world can show, so that no test rests on one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from internvl_operator.api import names
from internvl_operator.api.conditions import ConditionType
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.api.pods import parse_pod_settings
from internvl_operator.api.spec import parse_spec
from internvl_operator.api.status import Condition
from internvl_operator.plan.decision import FinalizerChange, Plan
from internvl_operator.plan.observation import (
    ApplicationSeen,
    ClusterSeen,
    DeploymentSeen,
    Observation,
    PodSeen,
    ProbeSeen,
    RaySeen,
    RayUnavailable,
    ReplicaSeen,
    ServiceSeen,
)
from internvl_operator.plan.plan import plan
from internvl_operator.render.cluster_objects import ObjectId
from internvl_operator.render.serve_schema import ServeDeployment
from internvl_operator.settings import Settings
from internvl_runtimes.contract.probes import ProbeAnswer, RoleAnswer

RAY = "http://ray-head:8265"
START = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
KEY = ServiceKey("team", "nano")
REVISION = "sha256:" + "ab" * 32
SPEC = {
    "model": {"uri": "file:///models/nano"},
    "vision": {"pool": "vision"},
    "language": {"pool": "language"},
}


OFFER = parse_pod_settings(
    """
image: example.test/internvl-runtime:1
pools:
  vision: {nodeSelector: {pool: vision}, gpus: 1, tolerations: [{key: gpu, operator: Exists}]}
  language: {nodeSelector: {pool: language}, gpus: 1}
  other: {nodeSelector: {pool: other}}
"""
)


def check_possible(observation: Observation) -> None:
    """Reject what cannot be observed."""
    service, ray, probe = observation.service, observation.ray, observation.probe
    assert (service.spec is None) != (service.spec_error is None), "exactly one of spec and spec_error"
    if probe is not None:
        assert (probe.answer is None) != (probe.error is None), "a probe has an answer or an error"
        assert probe.at <= observation.now, "a probe from the future"
    if isinstance(ray, RayUnavailable):
        assert ray.reason.value.startswith(("Ray", "NotRay", "Serve")), "not a reason for no answer"
    if isinstance(ray, RaySeen):
        for name, application in ray.applications.items():
            assert name == application.name
            _check_application(application)


def _check_application(application: ApplicationSeen) -> None:
    assert application.config is None or application.config["name"] == application.name
    if application.status in ("RUNNING", "UNHEALTHY"):
        assert application.deployments, "Serve calls an application running only with deployments"
    if application.status == "RUNNING":
        failed = [d for d in application.deployments.values() if d.status in ("DEPLOY_FAILED", "UNHEALTHY")]
        assert not failed, "a running application has no failed deployment"
    for deployment in application.deployments.values():
        if deployment.status == "HEALTHY":
            running = [r for r in deployment.replicas if r.state == "RUNNING"]
            assert len(running) == deployment.target_replicas, "healthy means that all replicas run"
        for replica in deployment.replicas:
            assert replica.node_id is not None or replica.state in ("STARTING", "STOPPING"), "runs nowhere"


def overall_status(deployments: Iterable[DeploymentSeen]) -> str:
    """An application's status, as Serve makes it of those of its deployments: the worst one counts."""
    states = [item.status for item in deployments]
    for worst, overall in (
        ("DEPLOY_FAILED", "DEPLOY_FAILED"),
        ("UNHEALTHY", "UNHEALTHY"),
        ("UPDATING", "DEPLOYING"),
    ):
        if worst in states:
            return overall
    return next(
        (state for state in states if state not in ("HEALTHY", "UPSCALING", "DOWNSCALING")), "RUNNING"
    )


@dataclass
class World:
    """One service and its surroundings."""

    service: ServiceSeen = field(
        default_factory=lambda: ServiceSeen(key=KEY, uid="uid-1", generation=1, spec=parse_spec(SPEC))
    )
    settings: Settings = field(default_factory=lambda: Settings(ray_address=RAY))
    observation: Observation = field(init=False)

    def __post_init__(self) -> None:
        pools = frozenset({"vision", "language"})
        ray = RaySeen(
            address=RAY, at=START, applications={}, node_pools=pools, http_address="http://head:8000"
        )
        self.observation = Observation(service=self.service, ray=ray, now=START)

    # --- deciding

    def plan(self) -> Plan:
        check_possible(self.observation)
        return plan(self.observation, self.settings)

    def settle(self) -> Plan:
        """Plan, and store status and finalizer as the reconciler does."""
        decided = self.plan()
        has_finalizer = self.seen.has_finalizer or decided.finalizer is FinalizerChange.ADD
        self.see(status=decided.status, has_finalizer=has_finalizer)
        return decided

    @property
    def seen(self) -> ServiceSeen:
        return self.observation.service

    @property
    def ray(self) -> RaySeen:
        assert isinstance(self.observation.ray, RaySeen)
        return self.observation.ray

    # --- what happens

    def pass_time(self, seconds: float) -> "World":
        self.observation = replace(self.observation, now=self.observation.now + timedelta(seconds=seconds))
        return self

    def see(self, **changes: Any) -> "World":
        self.observation = replace(self.observation, service=replace(self.seen, **changes))
        return self

    def respec(self, spec: dict[str, Any]) -> "World":
        return self.see(spec=parse_spec(spec), spec_error=None, generation=self.seen.generation + 1)

    def change(self, **changes: Any) -> "World":
        self.observation = replace(self.observation, **changes)
        return self

    def change_ray(self, **changes: Any) -> "World":
        return self.change(ray=replace(self.ray, **changes))

    def ray_fails(self, reason: Any, message: str = f"{RAY}: connection refused") -> "World":
        return self.change(
            ray=RayUnavailable(address=RAY, since=self.observation.now, reason=reason, message=message)
        )

    def serve_takes(self, decided: Plan, *, replica: str = "r1", status: str = "RUNNING") -> "World":
        """Serve holds what was planned and everything in it runs."""
        applications = dict(self.ray.applications)
        for wanted in decided.applications:
            deployments = {
                item.name: DeploymentSeen(
                    name=item.name,
                    status="HEALTHY",
                    target_replicas=item.num_replicas,
                    replicas=tuple(
                        ReplicaSeen(
                            id=f"{replica}-{item.name}-{i}",
                            state="RUNNING",
                            node_id="node",
                            node_ip=self._address_for(item, i, wanted.name),
                        )
                        for i in range(item.num_replicas)
                    ),
                    user_config=item.user_config,
                )
                for item in wanted.deployments
            }
            applications[wanted.name] = ApplicationSeen(
                name=wanted.name, status=status, config=wanted.to_mapping(), deployments=deployments
            )
        return self.change_ray(applications=applications)

    def serve_drops(self, decided: Plan) -> "World":
        """What was to be removed is gone."""
        left = {name: item for name, item in self.ray.applications.items() if name not in decided.remove}
        return self.change_ray(applications=left)

    def stand_in_takes(self, role: Role, status: str, message: str = "", *replicas: ReplicaSeen) -> "World":
        """The role's stand-in is shown so."""
        name, deployment = names.stand_in(names.application(KEY, role)), names.DEPLOYMENTS[role]
        known = self.ray.applications[name]
        shown = replace(known.deployments[deployment], status=status, message=message, replicas=replicas)
        deployments = {**known.deployments, deployment: shown}
        changed = replace(known, status=overall_status(deployments.values()), deployments=deployments)
        return self.change_ray(applications={**self.ray.applications, name: changed})

    def _address_for(self, item: ServeDeployment, number: int, application: str) -> str:
        """A pod of the group that the deployment selects, where there are pods; else some node."""
        others = {
            replica.node_ip
            for name, seen in self.ray.applications.items()
            for deployed in seen.deployments.values()
            for replica in deployed.replicas
            if name != application
        }
        selector = item.ray_actor_options.label_selector or {}
        cluster, group = self.observation.cluster, selector.get("serving.internvl.io/group")
        pods = [] if cluster is None else [pod for pod in cluster.pods if pod.group == group]
        if item.ray_actor_options.resources:
            pods = [pod for pod in pods if pod.address not in others]
        return str(pods[number].address) if number < len(pods) else "10.9.9.9"

    def serve_holds(self, decided: Plan) -> "World":
        """Serve holds what was planned; its deployments have not turned to it yet."""
        known = dict(self.ray.applications)
        for wanted in decided.applications:
            new = ApplicationSeen(name=wanted.name, status="DEPLOYING", deployments={})
            before = known.get(wanted.name, new)
            known[wanted.name] = replace(before, status="DEPLOYING", config=wanted.to_mapping())
        return self.change_ray(applications=known)

    def build(self, role: Role, status: str, message: str = "") -> "World":
        """The role's application has no deployments: it is being built, or its build failed."""
        name = names.application(KEY, role)
        known = self.ray.applications[name]
        changed = replace(known, status=status, message=message, deployments={})
        return self.change_ray(applications={**self.ray.applications, name: changed})

    def deployment(self, role: Role, status: str, message: str = "", *replicas: ReplicaSeen) -> "World":
        """Serve shows the role's deployment so."""
        name, deployment = names.application(KEY, role), names.DEPLOYMENTS[role]
        known = self.ray.applications[name]
        shown = replace(known.deployments[deployment], status=status, message=message, replicas=replicas)
        deployments = {**known.deployments, deployment: shown}
        changed = replace(known, status=overall_status(deployments.values()), deployments=deployments)
        return self.change_ray(applications={**self.ray.applications, name: changed})

    def foreign(self, name: str, **changes: Any) -> "World":
        """Somebody else's application."""
        other = ApplicationSeen(name=name, status="DEPLOYING", config={"name": name}, deployments={})
        other = replace(other, **changes)
        return self.change_ray(applications={**self.ray.applications, name: other})

    def answer(self, **changes: Any) -> ProbeAnswer:
        """A good answer of the generations that run, but for `changes` (role=RoleAnswer(...) or a field)."""
        roles = self.plan().status.roles
        good = {
            role.value: RoleAnswer(ok=True, generation=roles.of(role).generation or "", revision=REVISION)
            for role in Role
        }
        return ProbeAnswer(**{"ok": True, "features_differ": True, **good, **changes})

    def probed(self, answer: ProbeAnswer | None = None, error: str | None = None) -> "World":
        """The pending probe came back."""
        request = self.plan().probe
        assert request is not None, "nothing was to be probed"
        seen = ProbeSeen(at=self.observation.now, subject=request.subject, answer=answer, error=error)
        return self.change(probe=seen)

    def made_ready(self) -> "World":
        """Written, running, probed, stored."""
        self.serve_takes(self.settle()).settle()
        self.probed(self.answer()).settle()
        return self

    # --- pods of its own

    def without_ray(self) -> "World":
        """Nobody runs a Ray: the operator is to make one in pods, and Ray cannot be asked yet."""
        self.settings = Settings(pods_file="/etc/pods.yaml")
        self.change(ray=None, offer=OFFER, cluster=ClusterSeen(objects={}))
        return self

    @property
    def cluster(self) -> ClusterSeen:
        assert self.observation.cluster is not None
        return self.observation.cluster

    def kubernetes_takes(self, decided: Plan) -> "World":
        """The API server holds what was applied."""
        objects = {**self.cluster.objects, **{ObjectId.of(item): item for item in decided.objects}}
        return self.change(cluster=replace(self.cluster, objects=objects))

    @property
    def ray_cluster(self) -> dict[str, Any]:
        return self.cluster.objects[ObjectId("RayCluster", f"{KEY.name}-ray")]

    def groups(self) -> dict[str, int]:
        """Replicas by the name of the worker group, as they stand."""
        return {item["groupName"]: item["replicas"] for item in self.ray_cluster["spec"]["workerGroupSpecs"]}

    def group(self, role: Role) -> str:
        """The newest group of a role."""
        return [name for name in self.groups() if name.startswith(f"{role}-")][-1]

    def kuberay_acts(self) -> "World":
        """One ready pod for each replica of each group, and a ready head whose dashboard answers."""
        wanted = {name: count for name, count in self.groups().items()}
        pods = [
            PodSeen(
                name="head",
                group="headgroup",
                cluster="nano-ray",
                phase="Running",
                ready=True,
                address="10.0.0.1",
            )
        ]
        for number, (group, count) in enumerate(wanted.items()):
            pods += [
                PodSeen(
                    name=f"{group}-{i}",
                    group=group,
                    cluster="nano-ray",
                    phase="Running",
                    ready=True,
                    address=f"10.1.{number}.{i}",
                )
                for i in range(count)
            ]
        ray = self.observation.ray
        if not isinstance(ray, RaySeen):
            address = f"http://{KEY.name}-ray-head-svc.{KEY.namespace}.svc:8265"
            ray = RaySeen(
                address=address,
                at=START,
                applications={},
                node_pools=frozenset(),
                http_address="http://head:8000",
            )
        return self.change(cluster=replace(self.cluster, pods=tuple(pods)), ray=ray)

    def replicas_on(self, role: Role, *pods: PodSeen, stopping: PodSeen | None = None) -> "World":
        """Serve shows the role's replicas running on these pods, and one being stopped."""
        name, deployment = names.application(KEY, role), names.DEPLOYMENTS[role]
        known = self.ray.applications[name]
        replicas = tuple(
            ReplicaSeen(id=f"on-{pod.name}", state="RUNNING", node_id=f"n-{pod.name}", node_ip=pod.address)
            for pod in pods
        )
        if stopping is not None:
            replicas += (ReplicaSeen(id="old", state="STOPPING", node_id="n-old", node_ip=stopping.address),)
        shown = replace(known.deployments[deployment], replicas=replicas)
        changed = replace(known, deployments={**known.deployments, deployment: shown})
        return self.change_ray(applications={**self.ray.applications, name: changed})

    def pods_of(self, group: str) -> list[PodSeen]:
        return [pod for pod in self.cluster.pods if pod.group == group]

    def trouble(self, pod_name: str, trouble: str, detail: str = "") -> "World":
        """Kubernetes cannot start that pod."""
        pods = tuple(
            replace(pod, ready=False, phase="Pending", trouble=trouble, detail=detail)
            if pod.name == pod_name
            else pod
            for pod in self.cluster.pods
        )
        return self.change(cluster=replace(self.cluster, pods=pods))

    def pod_is(self, name: str, **changes: Any) -> "World":
        """One pod is otherwise."""
        pods = tuple(replace(pod, **changes) if pod.name == name else pod for pod in self.cluster.pods)
        return self.change(cluster=replace(self.cluster, pods=pods))

    def loses_pods(self, group: str) -> "World":
        """The group's pods are gone."""
        pods = tuple(pod for pod in self.cluster.pods if pod.group != group)
        return self.change(cluster=replace(self.cluster, pods=pods))

    # --- what is said

    def condition(self, kind: str = "Ready") -> Condition:
        found = self.plan().status.condition(ConditionType(kind))
        assert found is not None
        return found

    def said(self, kind: str = "Ready") -> tuple[str, str]:
        found = self.condition(kind)
        return found.status.value, found.reason.value


def entry(plan: Plan, role: Role) -> dict[str, Any]:
    """What is written of a role."""
    return next(
        item
        for application in plan.applications
        for item in application.to_mapping()["deployments"]
        if item["name"] == DEPLOYMENTS[role]
    )


def bounds_of(plan: Plan, role: Role) -> dict[str, Any]:
    """What is written of the number of a role that may rest."""
    found = entry(plan, role)
    assert "num_replicas" not in found
    return found["autoscaling_config"]


def text_alone(world: World, **changes: Any) -> ProbeAnswer:
    """An answer of the probe that asked language alone."""
    return world.answer(vision=None, features_differ=False, **changes)


@pytest.fixture
def world() -> World:
    """A service that was just created, in a Ray cluster where nothing runs."""
    return World()


@pytest.fixture
def ready() -> World:
    """A service that is Ready and settled."""
    return World().made_ready()


@pytest.fixture
def podless() -> World:
    """A service that was just created where the operator makes the Ray cluster itself."""
    return World().without_ray()


@pytest.fixture
def ready_in_pods() -> World:
    """A service that is Ready in pods of its own."""
    world = World().without_ray()
    world.kubernetes_takes(world.settle()).kuberay_acts()
    return world.made_ready()


@pytest.fixture(scope="session")
def worlds() -> type[World]:
    """The builder itself, for property tests."""
    return World
