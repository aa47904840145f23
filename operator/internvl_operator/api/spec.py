"""`spec` of an InternVLService: what a user writes. The one source of the CRD schema and of validation.

A field that does nothing yet is not here. Descriptions are what `kubectl explain` prints.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from internvl_operator.addresses import parse_ray_address
from internvl_operator.api import quantities
from internvl_operator.api.names import Role
from internvl_operator.api.patterns import (
    ADDRESS_PATTERN,
    DURATION_PATTERN,
    MODEL_NAME_PATTERN,
    PATTERN_MESSAGES,
    POOL_PATTERN,
    REVISION_PATTERN,
    URI_PATTERN,
)
from internvl_operator.api.pod_spec import PodFields
from internvl_operator.api.route_spec import HttpRouteSpec, IngressSpec
from internvl_operator.api.scaling_spec import (
    MOST_REPLICAS,
    LanguageCapacity,
    ScaledBy,
    ScalingSpec,
    VisionCapacity,
    seconds_of,
)
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

CLAIM_SCHEME = "pvc://"
CLAIMS_FOLDER = "/models"
"""Where pods have their claims: `pvc://claim/path` is `/models/claim/path` there."""

Pool = Annotated[str, Field(max_length=63, pattern=POOL_PATTERN)]
Replicas = Annotated[int, Field(ge=1, le=MOST_REPLICAS, strict=True)]
LeastReplicas = Annotated[int, Field(ge=0, le=MOST_REPLICAS, strict=True)]

REPLICAS_RULE = "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas"
REPLICAS_MESSAGE = (
    "maxReplicas must be at least minReplicas; equal, or left out, the number is fixed, and above it replicas "
    "follow the load"
)
SCALED_BY_RULE = (
    "!has(self.scaledBy) || self.scaledBy != 'External' || "
    "(has(self.maxReplicas) && self.maxReplicas > self.minReplicas)"
)
SCALED_BY_MESSAGE = (
    "scaledBy: External needs a maxReplicas above minReplicas, because the number is taken between them; set "
    "maxReplicas"
)
ZERO_RULE = (
    "!has(self.minReplicas) || self.minReplicas > 0 || "
    "(has(self.maxReplicas) && !(has(self.scaledBy) && self.scaledBy == 'External'))"
)
ZERO_MESSAGE = (
    "minReplicas 0 needs a maxReplicas, and scaledBy Operator, which starts a replica when a request comes; set "
    "maxReplicas, or minReplicas to 1 or more"
)
WHOLE_RULE = "self.language.minReplicas > 0 || self.vision.minReplicas == 0"
WHOLE_MESSAGE = (
    "language.minReplicas 0 is for the whole service, because a picture needs both sides; set vision.minReplicas to 0 "
    "too, or language.minReplicas to 1 or more"
)
SCHEDULE_RULE = "self.scaling.schedule.all(item, {})".format(
    " && ".join(
        f"(!has(item.{role}) || (has(self.{role}.maxReplicas) && item.{role} <= self.{role}.maxReplicas))"
        for role in ("vision", "language")
    )
)
SCHEDULE_MESSAGE = (
    "scaling.schedule wants more replicas of a side than its maxReplicas, or the side has no maxReplicas; "
    "set vision.maxReplicas and language.maxReplicas to the most that may run"
)
ONE_OWNER_RULE = "self.scaling.schedule.all(item, {})".format(
    " && ".join(
        f"(!has(item.{role}) || !has(self.{role}.scaledBy) || self.{role}.scaledBy != 'External')"
        for role in ("vision", "language")
    )
)
ONE_OWNER_MESSAGE = (
    "scaling.schedule names a side whose number belongs to somebody else by scaledBy: External; remove the side from "
    "the schedule, or scaledBy"
)
BUDGET_RULE = "!has(self.scaling.maxGPUs) || {} <= self.scaling.maxGPUs".format(
    " + ".join(
        f"(has(self.{role}.gpus) ? self.{role}.gpus * self.{role}.minReplicas : 0)"
        for role in ("vision", "language")
    )
)
BUDGET_MESSAGE = "scaling.maxGPUs is less than the GPUs of both sides' minReplicas, which always run; raise it, or lower minReplicas"
WAKING_RULE = (
    "!has(self.scaling.maxGPUs) || self.language.minReplicas > 0 || {} <= self.scaling.maxGPUs".format(
        " + ".join(f"(has(self.{role}.gpus) ? self.{role}.gpus : 0)" for role in ("vision", "language"))
    )
)
WAKING_MESSAGE = (
    "scaling.maxGPUs is less than the GPUs of one vision and one language replica, which a picture starts where both "
    "minReplicas are 0; raise it, or set vision.gpus or language.gpus to less"
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
POD_FIELDS = (
    "gateway.route",
    "gateway.ingress",
    *(f"{role}.{to_camel(field)}" for role in Role for field in PodFields.model_fields),
)
"""What only pods of the service's own can have."""
POD_FIELDS_RULE = f"!has(self.backend) || !({' || '.join(f'has(self.{field})' for field in POD_FIELDS)})"
POD_FIELDS_MESSAGE = (
    f"{', '.join(to_camel(field) for field in PodFields.model_fields)} of a role, gateway.route and gateway.ingress "
    "are about pods of the service's own, which an existing Ray cluster does not have; leave backend out, or remove "
    "them"
)
ONE_ROUTE_RULE = "!has(self.route) || !has(self.ingress)"
ONE_ROUTE_MESSAGE = "gateway has a route or an ingress, not both; remove one"


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


