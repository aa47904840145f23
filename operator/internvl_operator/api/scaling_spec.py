"""`spec.scaling`, and what a role states about one replica: how the numbers of replicas follow the load."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from internvl_operator.api.patterns import (
    CRON_PATTERN,
    DURATION_PATTERN,
    IDLE_PATTERN,
    OBJECTIVE_PATTERN,
    TIME_ZONE_PATTERN,
)
from internvl_operator.api.wire import Wire, cel_rules

LEAST_RATE = 0.001
RATE_RULE, RATE_MESSAGE = f"self >= {LEAST_RATE}", f"should be greater than or equal to {LEAST_RATE}"
"""Said once more: of a whole number the API server asks only whether it is at least 0, the minimum without its digits."""
Rate = Annotated[
    float,
    Field(ge=LEAST_RATE, le=10_000_000, json_schema_extra=cel_rules((RATE_RULE, RATE_MESSAGE))),
]
MOST_REPLICAS = 256
_DURATION_CHARS = 32
"""Most of a duration: more than any right one has, so that a wrong one is told what is right."""
_BEYOND_BOTH = timedelta(hours=3)
"""Later than both hours that a clock shows twice when it is set back."""


def seconds_of(duration: str) -> float:
    """`500ms`, `90s`, `30m` or `2h` in seconds."""
    unit = duration.lstrip("0123456789")
    return float(duration.removesuffix(unit)) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


class VisionCapacity(Wire):
    """What one vision replica manages."""

    tiles_per_second: Annotated[Rate, Field(description="Tiles that one replica encodes in a second.")]


class LanguageCapacity(Wire):
    """What one replica of the language model manages."""

    prompt_tokens_per_second: Annotated[
        Rate,
        Field(
            description="Tokens of prompts, text and pictures, that one replica reads in a second while it does nothing else."
        ),
    ]
    output_tokens_per_second: Annotated[
        Rate,
        Field(
            description="Tokens of answers that one full replica writes in a second, of all answers together."
        ),
    ]


class ScalingMode(StrEnum):
    """Who acts on a decision about replicas."""

    AUTO = "Auto"
    RECOMMEND = "Recommend"


class ScaledBy(StrEnum):
    """Who decides the number of a side's replicas."""

    OPERATOR = "Operator"
    EXTERNAL = "External"


class Objectives(Wire):
    """What the replicas must suffice for."""

    time_to_first_token: Annotated[
        str,
        Field(
            max_length=_DURATION_CHARS,
            pattern=OBJECTIVE_PATTERN,
            description=(
                "How long a request may take to its first token, for example 500ms. The shorter, the more replicas "
                "are kept for requests that come in together by chance."
            ),
        ),
    ] = "1s"  # noqa: S105 - a duration

    @property
    def first_token_s(self) -> float:
        """`timeToFirstToken` in seconds."""
        return seconds_of(self.time_to_first_token)


def _known_cron(text: str) -> str:
    try:
        next(CronSim(text, datetime(2026, 1, 1)))  # noqa: DTZ001 - only whether it comes at all
    except (CronSimError, StopIteration) as fault:
        raise ValueError(
            "must be minute, hour, day of the month, month and day of the week of a time that comes: '0 8 * * 1-5'"
        ) from fault
    return text


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as fault:
        raise ValueError("must be a time zone of the IANA database: 'Europe/Berlin' or 'UTC'") from fault
    return name


SIDE_RULE = "has(self.vision) || has(self.language)"
SIDE_MESSAGE = "an entry says how many replicas of which side; set its vision or its language, or both"


class ScheduleSpec(Wire):
    """Replicas that run at certain times whatever the load is."""

    model_config = ConfigDict(json_schema_extra=cel_rules((SIDE_RULE, SIDE_MESSAGE)))

    cron: Annotated[
        str,
        Field(
            max_length=64,
            pattern=CRON_PATTERN,
            description="When it begins: minute, hour, day of the month, month, day of the week. '0 8 * * 1-5' is 8:00 on weekdays.",
        ),
        AfterValidator(_known_cron),
    ]
    time_zone: Annotated[
        str,
        Field(
            max_length=64,
            pattern=TIME_ZONE_PATTERN,
            description="Time zone that cron is in, for example Europe/Berlin; changes of its clock are followed.",
        ),
        AfterValidator(_known_zone),
    ] = "UTC"
    duration: Annotated[
        str,
        Field(
            max_length=_DURATION_CHARS,
            pattern=DURATION_PATTERN,
            description="How long it lasts, for example 10h.",
        ),
    ]
    vision: Annotated[
        int | None,
        Field(ge=0, le=MOST_REPLICAS, strict=True, description="Least vision replicas meanwhile."),
    ] = None
    language: Annotated[
        int | None,
        Field(ge=0, le=MOST_REPLICAS, strict=True, description="Least language replicas meanwhile."),
    ] = None

    @model_validator(mode="after")
    def _some_side(self) -> Self:
        if self.vision is None and self.language is None:
            raise ValueError(SIDE_MESSAGE)
        return self

    def is_open(self, now: datetime) -> bool:
        """Whether it lasts at `now`, which has a time zone.

        CronSim tells the two hours that a clock shows twice apart only when it comes from outside of them.
        """
        zone = ZoneInfo(self.time_zone)
        local = now.astimezone(zone)
        is_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        after = now + (_BEYOND_BOTH if is_twice else timedelta(seconds=1))
        begins = CronSim(self.cron, after.astimezone(zone), reverse=True)
        begun = next((one for one in begins if one <= now), None)
        return begun is not None and (now - begun).total_seconds() < seconds_of(self.duration)


class ScalingSpec(Wire):
    """How the numbers of replicas follow the load, between minReplicas and maxReplicas of each side."""

    mode: Annotated[
        ScalingMode,
        Field(
            description=(
                "Auto: the operator writes the numbers that it decides. Recommend: it only says them in the status, "
                "and the numbers stay as they are."
            )
        ),
    ] = ScalingMode.AUTO
    max_gpus: Annotated[
        int | None,
        Field(
            alias="maxGPUs",
            ge=1,
            le=4096,
            strict=True,
            description=(
                "Most GPUs of both sides together, spent where most requests gain from it. Left out: only maxReplicas "
                "bounds them."
            ),
        ),
    ] = None
    objectives: Annotated[Objectives, Field(description="What the replicas must suffice for.")] = Objectives()
    idle: Annotated[
        str,
        Field(
            max_length=_DURATION_CHARS,
            pattern=IDLE_PATTERN,
            description=(
                "Where vision.minReplicas is 0: after so long without a picture no vision replica is kept, for example "
                "10m, at least 45s. Where language.minReplicas is 0 too: after so long without any request none at all. "
                "What comes next waits until replicas have started."
            ),
        ),
    ] = "10m"
    schedule: Annotated[
        tuple[ScheduleSpec, ...],
        Field(max_length=16, description="Times at which more replicas than minReplicas run in any case."),
    ] = ()

    @property
    def idle_s(self) -> float:
        """`idle` in seconds."""
        return seconds_of(self.idle)
