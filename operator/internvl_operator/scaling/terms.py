"""The terms of one service: what its spec says about scaling, as the decision reads it."""

from collections.abc import Mapping
from datetime import datetime

from internvl_operator.api.names import Role
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.scaling.model import SIDES, Settings, SideSettings, WorkKind

FIRST_START_S = {Role.VISION: 30.0, Role.LANGUAGE: 180.0}
"""How long a replica takes to start, before one was seen to: an encoder takes seconds, a language model minutes."""


def terms_of(spec: InternVLServiceSpec, *, gpus: Mapping[Role, int], now: datetime) -> Settings | None:
    """How the service is scaled at `now`, which has a time zone; None when all its numbers are fixed.

    `gpus` are those of one replica, with what its pool says. A fixed side is no part of the settings; what it uses of
    the budget is `Observation.elsewhere_gpus`.
    """
    sides = {role: _side(spec, role, gpus.get(role, 0), now) for role in SIDES if spec.role(role).is_scaled}
    if not sides:
        return None
    return Settings(
        sides=sides,
        max_gpus=spec.scaling.max_gpus,
        idle_s=spec.scaling.idle_s,
        first_token_s=spec.scaling.objectives.first_token_s,
    )


def _side(spec: InternVLServiceSpec, role: Role, gpus: int, now: datetime) -> SideSettings:
    block = spec.role(role)
    floor, why = _floor(spec, role, now)
    return SideSettings(
        minimum=block.min_replicas,
        maximum=block.most_replicas,
        floor=floor,
        floor_why=why,
        gpus=gpus,
        capacity=_capacity(spec, role),
        start_s=FIRST_START_S[role],
    )


def _floor(spec: InternVLServiceSpec, role: Role, now: datetime) -> tuple[int, str]:
    """The highest number that an open schedule wants, and which one that is."""
    wanted = [
        (number, f"the schedule '{item.cron}' ({item.time_zone})")
        for item in spec.scaling.schedule
        if (number := item.vision if role is Role.VISION else item.language) and item.is_open(now)
    ]
    return max(wanted, default=(0, ""))


def _capacity(spec: InternVLServiceSpec, role: Role) -> dict[WorkKind, float]:
    if role is Role.VISION:
        tiles = spec.vision.capacity
        return {} if tiles is None else {WorkKind.TILES: tiles.tiles_per_second}
    tokens = spec.language.capacity
    if tokens is None:
        return {}
    return {
        WorkKind.PROMPT_TOKENS: tokens.prompt_tokens_per_second,
        WorkKind.OUTPUT_TOKENS: tokens.output_tokens_per_second,
    }