class RoleSpec(PodFields):
    """What both sides have in common."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (REPLICAS_RULE, REPLICAS_MESSAGE),
            (SCALED_BY_RULE, SCALED_BY_MESSAGE),
            (ZERO_RULE, ZERO_MESSAGE),
        )
    )

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
    min_replicas: Annotated[
        LeastReplicas,
        Field(
            description=(
                "Replicas that always run. 0, of vision: none while no picture comes; text is answered as before. 0, of "
                "both sides: none at all while no request comes. What comes then waits until replicas have started."
            )
        ),
    ] = 1
    max_replicas: Annotated[
        Replicas | None,
        Field(
            description="Most replicas. Above minReplicas: the number follows the load of this side. Left out: equal "
            "to minReplicas, a fixed number."
        ),
    ] = None
    scaled_by: Annotated[
        ScaledBy,
        Field(
            description=(
                "Who decides the number between minReplicas and maxReplicas. Operator: the operator, by the load. "
                "External: whoever writes spec.replicas of the InternVLScale <service>-<side>: kubectl scale, a "
                "HorizontalPodAutoscaler, KEDA."
            )
        ),
    ] = ScaledBy.OPERATOR
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

    _may_rest: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _bounded_replicas(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(REPLICAS_MESSAGE)
        if self.scaled_by is ScaledBy.EXTERNAL and not self.is_scaled:
            raise ValueError(SCALED_BY_MESSAGE)
        if self.min_replicas == 0 and (self.max_replicas is None or self.scaled_by is ScaledBy.EXTERNAL):
            raise ValueError(ZERO_MESSAGE)
        self._may_rest = self.min_replicas == 0
        return self

    @property
    def may_rest(self) -> bool:
        """Whether there may be no replica; also told by a copy that asks for the number that is to be."""
        return self._may_rest

    @property
    def most_replicas(self) -> int:
        """`maxReplicas`, or the fixed number."""
        return self.min_replicas if self.max_replicas is None else self.max_replicas

    @property
    def is_scaled(self) -> bool:
        """Whether the number of replicas may change without an edit of the spec."""
        return self.most_replicas > self.min_replicas

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

    capacity: Annotated[
        VisionCapacity | None,
        Field(
            description="What one replica manages, where it is known; measuring begins there. Left out: the number "
            "stays as it is until a replica was full and so was measured."
        ),
    ] = None

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

    capacity: Annotated[
        LanguageCapacity | None,
        Field(
            description="What one replica manages, where it is known; measuring begins there. Left out: the number "
            "stays as it is until a replica was full and so was measured."
        ),
    ] = None

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


class GatewaySpec(PodFields):
    """What answers HTTP."""

    model_config = ConfigDict(json_schema_extra=cel_rules((ONE_ROUTE_RULE, ONE_ROUTE_MESSAGE)))

    replicas: Annotated[
        Replicas,
        Field(description="Gateways. Two on Kubernetes survive the loss of a node without an outage."),
    ] = 1
    route: Annotated[
        HttpRouteSpec | None,
        Field(
            description="An HTTPRoute of the Gateway API for clients outside the cluster, where the administrator "
            "offers it (the chart's value kuberay.routes)."
        ),
    ] = None
    ingress: Annotated[
        IngressSpec | None,
        Field(description="An Ingress for clients outside the cluster, where the administrator offers it."),
    ] = None

    @model_validator(mode="after")
    def _one_route(self) -> Self:
        if self.route is not None and self.ingress is not None:
            raise ValueError(ONE_ROUTE_MESSAGE)
        return self


class RolloutStrategy(StrEnum):
    """How a service goes over to another model, to other pods or to another head of Ray."""

    AUTO = "Auto"
    BESIDE = "Beside"
    IN_PLACE = "InPlace"


class RolloutSpec(Wire):
    """How changes are made."""

    strategy: Annotated[
        RolloutStrategy,
        Field(
            description=(
                "How a service goes over to another model, to other pods, or to another head of Ray, which means "
                "another Ray cluster. Beside: the new one is started "
                "beside the old one, which answers until the new one has passed its probe; it needs the room for "
                "both. InPlace: the same replicas load the new model, requests wait meanwhile, and a model that "
                "does not load takes the service down; where pods change, the old one goes before the new one "
                "comes; for another head the Ray cluster is deleted and made anew. Auto: Beside, and for another "
                "model or head InPlace where there is no room for it."
            )
        ),
    ] = RolloutStrategy.AUTO
    deadline: Annotated[
        str,
        Field(
            max_length=6,
            pattern=DURATION_PATTERN,
            description=(
                "How long new pods, a new model or another Ray cluster may take to start beside the old ones, for "
                "example 30m. Then they are stopped, the old ones go on answering, and an edit of the spec begins "
                "anew."
            ),
        ),
    ] = "30m"

    @property
    def deadline_s(self) -> float:
        """`deadline` in seconds."""
        return seconds_of(self.deadline)


class InternVLServiceSpec(Wire):
    """One InternVL model, served with its two sides apart."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (BACKEND_RULE, BACKEND_MESSAGE),
            (CLAIM_RULE, CLAIM_MESSAGE),
            (POD_FIELDS_RULE, POD_FIELDS_MESSAGE),
            (SCHEDULE_RULE, SCHEDULE_MESSAGE),
            (ONE_OWNER_RULE, ONE_OWNER_MESSAGE),
            (BUDGET_RULE, BUDGET_MESSAGE),
            (WHOLE_RULE, WHOLE_MESSAGE),
            (WAKING_RULE, WAKING_MESSAGE),
        )
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
    scaling: Annotated[
        ScalingSpec,
        Field(
            description="How the numbers of replicas follow the load, where maxReplicas is above minReplicas."
        ),
    ] = ScalingSpec()
    rollout: Annotated[
        RolloutSpec,
        Field(description="How the service goes over to another model, to other pods or to another head."),
    ] = RolloutSpec()

    @model_validator(mode="after")
    def _fields_of_pods(self) -> Self:
        if self.backend is not None and (message := self.wants_pods) is not None:
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _bounds_of_scaling(self) -> Self:
        for item in self.scaling.schedule:
            for floor, side in ((item.vision, self.vision), (item.language, self.language)):
                if floor is not None and (side.max_replicas is None or floor > side.max_replicas):
                    raise ValueError(SCHEDULE_MESSAGE)
                if floor is not None and side.scaled_by is ScaledBy.EXTERNAL:
                    raise ValueError(ONE_OWNER_MESSAGE)
        least = sum((side.gpus or 0) * side.min_replicas for side in (self.vision, self.language))
        if self.scaling.max_gpus is not None and least > self.scaling.max_gpus:
            raise ValueError(BUDGET_MESSAGE)
        return self

    @model_validator(mode="after")
    def _wakes_whole(self) -> Self:
        if self.language.min_replicas > 0:
            return self
        if self.vision.min_replicas > 0:
            raise ValueError(WHOLE_MESSAGE)
        first = (self.vision.gpus or 0) + (self.language.gpus or 0)
        if self.scaling.max_gpus is not None and first > self.scaling.max_gpus:
            raise ValueError(WAKING_MESSAGE)
        return self

    @property
    def wants_pods(self) -> str | None:
        """Why the service cannot live on a Ray cluster of somebody else; None when it can."""
        if self.model.claim is not None:
            return CLAIM_MESSAGE
        return POD_FIELDS_MESSAGE if any(self._has(*field.split(".")) for field in POD_FIELDS) else None

    def _has(self, block: str, field: str) -> bool:
        """CEL's `has`: whether somebody wrote the field."""
        written = getattr(self, block).model_fields_set
        return field in {to_camel(name) for name in written}

    def role(self, role: Role) -> RoleSpec:
        """The block of a role that has one (the gateway has another form)."""
        return {Role.VISION: self.vision, Role.LANGUAGE: self.language}[role]

    def pod_fields(self, role: Role) -> PodFields:
        """What is said about a role's pods."""
        return self.gateway if role is Role.GATEWAY else self.role(role)

    def with_replicas(self, numbers: Mapping[Role, int]) -> Self:
        """A copy that asks for these numbers of the sides; whether one may rest stays as it was written."""
        sides = {
            role.value: self.role(role).model_copy(update={"min_replicas": count})
            for role, count in numbers.items()
        }
        return self.model_copy(update=sides)

    def replicas(self, role: Role) -> int:
        """Replicas that always run of a role; of one that is not scaled, all."""
        return self.gateway.replicas if role is Role.GATEWAY else self.role(role).min_replicas


