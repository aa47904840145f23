"""What a user may say about the pods of one role: where they run, their image and environment, and a way out.

The way out, `podPatch`, is guarded by `render.pod_patch`.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from internvl_operator.api.patterns import DATA_KEY_PATTERN, ENV_NAME_PATTERN, IMAGE_PATTERN
from internvl_operator.api.route_spec import ObjectName
from internvl_operator.api.wire import Wire, cel_rules
from internvl_runtimes.contract import pods

OWNED_ENV_PREFIXES = ("RAY_", "INTERNVL_", "KUBERAY_")
OWNED_ENV_NAMES = (
    *(name for name in pods.ENVIRONMENT if not name.startswith(OWNED_ENV_PREFIXES)),
    "FQ_RAY_IP",  # KubeRay's
    "REDIS_PASSWORD",
    "CUDA_VISIBLE_DEVICES",  # Ray's, by what a replica reserves
    "NVIDIA_VISIBLE_DEVICES",  # would show GPUs that the pod does not have
)
OWNED_ENV_MESSAGE = (
    f"belongs to the operator, Ray or the GPU's device plugin ({', '.join(f'{p}*' for p in OWNED_ENV_PREFIXES)}, "
    f"{', '.join(OWNED_ENV_NAMES)}); leave it out"
)
_OWNED_ENV_RULE = f"!{list(OWNED_ENV_PREFIXES)}.exists(prefix, self.startsWith(prefix)) && !(self in {list(OWNED_ENV_NAMES)})"
ONE_VALUE_RULE = "has(self.value) != has(self.valueFrom)"
ONE_VALUE_MESSAGE = "a variable has a value or a valueFrom, not both and not neither"


def _not_owned(name: str) -> str:
    if name.startswith(OWNED_ENV_PREFIXES) or name in OWNED_ENV_NAMES:
        raise ValueError(OWNED_ENV_MESSAGE)
    return name


class TolerationOperator(StrEnum):
    """How a toleration's key is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Wire):
    """A taint that is tolerated, in Kubernetes' words."""

    key: Annotated[str | None, Field(max_length=317, description="Key of the taint. Left out: any.")] = None
    operator: Annotated[
        TolerationOperator | None, Field(description="Exists, or Equal to value. Left out: Equal.")
    ] = None
    value: Annotated[str | None, Field(max_length=63, description="Value of the taint.")] = None
    effect: Annotated[TaintEffect | None, Field(description="Effect of the taint. Left out: all.")] = None
    toleration_seconds: Annotated[
        int | None, Field(strict=True, description="How long a NoExecute taint is tolerated, in seconds.")
    ] = None


class Affinity(Wire):
    """Kubernetes' affinity."""

    node_affinity: Annotated[dict[str, Any] | None, Field(description="Which nodes.")] = None
    pod_affinity: Annotated[dict[str, Any] | None, Field(description="Near which pods.")] = None
    pod_anti_affinity: Annotated[dict[str, Any] | None, Field(description="Far from which pods.")] = None


class PlacementSpec(Wire):
    """Where pods of a role run, besides what its pool says."""

    node_selector: Annotated[
        dict[str, str] | None, Field(description="Labels that a node must have; added to the pool's.")
    ] = None
    tolerations: Annotated[
        tuple[Toleration, ...] | None,
        Field(max_length=32, description="Taints that are tolerated; added to the pool's."),
    ] = None
    affinity: Annotated[
        Affinity | None,
        Field(
            description="Kubernetes' affinity; each of its parts stands in for the same part of the pool's."
        ),
    ] = None


class SecretKeyRef(Wire):
    """A value in a Secret."""

    name: Annotated[ObjectName, Field(description="Name of a Secret in the service's namespace.")]
    key: Annotated[str, Field(max_length=253, pattern=DATA_KEY_PATTERN, description="Key of its data.")]


class EnvValueFrom(Wire):
    """Where a variable's value comes from."""

    secret_key_ref: Annotated[SecretKeyRef, Field(description="A Secret beside the service.")]


class EnvVar(Wire):
    """One environment variable."""

    model_config = ConfigDict(json_schema_extra=cel_rules((ONE_VALUE_RULE, ONE_VALUE_MESSAGE)))

    name: Annotated[
        str,
        Field(
            max_length=128,
            pattern=ENV_NAME_PATTERN,
            description="Name. Those of the operator and of Ray are refused.",
            json_schema_extra=cel_rules((_OWNED_ENV_RULE, OWNED_ENV_MESSAGE)),
        ),
        AfterValidator(_not_owned),
    ]
    value: Annotated[str | None, Field(max_length=4096, description="Its value.")] = None
    value_from: Annotated[EnvValueFrom | None, Field(description="Or where its value lies.")] = None

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(ONE_VALUE_MESSAGE)
        return self


def _named_once(variables: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
    seen: set[str] = set()
    for variable in variables:
        if variable.name in seen:
            raise ValueError(f"{variable.name} is there twice; leave one out")
        seen.add(variable.name)
    return variables


class PodFields(Wire):
    """What each role may say about its pods."""

    image: Annotated[
        str | None,
        Field(
            max_length=512,
            pattern=IMAGE_PATTERN,
            description="Image of the role's pods, built on the runtime's (the same Ray and the same user). Left "
            "out: the administrator's.",
        ),
    ] = None
    env: Annotated[
        tuple[EnvVar, ...],
        Field(
            default_factory=tuple,
            max_length=64,
            description="Environment variables of the role's pods.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        AfterValidator(_named_once),
    ]
    placement: Annotated[
        PlacementSpec | None, Field(description="Where the role's pods run, on top of or instead of a pool.")
    ] = None
    pod_patch: Annotated[
        dict[str, Any] | None,
        Field(
            description="A way out: a merge patch on the template of the role's pods (metadata, spec), where lists "
            "with names are merged by name. It may add volumes, containers, labels and the like; what the operator "
            "made stays, and so does the Pod Security Standard restricted."
        ),
    ] = None
