"""Worker groups: what one pod of a role is made from, and the group's name, which follows from it.

A changed pod is a new group `<role>-<hash>`, because KubeRay never replaces the pods of a group. The hash is over
what people decide (image, sizes, placement, model claim), not over the rendered template: a newer operator that
renders a pod otherwise restarts nothing, and pods made later get the newer form.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pod_spec import EnvVar, PlacementSpec
from internvl_operator.api.pods import Placement, PodSettings, PoolSettings, Scrape
from internvl_operator.api.spec import CLAIMS_FOLDER, InternVLServiceSpec, RoleSpec
from internvl_operator.render.pod_patch import RAY_CONTAINER, patch_template
from internvl_operator.render.probes import raylet_probes
from internvl_operator.render.serve_config import Site, Slot
from internvl_operator.render.serve_schema import encode_json
from internvl_runtimes.contract import pods

METRICS_PORT = 8080
"""Of Ray's exporter in each pod; KubeRay's choice, which it calls `metrics`."""
METRICS_PATH = "/metrics"
SURGE_PERCENT = 100
GRACE_S = pods.DRAIN_S + 15
"""Seconds that a pod has to end: the drain of its node, and Ray's own end."""
LOST_NODE_S = 5
"""Seconds after which pods leave a node that does not answer, counted from when Kubernetes says so: after some 50 s.
Ray has given up its raylets there by then."""
_LOST_NODE = [
    {
        "key": f"node.kubernetes.io/{taint}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": LOST_NODE_S,
    }
    for taint in ("not-ready", "unreachable")
]


@dataclass(frozen=True, kw_only=True)
class PodShape:
    """What people decide about a role's pods; equal shapes are one group."""

    role: Role
    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    placement: Placement
    cpu: str
    memory: str
    cores: int
    """CPUs that Ray may give away there."""
    gpus: int = 0
    gpu_resource: str = ""
    claim: str | None = None
    env: tuple[EnvVar, ...] = ()
    patch: Mapping[str, Any] | None = None
    outlives_head: bool = False
    """Whether Ray's workers wait for a head that went: only one with Redis knows them. No new group either."""
    is_annotated: bool = True
    """Whether Prometheus is told by annotations to scrape them; of the pods, but no new group."""

    @cached_property
    def group(self) -> str:
        """Name of the worker group: the role and a hash of the rest."""
        facts: dict[str, Any] = {
            "image": self.image,
            "secrets": self.image_pull_secrets,
            "placement": self.placement.model_dump(mode="json", exclude_defaults=True),
            "cpu": self.cpu,
            "memory": self.memory,
            "gpus": {self.gpu_resource: self.gpus} if self.gpus else {},
            "claim": self.claim,
        }
        if self.env:  # what came later is named only where it is used, so that older groups keep their names
            facts["env"] = _rendered_env(self.env)
        if self.patch:
            facts["patch"] = self.patch
        return f"{self.role}-{hashlib.sha256(encode_json(facts).encode()).hexdigest()[:8]}"


def pool_of(wanted: RoleSpec, settings: PodSettings) -> PoolSettings | None:
    """The pool of a role; None when it is not offered. Who says where pods run needs none."""
    if wanted.pool is None and wanted.placement is not None:
        return PoolSettings()
    return settings.pools.get(wanted.pool or "")


def pod_shapes(spec: InternVLServiceSpec, settings: PodSettings) -> dict[Role, PodShape]:
    """The pods that a spec asks for; all its pools are offered."""
    return {role: _shape(role, spec, settings) for role in Role}


def _shape(role: Role, spec: InternVLServiceSpec, settings: PodSettings) -> PodShape:
    said = spec.pod_fields(role)
    return PodShape(
        role=role,
        image=said.image or settings.image,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=settings.image_pull_secrets,
        claim=spec.model.claim,  # the gateway needs the tokenizer and the configuration there
        env=said.env,
        patch=said.pod_patch,
        outlives_head=settings.gcs.redis is not None,
        is_annotated=settings.metrics.by is Scrape.ANNOTATIONS,
        **_place_and_size(role, spec, settings),
    )


