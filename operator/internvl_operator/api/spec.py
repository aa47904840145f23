"""`spec` of an InternVLService: what a user writes. The one source of the CRD schema and of validation.

A field that does nothing yet is not here. Descriptions are what `kubectl explain` prints.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from internvl_operator.addresses import parse_ray_address
from internvl_operator.api import quantities
from internvl_operator.api.names import Role
from internvl_operator.api.wire import Wire, cel_rules
from internvl_operator.errors import Rejected
from internvl_runtimes.contract.serve_args import LanguageEngineName, VisionEngineName


def _quantity_text(value: object) -> object:
    """Integers are quantities too; a bool is not, and a float would lose digits on its way."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked_cpu(value: object) -> object:
    text = _quantity_text(value)
    if isinstance(text, str):
        quantities.parse_cpu(text)
    return text


def _checked_memory(value: object) -> object:
    text = _quantity_text(value)
    if isinstance(text, str):
        quantities.parse_memory(text)
    return text


def _quantity_schema(pattern: str, least: str, most: str, message: str) -> WithJsonSchema:
    """An integer or a string; bounded by CEL, which has Kubernetes' own quantities."""
    text = "string(self)"
    rule = (
        f'{text}.matches(r"{pattern}") && quantity({text}).compareTo(quantity("{least}")) >= 0 '
        f'&& quantity({text}).compareTo(quantity("{most}")) <= 0'
    )
    return WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 24,
            "x-kubernetes-int-or-string": True,
            **cel_rules((rule, message)),
        }
    )


Cpu = Annotated[
    str,
    BeforeValidator(_checked_cpu),
    _quantity_schema(
        quantities.CPU_PATTERN,
        "100m",
        "1024",
        "must be cores (2, '1.5') or millicores ('500m'), at least 100m and at most 1024",
    ),
]
Memory = Annotated[
    str,
    BeforeValidator(_checked_memory),
    _quantity_schema(
        quantities.MEMORY_PATTERN,
        "64Mi",
        "64Ti",
        "must be for example '4Gi', '500M' or bytes, at least 64Mi and at most 64Ti",
    ),
]

URI_PATTERN = r"^(file:///[^\s?#]*[^\s?#/]/*|pvc://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/[^\s?#]*)?)$"
REVISION_PATTERN = r"^sha256:[0-9a-f]{12,64}$"
MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
ADDRESS_PATTERN = r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?$"
DURATION_PATTERN = r"^[1-9][0-9]{0,4}[smh]$"
POOL_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
PATTERN_MESSAGES = {
    URI_PATTERN: (
        "must be file:///absolute/path of a checkpoint folder on the Ray nodes, or pvc://claim/path in a "
        "PersistentVolumeClaim beside the service (no other scheme works yet)"
    ),
    REVISION_PATTERN: "must be 'sha256:' and the first 12 to 64 hex digits of the checkpoint's digest",
    MODEL_NAME_PATTERN: "must begin with a letter or digit and go on with letters, digits and . _ : / -",
    ADDRESS_PATTERN: "must be http://host:port of the Ray dashboard, without path, user or query",
    DURATION_PATTERN: "must be a number of seconds, minutes or hours: 90s, 30m or 2h",
    POOL_PATTERN: "must begin and end with a letter or digit, with letters, digits and - _ . between",
}
"""What is wrong when a field does not match its pattern: the same words from the API server and from us."""

CLAIM_SCHEME = "pvc://"
CLAIMS_FOLDER = "/models"
"""Where pods have their claims: `pvc://claim/path` is `/models/claim/path` there."""

Pool = Annotated[str, Field(max_length=63, pattern=POOL_PATTERN)]
Replicas = Annotated[int, Field(ge=1, le=256, strict=True)]

REPLICAS_RULE = "!has(self.maxReplicas) || self.maxReplicas == self.minReplicas"
REPLICAS_MESSAGE = (
    "maxReplicas must equal minReplicas, because replicas are not scaled by load yet; "
    "set both to the same number, or leave maxReplicas out"
)
BACKEND_RULE = (
    "has(self.backend) == has(oldSelf.backend) && "
    "(!has(self.backend) || self.backend.ray.address == oldSelf.backend.ray.address)"
)
BACKEND_MESSAGE = (
    "backend cannot be changed, because what runs at the old address would be left there; "
    "delete the service and create it again"
)


CLAIM_RULE = "!self.model.uri.startsWith('pvc://') || !has(self.backend)"
CLAIM_MESSAGE = (
    "model.uri pvc:// needs pods of the service's own, which an existing Ray cluster does not have; "
    "leave backend out, or mount the claim on its nodes and write file:///path"
)


