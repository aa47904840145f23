"""Base of the types that cross the Kubernetes API: frozen, camelCase outside, snake_case inside."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


class Wire(BaseModel):
    """Written by users: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Stored(BaseModel):
    """Written by this operator and read back, perhaps by an older one: unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


def cel_rules(*rules: tuple[str, str], words: str = "") -> JsonDict:
    """CEL rules with their messages, in the form that a CRD schema wants.

    `words` is a CEL expression of the message with values, for all of the rules.
    """
    more: JsonDict = {"messageExpression": words} if words else {}
    return {
        "x-kubernetes-validations": [{"rule": rule, "message": message, **more} for rule, message in rules]
    }


def encode_time(moment: datetime) -> str:
    """Kubernetes' form of a time: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(encode_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in the status. Round it to whole seconds before storing, so that reading it back compares equal."""