def _place_and_size(role: Role, spec: InternVLServiceSpec, settings: PodSettings) -> dict[str, Any]:
    if role is Role.GATEWAY:
        pods_of = settings.gateway
        placement = _placement(pods_of, spec.gateway.placement)
        return {"placement": placement, "cpu": pods_of.cpu, "memory": pods_of.memory, "cores": 1}
    wanted = spec.role(role)
    pool = pool_of(wanted, settings)
    assert pool is not None  # `pool_unknown` speaks before
    return {
        "placement": _placement(pool, wanted.placement),
        "cpu": wanted.cpu,
        "memory": wanted.memory or pool.memory,
        "cores": wanted.threads,
        "gpus": pool.gpus if wanted.gpus is None else wanted.gpus,
        "gpu_resource": pool.gpu_resource,
    }


def _placement(found: Placement, more: PlacementSpec | None) -> Placement:
    """What the administrator says, and on top of it what the user says."""
    facts = {name: getattr(found, name) for name in Placement.model_fields}
    if more is not None:
        added = more.model_dump(mode="json", by_alias=True, exclude_none=True)
        facts["node_selector"] = {**found.node_selector, **added.get("nodeSelector", {})}
        facts["tolerations"] = (*found.tolerations, *added.get("tolerations", ()))
        facts["affinity"] = {**found.affinity, **added.get("affinity", {})}
    return Placement(**facts)


def _rendered_env(variables: tuple[EnvVar, ...]) -> list[dict[str, Any]]:
    return [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in variables]


def pod_site(shapes: dict[Role, PodShape], *, surges: bool) -> Site:
    """A Ray cluster of the service's own: each role on its group, one replica a pod, the service at the root.

    `surges`: new replicas come before old ones go. Gateways, which need no GPU, always do so.
    """
    slots = {
        role: Slot(
            label_selector={labels.GROUP_OF_PODS: shape.group},
            resources={labels.REPLICA_RESOURCE: 1.0},
            gpus=shape.gpus or None,
            max_surge_percent=SURGE_PERCENT if surges or role is Role.GATEWAY else None,
        )
        for role, shape in shapes.items()
    }
    return Site(slots=slots, route_prefix="/")


def render_group(key: ServiceKey, shape: PodShape, replicas: int) -> dict[str, Any]:
    """One entry of `workerGroupSpecs`.

    Raises:
        Rejected: the user's patch of the pods is refused.
    """
    template = {
        "metadata": {
            "labels": pod_labels(key, shape.role),
            "annotations": _scrape_annotations(shape.is_annotated),
        },
        "spec": _worker_pod(key, shape),
    }
    resources = encode_json({labels.REPLICA_RESOURCE: 1})
    return {
        "groupName": shape.group,
        "replicas": replicas,
        "minReplicas": 0,
        "maxReplicas": 1024,
        "labels": {labels.GROUP_OF_PODS: shape.group},
        "rayStartParams": {
            "num-cpus": str(shape.cores),
            "num-gpus": str(shape.gpus),
            "resources": f"'{resources}'",  # a word of KubeRay's shell line
        },
        "template": template if shape.patch is None else patch_template(template, shape.patch),
    }


def render_head(key: ServiceKey, settings: PodSettings) -> dict[str, Any]:
    """`headGroupSpec`: Ray's own services, and no replica."""
    del key
    container = {
        **_container(
            settings.image, settings.image_pull_policy, cpu=settings.head.cpu, memory=settings.head.memory
        ),
        **raylet_probes(timeout_s=5),
        "name": "ray-head",
        "env": _environment({pods.DRAIN_VARIABLE: "0"}),  # nothing of it can move
        "ports": [
            {"name": "gcs", "containerPort": 6379},
            {"name": "dashboard", "containerPort": names.DASHBOARD_PORT},
            {"name": "client", "containerPort": 10001},
        ],
    }
    return {
        "serviceType": "ClusterIP",
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104 - inside a pod
        "template": {
            "metadata": {
                "labels": {labels.ROLE: "head"},
                "annotations": _scrape_annotations(settings.metrics.by is Scrape.ANNOTATIONS),
            },
            "spec": {
                **_pod(settings.head, settings.image_pull_secrets),
                "containers": [container],
                "volumes": _volumes(None),
            },
        },
    }