class ModelSpec(Wire):
    """Which checkpoint is served."""

    uri: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=URI_PATTERN,
            description=(
                "Where the checkpoint folder lies: file:///absolute/path, as seen on each Ray node of both "
                "pools, or pvc://claim/path in a PersistentVolumeClaim of the service's namespace, mounted "
                "read-only into its pods. The folder has InternVL's published layout: config.json, "
                "safetensors, a tokenizer."
            ),
        ),
    ]
    revision: Annotated[
        str | None,
        Field(
            max_length=71,
            pattern=REVISION_PATTERN,
            description=(
                "Digest that the checkpoint must have: sha256: and its first 12 to 64 hex digits. "
                "Left out: whatever lies there is served; the status shows its digest."
            ),
        ),
    ] = None
    name: Annotated[
        str | None,
        Field(
            max_length=128,
            pattern=MODEL_NAME_PATTERN,
            description="Name of the model in the OpenAI API. Left out: the last part of uri.",
        ),
    ] = None

    @property
    def served_name(self) -> str:
        """`name`, or the last part of `uri`."""
        return self.name or self.uri.rstrip("/").rpartition("/")[2]

    @property
    def claim(self) -> str | None:
        """The PersistentVolumeClaim that the checkpoint lies in, if it lies in one."""
        return (
            self.uri.removeprefix(CLAIM_SCHEME).partition("/")[0]
            if self.uri.startswith(CLAIM_SCHEME)
            else None
        )

    @property
    def seen_uri(self) -> str:
        """`file:///...` as a replica sees it: a claim is mounted below `CLAIMS_FOLDER`."""
        if self.claim is None:
            return self.uri
        return f"file://{CLAIMS_FOLDER}/{self.uri.removeprefix(CLAIM_SCHEME).rstrip('/')}"


def _normal_address(text: str) -> str:
    try:
        return parse_ray_address(text)
    except Rejected as fault:
        raise ValueError(fault.message) from fault


class RayBackendSpec(Wire):
    """A Ray cluster that somebody else runs."""

    address: Annotated[
        str,
        Field(
            max_length=256,
            pattern=ADDRESS_PATTERN,
            description="Address of the Ray dashboard, for example http://ray-head:8265.",
        ),
        AfterValidator(_normal_address),
    ]


class BackendSpec(Wire):
    """What places the replicas."""

    ray: Annotated[RayBackendSpec, Field(description="An existing Ray cluster, driven by its REST API.")]


class RoleSpec(Wire):
    """What both sides have in common."""

    model_config = ConfigDict(json_schema_extra=cel_rules((REPLICAS_RULE, REPLICAS_MESSAGE)))

    pool: Annotated[
        Pool | None,
        Field(
            description=(
                "Where replicas run. On Kubernetes: a pool that the administrator offers (the chart's value "
                "pools). On an existing Ray cluster: nodes with the label serving.internvl.io/pool of this "
                "value (ray start --labels=serving.internvl.io/pool=<pool>); left out, any node."
            )
        ),
    ] = None
    gpus: Annotated[
        int | None,
        Field(
            ge=0,
            le=64,
            strict=True,
            description="GPUs that one replica reserves. Left out: what the pool says, else none.",
        ),
    ] = None
    min_replicas: Annotated[Replicas, Field(description="Replicas that always run.")] = 1
    max_replicas: Annotated[
        Replicas | None,
        Field(
            description="Most replicas. It must equal minReplicas for now. Left out: equal to minReplicas."
        ),
    ] = None
    cpu: Annotated[
        Cpu,
        Field(
            description=(
                "CPU that one replica reserves on its node, as cores (2, '1.5') or millicores ('500m'). "
                "The engine uses as many threads, rounded up."
            )
        ),
    ] = "1"
    memory: Annotated[
        Memory | None,
        Field(description="Memory that one replica reserves on its node, for example 4Gi. Left out: none."),
    ] = None

    @model_validator(mode="after")
    def _fixed_replicas(self) -> Self:
        if self.max_replicas is not None and self.max_replicas != self.min_replicas:
            raise ValueError(REPLICAS_MESSAGE)
        return self

    @property
    def cores(self) -> Decimal:
        """`cpu` as a number."""
        return quantities.parse_cpu(self.cpu)

    @property
    def threads(self) -> int:
        """Engine threads of one replica: its cores, rounded up."""
        return math.ceil(self.cores)

    @property
    def memory_bytes(self) -> int | None:
        """`memory` as a number."""
        return None if self.memory is None else quantities.parse_memory(self.memory)


class VisionSpec(RoleSpec):
    """The vision side: tiles, vision transformer, projector."""

    engine: Annotated[VisionEngineName, Field(description="What executes the vision encoder.")] = (
        VisionEngineName.ONNXRUNTIME
    )
    max_tiles_per_image: Annotated[
        int | None,
        Field(
            ge=1,
            le=40,
            strict=True,
            description="Most tiles cut from one picture; the thumbnail comes on top. Left out: the checkpoint's.",
        ),
    ] = None


