"""All that one reconcile knows, already fetched. Built by `reconcile.reconciler`, read by `plan.plan`.

Statuses are Serve's own strings; the enums list those known in Ray 2.60, and the plan copes with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House, Role
from internvl_operator.api.pods import PodSettings
from internvl_operator.api.scale import InternVLScaleStatus
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import Status
from internvl_operator.render.cluster_objects import Manifest, ObjectId
from internvl_operator.scaling.model import SideDecision, SideLoad
from internvl_runtimes.contract.probes import ProbeAnswer


class ApplicationState(StrEnum):
    """`applications[app].status` of Serve."""

    NOT_STARTED = "NOT_STARTED"
    DEPLOYING = "DEPLOYING"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    RUNNING = "RUNNING"
    UNHEALTHY = "UNHEALTHY"
    DELETING = "DELETING"


class DeploymentState(StrEnum):
    """`deployments[name].status` of Serve."""

    UPDATING = "UPDATING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UPSCALING = "UPSCALING"
    DOWNSCALING = "DOWNSCALING"
    DEPLOY_FAILED = "DEPLOY_FAILED"


class ReplicaState(StrEnum):
    """`replicas[].state` of Serve."""

    STARTING = "STARTING"
    UPDATING = "UPDATING"
    RECOVERING = "RECOVERING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    PENDING_MIGRATION = "PENDING_MIGRATION"


_RUNNING = (ReplicaState.RUNNING, ReplicaState.PENDING_MIGRATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSeen:
    """The user's object. Exactly one of `spec` and `spec_error` is set."""

    key: ServiceKey
    uid: str
    generation: int
    deleting_since: datetime | None = None
    has_finalizer: bool = False
    spec: InternVLServiceSpec | None = None
    spec_error: str | None = None
    """Text of the `Rejected` that parsing the spec raised."""
    status: Status | None = None
    """As stored now; None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSeen:
    """One replica of a deployment."""

    id: str
    state: str
    """A `ReplicaState`."""
    node_id: str | None = None
    """None while no node was found for it yet."""
    node_ip: str | None = None
    """Address of that node: in pods, the pod's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSeen:
    """One deployment of an application."""

    name: str
    status: str
    """A `DeploymentState`."""
    message: str = ""
    target_replicas: int = 0
    replicas: tuple[ReplicaSeen, ...] = ()
    user_config: Mapping[str, Any]
    """Of the configuration that status, message and replicas are about: it follows the application's later."""

    @property
    def running(self) -> tuple[ReplicaSeen, ...]:
        """Replicas that answer requests, also those whose node is being drained."""
        return tuple(replica for replica in self.replicas if replica.state in _RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSeen:
    """One application in Serve. `deployments` is empty until it was built."""

    name: str
    status: str
    """An `ApplicationState`."""
    message: str = ""
    declarative: bool = True
    """Whether it was deployed by REST config; False: by hand (`serve run`)."""
    config: Mapping[str, Any] | None = None
    """`deployed_app_config` exactly as Serve gave it; None while it is being deleted."""
    deployments: Mapping[str, DeploymentSeen]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySeen:
    """One good answer of a Ray address."""

    address: str
    at: datetime
    applications: Mapping[str, ApplicationSeen]
    """By name; other owners' too."""
    node_pools: frozenset[str] | None = None
    """Values of the pool label on living nodes; None when they could not be read, or place nothing there."""
    http_address: str | None = None
    """Base URL of a running Serve proxy (`http://host:8000`), None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayUnavailable:
    """No good answer. `reason` is one of Reason.RAY_*, NOT_RAY, SERVE_UNAVAILABLE."""

    address: str
    since: datetime
    """First failure without a good answer since."""
    reason: Reason
    message: str
    """One sentence with the address and the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """One pod of the service's own Ray cluster."""

    name: str
    group: str
    """Of its worker group; `headgroup` for the head."""
    cluster: str = ""
    """Name of its RayCluster; empty for one that we did not make."""
    phase: str
    ready: bool = False
    node: str | None = None
    address: str | None = None
    """Its IP, by which Serve's replicas are found on it."""
    trouble: str = ""
    """Why it does not run, in a word of Kubernetes (`Unschedulable`, `ImagePullBackOff`); empty while all is well."""
    detail: str = ""
    """Kubernetes' sentence about the trouble."""
    unscheduled_since: datetime | None = None
    """Since when no node has been found for it; None where one was."""
    deleting: bool = False

    @property
    def is_head(self) -> bool:
        """A living head."""
        return self.group == HEAD_GROUP and not self.deleting


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSeen:
    """What stands in Kubernetes for a service with a Ray cluster of its own, or with two while its head changes."""

    objects: Mapping[ObjectId, Manifest]
    """Objects with the service's label or one of its names, as the API server has them; never Secrets."""
    pods: tuple[PodSeen, ...] = ()
    trouble: tuple[Reason, str] | None = None
    """Why nothing can be read: KubeRay's kind is missing, or a right is."""
    refused: Mapping[ObjectId, str] = field(default_factory=dict)
    """What the API server refused to take when it was last applied, with its sentence."""
    undeclared: frozenset[ObjectId] = frozenset()
    """Those of `refused` whose kind lacks a field that we need: KubeRay's kind, where it is too old."""
    missing_kinds: frozenset[str] = frozenset()
    """Optional kinds that the service asks for and the API server does not know."""
    unreadable_kinds: Mapping[str, str] = field(default_factory=dict)
    """Optional kinds that the service has or had, and that cannot be read, with the API server's sentence."""

    @property
    def head(self) -> PodSeen | None:
        """The living head pod."""
        return next((pod for pod in self.pods if pod.is_head), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSeen:
    """The InternVLScale of one side."""

    name: str
    service_uid: str | None
    """Of the InternVLService that owns the object; None where none does."""
    owner: str
    """A `ScaledBy`."""
    replicas: int
    decided: int | None = None
    writer: str = ""
    """Field manager that wrote `replicas` last; empty where it was this operator."""
    status: InternVLScaleStatus | None = None
    deleting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalesSeen:
    """The InternVLScales of a service."""

    objects: Mapping[str, ScaleSeen] = field(default_factory=dict)
    """By name."""
    trouble: str = ""
    """Why they cannot be read, or one of them does not stand as it should."""
    is_readable: bool = True
    """False: nothing is known of them."""


HEAD_GROUP = "headgroup"
"""KubeRay's name for the group of the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSeen:
    """The last probe of this service in this process. Exactly one of `answer` and `error` is set."""

    at: datetime
    subject: str
    """`ProbeRequest.subject` of the request that it answers."""
    answer: ProbeAnswer | None = None
    """Set whenever a `ProbeAnswer` came back, also with status 503."""
    error: str | None = None
    """One sentence: no connection, timeout, another status, not JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSeen:
    """What the writer of this Ray address did last for this service. Neither field set: it succeeded."""

    at: datetime
    error: str | None = None
    reason: Reason = Reason.WRITE_FAILED
    """WRITE_FAILED or FOREIGN_CONFIG_UNREADABLE; read only with `error`."""
    waiting_for: str | None = None
    """Name of the foreign application that is being built, while the write waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSeen:
    """What one round of looking found out about the load of a service."""

    reason: Reason
    """One of Reason.METRICS_* or PROMETHEUS_UNAVAILABLE."""
    loads: Mapping[Role, SideLoad] = field(default_factory=dict)
    """Of both sides; empty where they are unknown."""
    unknown: str = ""
    """Why they are unknown."""
    advice: str = ""
    """How they would be known sooner, as the end of a sentence; it names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSeen:
    """What was decided about a service's replicas from its load. It changes only when there is something to say."""

    at: datetime
    """When it was decided."""
    sides: Mapping[Role, SideDecision]
    """The sides that are scaled."""
    metrics: Reason
    """How well the load is known: the reason of `LoadSeen`."""
    unknown: str = ""
    """Why it is not."""
    undecided: str = ""
    """Why nothing has been decided for a while: then `sides` are those of before, or none."""
    advice: str = ""
    """How it would be known sooner: that of `LoadSeen`."""
    memory: str
    """The history, for the next process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySide:
    """What is known of one Ray that a service has; each field as in `Observation`."""

    ray: RaySeen | RayUnavailable | None = None
    probe: ProbeSeen | None = None
    write: WriteSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The whole input of `plan`."""

    service: ServiceSeen
    ray: RaySeen | RayUnavailable | None
    """None: no address is known (`plan.backend.ray_home`), or it was not asked yet."""
    probe: ProbeSeen | None = None
    write: WriteSeen | None = None
    cluster: ClusterSeen | None = None
    """None: the service lives on a Ray cluster that somebody else makes."""
    offer: PodSettings | None = None
    """How the administrator has pods made."""
    house: House = House.FIRST
    """Of the service's own Ray clusters the one that clients are sent to (`plan.houses`): `ray`, `probe` and `write`
    are about that."""
    beside: RaySide = RaySide()
    """The other one."""
    others_move: bool = False
    """As many other services as may go over to another head at once do so (`reconcile.turns`)."""
    scaling: ScalingSeen | None = None
    """None: no side is scaled by load, or this process has not looked yet."""
    scales: ScalesSeen | None = None
    """None: the service has none, or there is no API server."""
    is_beside: bool = False
    """`plan.moving` looks at the other one by itself: clients are not sent to it."""
    now: datetime
