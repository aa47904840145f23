"""The decision of one round: `decide(observation, history, settings, now) -> Decision`, pure and total.

Per side `ceil(load + what waits + reserve)` in replicas (`wish.py`), then the budget of both.
`docs/autoscaling.md` tells it in plain words.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from internvl_operator.api.names import Role
from internvl_operator.scaling import budget, sentences
from internvl_operator.scaling.budget import Claim
from internvl_operator.scaling.history import History, SideHistory
from internvl_operator.scaling.mix import Mix
from internvl_operator.scaling.model import (
    FIRST_START_S,
    SIDES,
    Limit,
    Observation,
    Settings,
    SideDecision,
    SideSeen,
    SideSettings,
    side_gpus,
)
from internvl_operator.scaling.numbers import Number
from internvl_operator.scaling.wish import Round, Wish, unusable, wish_of


class Held(Enum):
    """What the budget leaves as it is while there is room for it."""

    UNKNOWN = auto()
    """What a side asked for that does not know how many it needs."""
    IN_PART = auto()
    """What stands of a side whose load is known in part."""
    FIRST = auto()
    """One replica of a side that asks for any: its requests wait without it, and taken again it would be asked for again."""


HELD = (
    frozenset(Held),
    frozenset((Held.FIRST, Held.UNKNOWN)),
    frozenset((Held.FIRST,)),
    frozenset[Held](),
)
"""The first of these that there is room for counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one round decided about one service."""

    sides: Mapping[Role, SideDecision]
    """The sides that were observed."""
    history: History
    """Hand it to the next round."""

    @property
    def targets(self) -> dict[Role, int]:
        """The numbers alone."""
        return {role: side.target for role, side in self.sides.items()}


def decide(observation: Observation, history: History, settings: Settings, now: float) -> Decision:
    """Decide how many replicas each observed side is to have.

    `now` is in seconds since 1970. A side of the observation that has no settings is left alone.
    """
    lived = history.at_time(now)
    this = Round(
        settings=settings,
        now=now,
        clock=lived.clock,
        is_resumed=history.is_resumed(now),
        is_read=history.is_read,
    )
    wishes: dict[Role, Wish] = {}
    for role in SIDES:
        if role in observation.sides and role in settings.sides:
            seen = _with_the_other(role, observation, wishes)
            wishes[role] = wish_of(role, seen, lived.of(role), this)
    mix = _mixed(history, observation, now)
    contested_at = None if this.is_resumed else history.contested_at
    targets, contested_at = _within_budget(
        observation, wishes, settings, pictures=mix.pictures, clock=lived.clock, contested_at=contested_at
    )
    overspent = _overspent(observation, wishes, settings)
    remembered = {role: _with_target(wish.history, targets[role]) for role, wish in wishes.items()}
    others = {role: _released(side) for role, side in lived.sides.items() if role not in wishes}
    return Decision(
        sides={
            role: _decided(
                role,
                observation.sides[role].target,
                wish,
                _paid(role, wish.asked, targets[role], settings, overspent),
                now,
            )
            for role, wish in wishes.items()
        },
        history=replace(lived, sides={**others, **remembered}, mix=mix, contested_at=contested_at),
    )


def _with_the_other(role: Role, observation: Observation, wishes: Mapping[Role, Wish]) -> SideSeen:
    """The side. Language stays while there is vision, or is to be some: a picture needs both."""
    seen, vision = observation.sides[role], wishes.get(Role.VISION)
    if role is Role.VISION or (
        vision is not None and not vision.asked.number and not observation.sides[Role.VISION].target
    ):
        return seen
    return replace(seen, kept=seen.kept or "one is kept while vision has any")


def released(history: History) -> History:
    """What stays of it while somebody else decides: all that was learned, and nothing that was decided."""
    sides = {role: _released(side) for role, side in history.sides.items()}
    return replace(history, sides=sides, contested_at=None)


def _with_target(side: SideHistory, target: int) -> SideHistory:
    return side if side.target == target else replace(side, target=target)


def _released(side: SideHistory) -> SideHistory:
    return replace(side, target=None, asked=None)


def _mixed(history: History, observation: Observation, now: float) -> Mix:
    """With the requests of this window, where both sides count them."""
    loads = [observation.sides[role].load for role in SIDES if role in observation.sides]
    usable = [load for load in loads if load is not None and not unusable(load, now)]
    if len(usable) < len(SIDES):
        return history.mix
    vision, language = usable
    if vision.requests is None or language.requests is None:
        return history.mix
    return history.mix.after(vision.requests, language.requests, at=language.at, window_s=language.window_s)


def _within_budget(
    observation: Observation,
    wishes: Mapping[Role, Wish],
    settings: Settings,
    *,
    pictures: float,
    clock: float,
    contested_at: float | None,
) -> tuple[dict[Role, int], float | None]:
    """The numbers that the budget leaves, and `History.contested_at`."""
    targets = {role: wish.asked.number for role, wish in wishes.items()}
    if settings.max_gpus is None:
        return targets, None
    gpus = settings.max_gpus - observation.elsewhere_gpus
    bounded = {role: wish for role, wish in wishes.items() if settings.sides[role].gpus > 0}
    for held in HELD:
        claims = {role: _claim(wish, settings.sides[role], held) for role, wish in bounded.items()}
        if sum(claim.least * claim.gpus for claim in claims.values()) <= gpus:
            break
    if len(claims) < len(SIDES):
        return {**targets, **{role: budget.alone(claim, gpus) for role, claim in claims.items()}}, None
    split = budget.split(claims[Role.VISION], claims[Role.LANGUAGE], gpus, pictures)
    kept, best = (dict(zip(SIDES, numbers, strict=True)) for numbers in (split.kept, split.best))
    if best == kept:
        return {**targets, **kept}, None
    since = clock if contested_at is None else contested_at
    back_s = max(
        wish.history.starts.usual_s(FIRST_START_S[role])
        for role, wish in bounded.items()
        if claims[role].gives(best[role])
    )
    # What is given up is back after a start at the earliest: it is given up when as long was lost by keeping it.
    if clock - since < back_s:
        return {**targets, **kept}, since
    return {**targets, **best}, None


def _claim(wish: Wish, bounds: SideSettings, held: frozenset[Held]) -> Claim:
    """What the side asks of the budget."""
    number = wish.asked.number
    least = min(max(bounds.minimum, int(Held.FIRST in held)), number)
    if wish.need is None:
        least = number if Held.UNKNOWN in held else least
    elif not wish.is_whole and Held.IN_PART in held:
        least = max(least, min(wish.standing, number))
    return Claim(
        least=least,
        wanted=number,
        needed=number if wish.need is None else wish.need.total,
        now=wish.standing,
        gpus=bounds.gpus,
    )


def _overspent(observation: Observation, roles: Iterable[Role], settings: Settings) -> str:
    """That what always runs takes more than the budget; empty where it does not."""
    if settings.max_gpus is None:
        return ""
    elsewhere = observation.elsewhere_gpus
    least = elsewhere + side_gpus(settings.sides, {role: settings.sides[role].minimum for role in roles})
    if least <= settings.max_gpus:
        return ""
    whose = "minReplicas and the other side" if elsewhere else "minReplicas of both sides"
    return f"{whose} take {least} GPUs, but scaling.maxGPUs is {settings.max_gpus}"


def _paid(role: Role, asked: Number, target: int, settings: Settings, overspent: str) -> Number:
    """What was asked for, as the budget leaves it."""
    why = overspent or f"scaling.maxGPUs is {settings.max_gpus} for both sides"
    if target < asked.number:
        note = f"{asked.number} are wanted, but {why}"
        return Number(number=target, limit=Limit.BUDGET, note=note)
    if not overspent or not settings.sides[role].gpus:
        return asked
    if asked.limit is Limit.UNKNOWN:
        return replace(asked, note=f"{asked.note}; {why}")
    return replace(asked, limit=Limit.BUDGET, note=why)


def _decided(role: Role, before: int, wish: Wish, given: Number, now: float) -> SideDecision:
    until = "" if given.until_s is None else sentences.not_before(now + given.until_s)
    why = "; ".join(part for part in (wish.sum_text, given.note, until) if part)
    return SideDecision(
        target=given.number,
        why=f"{sentences.head(role, before, given.number)}: {why}",
        limited_by=given.limit,
        needed=None if wish.need is None else wish.need.total,
        load=None if wish.need is None else wish.need.load,
        until_s=given.until_s,
        capacity={kind: capacity.value for kind, capacity in wish.history.capacity.items()},
    )
