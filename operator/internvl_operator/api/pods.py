"""How pods are made: the file that an administrator gives the operator (the chart's `kuberay` values).

Users name a pool; what that means on this cluster (nodes, tolerations, GPU resource) stands here and nowhere else.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from internvl_operator.api.spec import Cpu, Memory
from internvl_operator.api.wire import Wire
from internvl_operator.errors import Rejected

Toleration = dict[str, str | int]
REDIS_PATTERN = r"^rediss?://[A-Za-z0-9._-]+:[0-9]{1,5}$"


class Placement(Wire):
    """Where pods may run, in Kubernetes' own words."""

    node_selector: Annotated[
        dict[str, str], Field(default_factory=dict, description="Labels that a node must have.")
    ]
    tolerations: Annotated[tuple[Toleration, ...], Field(description="Taints that are tolerated.")] = ()
    affinity: Annotated[dict[str, Any], Field(default_factory=dict, description="Node and pod affinity.")]
    priority_class_name: Annotated[str | None, Field(description="Priority class of the pods.")] = None
    runtime_class_name: Annotated[str | None, Field(description="Runtime class, for example nvidia.")] = None


class PoolSettings(Placement):
    """One pool that users may name in `spec.vision.pool` and `spec.language.pool`."""

    gpu_resource: Annotated[str, Field(description="What its device plugin calls a GPU.")] = "nvidia.com/gpu"
    gpus: Annotated[int, Field(ge=0, le=64, description="GPUs of a replica that asks for none itself.")] = 0
    memory: Annotated[Memory, Field(description="Memory of a replica that asks for none itself.")] = "4Gi"


class SizedPods(Placement):
    """Pods whose size users do not choose."""

    cpu: Annotated[Cpu, Field(description="CPU of one pod.")] = "1"
    memory: Annotated[Memory, Field(description="Memory of one pod.")] = "3Gi"


class SecretKey(Wire):
    """One value of a Secret that lies beside the service."""

    name: Annotated[str, Field(min_length=1, description="Name of the Secret.")]
    key: Annotated[str, Field(min_length=1, description="Key of the value in it.")] = "password"


class RedisSettings(Wire):
    """A Redis that Ray's heads write their state to, each service's under a name of its own."""

    address: Annotated[
        str,
        Field(
            pattern=REDIS_PATTERN,
            description="Where it answers pods of all services: redis://host:6379, or rediss:// for TLS.",
        ),
    ]
    password_secret: Annotated[
        SecretKey | None, Field(description="Its password, in a Secret beside each service.")
    ] = None


class GcsSettings(Wire):
    """What Ray's head keeps outside of itself."""

    redis: Annotated[
        RedisSettings | None,
        Field(
            description="With it the death of a head fails no request. Services that stand move to another head."
        ),
    ] = None


class RouteKind(StrEnum):
    """What may stand before a service for clients outside the cluster."""

    HTTP_ROUTE = "HTTPRoute"
    INGRESS = "Ingress"


class Scrape(StrEnum):
    """How Prometheus finds pods: those of Ray, and in the chart's values the operator's own."""

    ANNOTATIONS = "annotations"
    """`prometheus.io/*` on each pod."""
    POD_MONITOR = "podMonitor"
    """A PodMonitor of Prometheus Operator: one for each service, and one for the operator."""
    NONE = "none"


class MetricsSettings(Wire):
    """How metrics are collected: of Ray's pods (port 8080, path /metrics), or of the operator's (port 8081)."""

    by: Annotated[Scrape, Field(description="How Prometheus finds the pods.")] = Scrape.ANNOTATIONS
    labels: Annotated[
        dict[str, str],
        Field(
            default_factory=dict, description="Labels of the PodMonitors, by which Prometheus selects them."
        ),
    ]


class PodSettings(Wire):
    """The whole file."""

    image: Annotated[str, Field(min_length=1, description="Image of the runtime, for all pods of Ray.")]
    image_pull_policy: Annotated[str, Field(pattern="^(Always|IfNotPresent|Never)$")] = "IfNotPresent"
    image_pull_secrets: Annotated[
        tuple[str, ...], Field(description="Names of Secrets beside the service.")
    ] = ()
    pools: Annotated[
        dict[str, PoolSettings], Field(default_factory=dict, description="Pools by the name that users give.")
    ]
    head: Annotated[SizedPods, Field(description="Ray's head: no replica runs there.")] = SizedPods()
    gateway: Annotated[SizedPods, Field(description="Pods of the gateway: CPU nodes.")] = SizedPods(
        cpu="500m", memory="2Gi"
    )
    gcs: Annotated[GcsSettings, Field(description="What Ray's head keeps outside of itself.")] = GcsSettings()
    routes: Annotated[
        tuple[RouteKind, ...],
        Field(
            description="Routes that users may ask for in spec.gateway; the operator needs rights on them."
        ),
    ] = ()
    metrics: Annotated[MetricsSettings, Field(default_factory=MetricsSettings)]


def parse_pod_settings(text: str) -> PodSettings:
    """Parse the file.

    Raises:
        Rejected: names the first wrong field.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise Rejected(f"not YAML: {fault}") from fault
    if not isinstance(document, Mapping):
        raise Rejected("must be a mapping with at least `image` and `pools`")
    try:
        return PodSettings.model_validate(document, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Rejected(first["msg"], field=".".join(str(part) for part in first["loc"])) from error