def pod_labels(key: ServiceKey, role: Role) -> dict[str, str]:
    """Labels by which a role's pods are found."""
    return {labels.SERVICE: key.name, labels.ROLE: role.value}


def _scrape_annotations(is_wanted: bool) -> dict[str, str]:
    """What Prometheus' usual configuration asks pods for. "false" is said, so that a change of mind is a change."""
    return {
        "prometheus.io/scrape": str(is_wanted).lower(),
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": METRICS_PATH,
    }


def _worker_pod(key: ServiceKey, shape: PodShape) -> dict[str, Any]:
    container = {
        **_container(shape.image, shape.image_pull_policy, cpu=shape.cpu, memory=shape.memory),
        **raylet_probes(timeout_s=2),
        "name": RAY_CONTAINER,
        "env": [
            *_environment({pods.READY_PORT_VARIABLE: str(pods.READY_PORT), **_without_head(shape)}),
            *_rendered_env(shape.env),
        ],
    }
    if shape.gpus:
        container["resources"]["limits"][shape.gpu_resource] = shape.gpus
    if shape.claim is not None:
        mount = {"name": "model", "mountPath": f"{CLAIMS_FOLDER}/{shape.claim}", "readOnly": True}
        container["volumeMounts"] = [*container["volumeMounts"], mount]
    container["ports"] = [{"name": "ready", "containerPort": pods.READY_PORT}]
    if shape.role is Role.GATEWAY:
        container["ports"].append({"name": "http", "containerPort": pods.HTTP_PORT})
    container["readinessProbe"] = {
        "httpGet": {"path": pods.READY_PATH, "port": "ready"},
        "periodSeconds": 2,
        "timeoutSeconds": 2,
        "failureThreshold": 2,
    }
    pod = {
        **_pod(shape.placement, shape.image_pull_secrets),
        "containers": [container],
        "volumes": _volumes(shape.claim),
        "topologySpreadConstraints": [_spread(key, shape)],
    }
    return pod


def _spread(key: ServiceKey, shape: PodShape) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {**pod_labels(key, shape.role)}},
    }


def _pod(placement: Placement, secrets: tuple[str, ...]) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        # Process 1 hears no SIGTERM that it has no handler for: a Ray that is starting, or KubeRay's shell that waits for
        # the head, would take the whole time of grace to go.
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": pods.USER_ID,
            "runAsGroup": pods.USER_ID,
            "fsGroup": pods.USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in secrets]
    wanted = {
        "nodeSelector": placement.node_selector,
        "tolerations": [*placement.tolerations, *_LOST_NODE],
        "affinity": placement.affinity,
        "priorityClassName": placement.priority_class_name,
        "runtimeClassName": placement.runtime_class_name,
    }
    return {**pod, **{name: value for name, value in wanted.items() if value}}


def _container(image: str, pull_policy: str, *, cpu: str, memory: str) -> dict[str, Any]:
    return {
        "image": image,
        "imagePullPolicy": pull_policy,
        "workingDir": pods.HOME,  # Ray's dashboard dies silently in a folder that its user may not enter
        "env": _environment({}),
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": pods.HOME}],
    }


def _without_head(shape: PodShape) -> dict[str, str]:
    """KubeRay has its own time for workers of a head with Redis."""
    return {} if shape.outlives_head else {pods.WITHOUT_HEAD_VARIABLE: str(pods.WITHOUT_HEAD_S)}


def _environment(changed: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in {**pods.ENVIRONMENT, **changed}.items()]


def _volumes(claim: str | None) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if claim is not None:
        volumes.append({"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    return volumes
