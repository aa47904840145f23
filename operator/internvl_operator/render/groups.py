"""Worker groups: what one pod of a role is made from, and the group's name, which follows from it.

A changed pod is a new group `<role>-<hash>`, because KubeRay never replaces the pods of a group. The hash is over
what people decide (image, sizes, placement, model claim), not over the rendered template: a newer operator that
renders a pod otherwise restarts nothing, and pods made later get the newer form.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.pods import Placement, PodSettings
from internvl_operator.api.spec import CLAIMS_FOLDER, InternVLServiceSpec
from internvl_operator.render.serve_config import Site, Slot
from internvl_operator.render.serve_schema import encode_json
from internvl_runtimes.contract import pods

HTTP_PORT = 8000
"""Serve's HTTP proxy in each pod."""
SURGE_PERCENT = 100
GRACE_S = pods.DRAIN_S + 15
"""Seconds that a pod has to end: the drain of its node, and Ray's own end."""
LOST_NODE_S = 30
"""Seconds after which pods leave a node that does not answer, counted from when Kubernetes says so."""
_LOST_NODE = [
    {
        "key": f"node.kubernetes.io/{taint}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": LOST_NODE_S,
    }
    for taint in ("not-ready", "unreachable")
]


@dataclass(frozen=True, slots=True, kw_only=True)
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

    @property
    def group(self) -> str:
        """Name of the worker group: the role and a hash of the rest."""
        facts = {
            "image": self.image,
            "secrets": self.image_pull_secrets,
            "placement": self.placement.model_dump(mode="json", exclude_defaults=True),
            "cpu": self.cpu,
            "memory": self.memory,
            "gpus": {self.gpu_resource: self.gpus} if self.gpus else {},
            "claim": self.claim,
        }
        return f"{self.role}-{hashlib.sha256(encode_json(facts).encode()).hexdigest()[:8]}"


def pod_shapes(spec: InternVLServiceSpec, settings: PodSettings) -> dict[Role, PodShape]:
    """The pods that a spec asks for; KeyError when it names a pool that is not offered."""
    return {
        Role.VISION: _side(Role.VISION, spec, settings),
        Role.LANGUAGE: _side(Role.LANGUAGE, spec, settings),
        Role.GATEWAY: PodShape(
            role=Role.GATEWAY,
            image=settings.image,
            image_pull_policy=settings.image_pull_policy,
            image_pull_secrets=settings.image_pull_secrets,
            placement=_placement(settings.gateway),
            cpu=settings.gateway.cpu,
            memory=settings.gateway.memory,
            cores=1,
            claim=spec.model.claim,  # its tokenizer and configuration lie there
        ),
    }


def _side(role: Role, spec: InternVLServiceSpec, settings: PodSettings) -> PodShape:
    wanted = spec.role(role)
    pool = settings.pools[wanted.pool or ""]
    return PodShape(
        role=role,
        image=settings.image,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=settings.image_pull_secrets,
        placement=_placement(pool),
        cpu=wanted.cpu,
        memory=wanted.memory or pool.memory,
        cores=wanted.threads,
        gpus=pool.gpus if wanted.gpus is None else wanted.gpus,
        gpu_resource=pool.gpu_resource,
        claim=spec.model.claim,
    )


def _placement(found: Placement) -> Placement:
    return Placement(**{name: getattr(found, name) for name in Placement.model_fields})


def pod_site(shapes: dict[Role, PodShape], *, surges: bool = True) -> Site:
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
    """One entry of `workerGroupSpecs`."""
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
        "template": {
            "metadata": {"labels": pod_labels(key, shape.role)},
            "spec": _worker_pod(key, shape),
        },
    }


def render_head(key: ServiceKey, settings: PodSettings) -> dict[str, Any]:
    """`headGroupSpec`: Ray's own services, and no replica."""
    del key
    container = {
        **_container(
            settings.image, settings.image_pull_policy, cpu=settings.head.cpu, memory=settings.head.memory
        ),
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
            "metadata": {"labels": {labels.ROLE: "head"}},
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


def _worker_pod(key: ServiceKey, shape: PodShape) -> dict[str, Any]:
    container = {
        **_container(shape.image, shape.image_pull_policy, cpu=shape.cpu, memory=shape.memory),
        "name": "ray-worker",
        "env": _environment({pods.READY_PORT_VARIABLE: str(pods.READY_PORT)}),
    }
    if shape.gpus:
        container["resources"]["limits"][shape.gpu_resource] = shape.gpus
    if shape.claim is not None:
        mount = {"name": "model", "mountPath": f"{CLAIMS_FOLDER}/{shape.claim}", "readOnly": True}
        container["volumeMounts"] = [*container["volumeMounts"], mount]
    container["ports"] = [{"name": "ready", "containerPort": pods.READY_PORT}]
    if shape.role is Role.GATEWAY:
        container["ports"].append({"name": "http", "containerPort": HTTP_PORT})
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


def _environment(changed: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in {**pods.ENVIRONMENT, **changed}.items()]


def _volumes(claim: str | None) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if claim is not None:
        volumes.append({"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    return volumes