def parse_spec(mapping: Mapping[str, Any] | None) -> InternVLServiceSpec:
    """Parse `spec` as it came from the API server or a file.

    Raises:
        Rejected: names the first wrong field and says what is wrong with it; of a missing one also what stands in
            its place. The others are only named.
    """
    try:
        return InternVLServiceSpec.model_validate({} if mapping is None else mapping, by_name=False)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        more = dict.fromkeys(_path(one["loc"]) for one in others)
        more.pop(_path(first["loc"]), None)
        beside = f"; wrong too: {', '.join(more)}" if more else ""
        raise Rejected(_sentence(first, others) + beside, field=_path(first["loc"])) from error


def _path(place: tuple[int | str, ...]) -> str:
    return ".".join(["spec", *map(str, place)])


def _sentence(detail: ErrorDetails, others: Sequence[ErrorDetails]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return "this field does not exist; see docs/reference.md, or `kubectl explain internvlservice.spec --recursive`"
        case "missing":
            beside = [one["loc"] for one in others if one["type"] == "extra_forbidden"]
            unknown = [str(loc[-1]) for loc in beside if loc[:-1] == detail["loc"][:-1]]
            return "this field is required" + "".join(f"; there is no {name}" for name in unknown)
        case "model_type" | "model_attributes_type":
            return "must be a mapping of fields"
        case "tuple_type" | "list_type":
            return "must be a list: begin each entry with a dash"
        case "string_type":
            return "must be text; put it in quotes"
        case "string_pattern_mismatch":
            return PATTERN_MESSAGES[detail["ctx"]["pattern"]]
        case _:
            return detail["msg"].removeprefix("Value error, ")
