"""The InternVLScale: one side's number of replicas, where `kubectl scale`, HPA and KEDA find and may change it.

The operator makes one for each side whose number is not fixed. The one source of its CRD schema, like `spec.py`.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from internvl_operator.api.names import Role
from internvl_operator.api.scaling_spec import MOST_REPLICAS, ScaledBy
from internvl_operator.api.wire import Stored, cel_rules

Side = Literal[Role.VISION, Role.LANGUAGE]
Count = Annotated[int, Field(ge=0, le=MOST_REPLICAS)]

OWNER_RULE = "self.owner != 'Operator' || (has(self.decided) && self.replicas == self.decided)"
OWNER_MESSAGE = (
    "the operator decides this number by the load; to decide it yourself, set spec.vision.scaledBy or "
    "spec.language.scaledBy of the InternVLService to External"
)
OWNER_WORDS = (
    "'the operator decides the number of ' + self.role + ' replicas by their load; to decide it yourself, by kubectl "
    "scale, a HorizontalPodAutoscaler or KEDA, set spec.' + self.role + '.scaledBy: External in the InternVLService'"
)
"""The same for this side, in CEL."""


class InternVLScaleSpec(Stored):
    """The number, and who decides it.

    The API server refuses another number while the operator owns it: whoever scales changes `replicas` alone, and
    the operator changes `decided` in the same write.
    """

    model_config = ConfigDict(json_schema_extra=cel_rules((OWNER_RULE, OWNER_MESSAGE), words=OWNER_WORDS))

    role: Annotated[Side, Field(description="Which side of the service.")]
    owner: Annotated[
        ScaledBy,
        Field(
            description="Who decides the number: scaledBy of the side in the InternVLService, written by the operator."
        ),
    ]
    replicas: Annotated[
        Count,
        Field(
            description="Replicas of the side; taken between minReplicas and maxReplicas of the InternVLService."
        ),
    ]
    decided: Annotated[
        Count | None,
        Field(
            description="What the operator decided, where it is the owner: replicas cannot be another number."
        ),
    ] = None


class InternVLScaleStatus(Stored):
    """What runs."""

    replicas: int = Field(default=0, description="Running replicas.")
    selector: str = Field(
        default="", description="Labels of the side's pods; on a Ray cluster of somebody else there are none."
    )
    owner: str = Field(
        default="", description="Who decides the number: operator, or the field manager that wrote it last."
    )