class LanguageSpec(RoleSpec):
    """The language side: prompt and features to tokens."""

    engine: Annotated[LanguageEngineName, Field(description="What executes the language model.")] = (
        LanguageEngineName.ONNXRUNTIME
    )
    max_model_len: Annotated[
        int | None,
        Field(
            ge=16,
            le=1_048_576,
            strict=True,
            description="Most tokens of prompt and answer together. Left out: the checkpoint's.",
        ),
    ] = None


class GatewaySpec(Wire):
    """What answers HTTP."""

    replicas: Annotated[
        Replicas,
        Field(description="Gateways. Two on Kubernetes survive the loss of a node without an outage."),
    ] = 1


class RolloutStrategy(StrEnum):
    """How a service goes over to another model or to other pods."""

    AUTO = "Auto"
    BESIDE = "Beside"
    IN_PLACE = "InPlace"


class RolloutSpec(Wire):
    """How changes are made."""

    strategy: Annotated[
        RolloutStrategy,
        Field(
            description=(
                "How a service goes over to another model, or to other pods. Beside: the new one is started "
                "beside the old one, which answers until the new one has passed its probe; it needs the room for "
                "both. InPlace: the same replicas load the new model, requests wait meanwhile, and a model that "
                "does not load takes the service down; where pods change, the old one goes before the new one "
                "comes. Auto: Beside, and for another model InPlace where there is no room for it."
            )
        ),
    ] = RolloutStrategy.AUTO
    deadline: Annotated[
        str,
        Field(
            max_length=6,
            pattern=DURATION_PATTERN,
            description=(
                "How long new pods or a new model may take to start beside the old ones, for example 30m. Then "
                "they are stopped, the old ones go on answering, and an edit of the spec begins anew."
            ),
        ),
    ] = "30m"

    @property
    def deadline_s(self) -> float:
        """`deadline` in seconds."""
        return float(self.deadline[:-1]) * {"s": 1, "m": 60, "h": 3600}[self.deadline[-1]]


class InternVLServiceSpec(Wire):
    """One InternVL model, served with its two sides apart."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules((BACKEND_RULE, BACKEND_MESSAGE), (CLAIM_RULE, CLAIM_MESSAGE))
    )

    model: Annotated[ModelSpec, Field(description="Which checkpoint is served.")]
    backend: Annotated[
        BackendSpec | None,
        Field(
            description=(
                "What places the replicas. Left out: the Ray cluster of the operator's settings, or, where "
                "they name none, a Ray cluster of the service's own in pods made by KubeRay."
            )
        ),
    ] = None
    vision: Annotated[VisionSpec, Field(description="The vision encoders: their pool, number and size.")] = (
        VisionSpec()
    )
    language: Annotated[
        LanguageSpec, Field(description="The language models: their pool, number and size.")
    ] = LanguageSpec()
    gateway: Annotated[GatewaySpec, Field(description="The HTTP side: how many of it.")] = GatewaySpec()
    rollout: Annotated[
        RolloutSpec, Field(description="How the service goes over to another model or to other pods.")
    ] = RolloutSpec()

    @model_validator(mode="after")
    def _claim_in_pods(self) -> Self:
        if self.model.claim is not None and self.backend is not None:
            raise ValueError(CLAIM_MESSAGE)
        return self

    def role(self, role: Role) -> RoleSpec:
        """The block of a role that has one (the gateway has another form)."""
        return {Role.VISION: self.vision, Role.LANGUAGE: self.language}[role]

    def replicas(self, role: Role) -> int:
        """Replicas that are wanted of a role."""
        return self.gateway.replicas if role is Role.GATEWAY else self.role(role).min_replicas


def parse_spec(mapping: Mapping[str, Any] | None) -> InternVLServiceSpec:
    """Parse `spec` as it came from the API server or a file.

    Raises:
        Rejected: names the first wrong field and says what is wrong with it.
    """
    try:
        return InternVLServiceSpec.model_validate({} if mapping is None else mapping, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(["spec", *(str(part) for part in first["loc"])])
        raise Rejected(_sentence(first), field=path) from error


def _sentence(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return "this field does not exist; see `kubectl explain internvlservice.spec --recursive`"
        case "missing":
            return "this field is required"
        case "model_type" | "model_attributes_type":
            return "must be a mapping of fields"
        case "string_type":
            return "must be text; put it in quotes"
        case "string_pattern_mismatch":
            return PATTERN_MESSAGES[detail["ctx"]["pattern"]]
        case _:
            return detail["msg"].removeprefix("Value error, ")
