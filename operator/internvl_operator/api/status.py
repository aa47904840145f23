"""`status` of an InternVLService: what the operator says, and the little it needs to remember.

Times move only when what they belong to changes, so an unchanged world gives a byte-equal status.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.names import Role
from internvl_operator.api.wire import Stored, Timestamp


class Condition(Stored):
    """One statement about the service, in Kubernetes' form."""

    type: ConditionType = Field(description="What the condition is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Reason = Field(description="Why, as one of a closed, documented list.")
    message: str = Field(description="Why, as a sentence that says what to do.")
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    observed_generation: int = Field(default=0, description="Generation of the spec this was said about.")


class ScalingStep(Stored):
    """One change of a number of replicas."""

    time: Timestamp = Field(description="When it was decided.")
    before: int = Field(alias="from", description="Replicas before.")
    to: int = Field(description="Replicas after.")
    why: str = Field(description="The sentence behind it, with its numbers.")


class CapacityStatus(Stored):
    """What one replica of a role manages, as far as it is stated or was measured."""

    tiles_per_second: float | None = Field(default=None, description="Tiles encoded, by vision.")
    prompt_tokens_per_second: float | None = Field(
        default=None, description="Tokens of prompts, text and pictures, read by the language model."
    )
    output_tokens_per_second: float | None = Field(
        default=None, description="Tokens of answers written by the language model."
    )


STEPS_KEPT = 10
"""Changes of a number of replicas that the status remembers."""


class RoleStatus(Stored):
    """How one role stands."""

    engine: str | None = Field(
        default=None, description="Engine that executes this role's side of the model."
    )
    desired: Annotated[int, Field(ge=0)] = Field(default=0, description="Replicas that the spec asks for.")
    ready: int | None = Field(default=None, description="Running replicas. Absent: Ray cannot be asked.")
    updated: int | None = Field(
        default=None,
        description="Running replicas of the wanted generation. Absent: Ray cannot be asked, and there were some before.",
    )
    replicas: str = Field(default="", description="Ready and desired replicas, for the printed column.")
    generation: str | None = Field(
        default=None, description="Short hash of all that this role's replicas are made from."
    )
    revision: str | None = Field(
        default=None, description="Digest of the checkpoint that this role had loaded when the probe passed."
    )
    failed_at: Timestamp | None = Field(
        default=None, description="When Ray Serve gave this role up; it is retried some time after."
    )
    attempt: int = Field(default=0, description="How often this role was retried since it was last changed.")
    owner: str | None = Field(
        default=None,
        description=(
            "Who decides the number of replicas: operator, by the load; else the field manager that wrote it last into "
            "the InternVLScale, external while nobody has. Absent: the spec, it is fixed."
        ),
    )
    target: int | None = Field(
        default=None,
        description="Replicas that were decided by the load, or taken from the InternVLScale. Absent: the number is fixed.",
    )
    why: str | None = Field(
        default=None,
        description="Why as many: load, capacity of a replica and reserve, or what bounds the number.",
    )
    capacity: CapacityStatus | None = Field(
        default=None, description="What one replica manages, where the number follows the load."
    )
    last_scaling: tuple[ScalingStep, ...] | None = Field(
        default=None, description="The last ten changes of the number, newest first. Absent: none yet."
    )


class RolesStatus(Stored):
    """All roles."""

    vision: RoleStatus = Field(default=RoleStatus(), description="The vision encoders.")
    language: RoleStatus = Field(default=RoleStatus(), description="The language models.")
    gateway: RoleStatus = Field(default=RoleStatus(), description="The gateway that answers HTTP.")

    def of(self, role: Role) -> RoleStatus:
        """The status of one role."""
        return {Role.VISION: self.vision, Role.LANGUAGE: self.language, Role.GATEWAY: self.gateway}[role]


class ModelStatus(Stored):
    """The model as clients and nodes know it."""

    name: str = Field(description="Name in the OpenAI API.")
    revision: str | None = Field(
        default=None, description="Digest of the checkpoint that answered when the probe last passed."
    )


class FailureStatus(Stored):
    """The last failure, kept after it healed."""

    time: Timestamp = Field(description="When it was first seen.")
    reason: Reason = Field(description="Its reason, from the same list as the conditions'.")
    message: str = Field(description="What happened and what to do.")


class ProbeStatus(Stored):
    """The last probe that passed."""

    subject: str = Field(description="Hash of the generations and of the replicas that were probed.")
    time: Timestamp = Field(description="When it passed.")


class RolloutStage(StrEnum):
    """How far a change of model, of pods or of Ray's head is."""

    PODS = "Pods"
    """New pods start beside the old ones, which answer."""
    BESIDE = "Beside"
    """The new model starts beside the old one, which answers."""
    HANDOVER = "Handover"
    """The new model answers from its stand-in, and the service's own replicas load it."""
    IN_PLACE = "InPlace"
    """The service's own replicas load the new model, or the Ray cluster is made anew; requests wait."""
    WAITING = "Waiting"
    """Other services go over to another head of Ray first; all answers as before."""
    CLUSTER = "Cluster"
    """A second Ray cluster with another head starts beside the one that answers."""
    DRAINING = "Draining"
    """The second Ray cluster answers, and the one before it ends."""
    STOPPED = "Stopped"
    """The new pods, model or Ray cluster did not start; the old ones go on answering."""


class RolloutStatus(Stored):
    """A change of model, of pods or of Ray's head that is under way, or was given up."""

    stage: RolloutStage = Field(
        description="Pods, Beside, Handover, InPlace, Waiting, Cluster, Draining or Stopped."
    )
    generation: int = Field(description="Generation of the spec that is rolled out.")
    since: Timestamp = Field(description="When the rollout of this generation began.")
    head: str | None = Field(
        default=None, description="Hash of the head that is rolled out, where it is a rollout of one."
    )
    message: str = Field(default="", description="Why it is at this stage.")


class ScalingStatus(Stored):
    """What is remembered about the load, so that another operator process goes on from there."""

    memory: str = Field(
        description="Rises of the load, start times and measured capacities, for the operator itself."
    )


class Status(Stored):
    """What the operator reports."""

    observed_generation: int = Field(default=0, description="Generation of the spec that was planned last.")
    url: str | None = Field(default=None, description="Base URL; append /v1/chat/completions.")
    ray_address: str | None = Field(default=None, description="Ray cluster that the service was written to.")
    model: ModelStatus | None = Field(default=None, description="The model that is served.")
    roles: RolesStatus = Field(default=RolesStatus(), description="Replicas and engines by role.")
    probe: ProbeStatus | None = Field(default=None, description="The last probe that passed.")
    rollout: RolloutStatus | None = Field(
        default=None,
        description="A change of model, of pods or of Ray's head that is under way, or was given up.",
    )
    scaling: ScalingStatus | None = Field(
        default=None, description="What is remembered about the load. Absent: no number follows it."
    )
    last_failure: FailureStatus | None = Field(default=None, description="The last failure, healed or not.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready, Progressing, Degraded, VisionReady, LanguageReady, ProbePassed; where replicas follow the load "
        "also ScalingActive, MetricsAvailable.",
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of that type, if it was ever set."""
        return next((item for item in self.conditions if item.type is kind), None)

    def to_mapping(self) -> dict[str, Any]:
        """As written to the API server: camelCase, JSON values, nothing that is absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def parse_stored_status(mapping: Mapping[str, Any] | None) -> Status | None:
    """Read a status back; None when there is none or another version wrote something unreadable.

    A lost memory costs one probe and restarts a back-off, so it is not an error.
    """
    if not mapping:
        return None
    try:
        return Status.model_validate(mapping)
    except ValidationError:
        return None
