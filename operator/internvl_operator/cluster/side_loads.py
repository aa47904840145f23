"""What was read of a service's applications, as the load of its two sides. Pure; called by `cluster.load_watch`.

What arrives is counted at the gateway, which also runs while a side has no replica. Two things are not known there:
how long an answer becomes, and how many visual tokens a tile becomes when some are compressed. Both are means over
what was done in the last minutes: of answers that were begun and tiles that were encoded, not of those that arrived,
or a rush would look like short answers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster.load_readings import Readings, Series
from internvl_operator.scaling.capacity import LEAST_EVIDENCE_S, SLOWEST
from internvl_operator.scaling.model import SideLoad, Work, WorkKind
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import BESIDE_PREFILL, Input, Stage

MEMORY_S = 120.0
"""Time constant of the means."""
TYPICAL_ANSWER = 100.0
"""Tokens of an answer while none was begun: what callers allow at most is often many times what they get."""
LEAST_SHARE = 0.02
"""Of the visual tokens at admission that a tile becomes at least."""
LONGEST_BATCH_S = 60.0
"""Replica-seconds without an end of any batch; after more the replicas are stuck, and not slow."""

_ARRIVING = tuple(
    (metric.name, next(iter(labels.values()), ""))
    for metric in (
        metrics.REQUESTS_ADMITTED,
        metrics.TILES_ADMITTED,
        metrics.PROMPT_TOKENS_ADMITTED,
        metrics.OUTPUT_TOKENS_ADMITTED,
    )
    for labels in metric.series(metrics.Role.GATEWAY)
)
"""Every gateway tells these from its first moment: one that is absent is no number, and not zero."""
_WAITING: Mapping[Role, tuple[Series, ...]] = {
    Role.GATEWAY: (
        *((metrics.AWAITED.name, kind) for kind in Input),
        (metrics.AWAITED_TILES.name, ""),
    ),
    Role.VISION: ((metrics.QUEUE_DEPTH.name, Stage.VISION),),
    Role.LANGUAGE: ((metrics.QUEUE_DEPTH.name, Role.LANGUAGE), (metrics.RUNNING_SEQUENCES.name, "")),
}
"""Gauges that every replica of a role tells; a replica without them has not told what waits there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Sums that fade: of what was admitted and what was done, in units."""

    at: float | None = None
    requests: float = 0.0
    tiles: float = 0.0
    prompt_tokens: float = 0.0
    visual_tokens: float = 0.0
    encoded_tiles: float = 0.0
    arrived_visual_tokens: float = 0.0
    asked_tokens: float = 0.0
    """That the answers may have at most."""
    begun: float = 0.0
    decoded_tokens: float = 0.0
    running: float | None = None
    """Answers that were being written in the last round."""
    more_running: float = 0.0
    """How many more than before, fading like the rest."""

    def after(self, main: Readings, vision: Readings | None) -> "Means":
        """With the rates of one more round."""
        past_s = main.window_s if self.at is None else main.at - self.at
        if past_s <= 0:
            return self if past_s == 0 else replace(self, at=main.at)
        past_s = min(past_s, MEMORY_S)
        kept = math.exp(-past_s / MEMORY_S)
        new = {
            "requests": main.rate(metrics.REQUESTS_ADMITTED),
            "tiles": main.rate(metrics.TILES_ADMITTED),
            "prompt_tokens": main.rate(metrics.PROMPT_TOKENS_ADMITTED, "prompt"),
            "visual_tokens": main.rate(metrics.PROMPT_TOKENS_ADMITTED, "visual"),
            "encoded_tiles": 0.0 if vision is None else vision.rate(metrics.WORK, Stage.VISION),
            "arrived_visual_tokens": main.rate(metrics.PROMPT_TOKENS_ARRIVED, "visual"),
            "asked_tokens": main.rate(metrics.OUTPUT_TOKENS_ADMITTED),
            "begun": main.rate(metrics.SEQUENCES_BEGUN),
            "decoded_tokens": main.rate(metrics.WORK, Stage.DECODE),
        }
        running = main.gauge(metrics.RUNNING_SEQUENCES)
        more = 0.0 if self.running is None else running - self.running
        return Means(
            at=main.at,
            running=running,
            more_running=self.more_running * kept + more,
            **{name: getattr(self, name) * kept + rate * past_s for name, rate in new.items()},
        )

    @property
    def answer_tokens(self) -> float:
        """Tokens of one answer, never more than were asked for.

        Of those that have come on top, half is written on the mean.
        """
        most = self.asked_tokens / self.requests if self.requests > 0 else math.inf
        if self.begun < 1 or self.decoded_tokens <= 0:
            return min(most, TYPICAL_ANSWER)
        return min(most, self.decoded_tokens / max(self.begun - self.more_running / 2, self.begun / 2))

    @property
    def visual_share(self) -> float:
        """Visual tokens that a tile becomes, as a share of those that it was admitted with."""
        seen = (self.tiles, self.visual_tokens, self.encoded_tiles, self.arrived_visual_tokens)
        if min(seen) < 1:
            return 1.0
        encoded, admitted = (
            self.arrived_visual_tokens / self.encoded_tiles,
            self.visual_tokens / self.tiles,
        )
        return min(1.0, max(LEAST_SHARE, encoded / admitted))

    @property
    def request_tokens(self) -> float:
        """Prompt and visual tokens of one request; 0 while none was admitted."""
        tokens = self.prompt_tokens + self.visual_tokens * self.visual_share
        return tokens / self.requests if self.requests > 0 else 0.0


@dataclass(slots=True)
class LoadMeter:
    """Turns one service's readings into loads, round by round."""

    key: ServiceKey
    means: Means = field(default_factory=Means)
    full_at: float | None = None
    """When the work of full replicas was taken in last: windows overlap, and each is to be told once."""
    short: dict[WorkKind, Work] = field(default_factory=dict)
    """Work of full replicas that is told with that of the next windows: it took too short to be told by itself, or
    it is a batch that has not ended, whose units will be counted in another window than its seconds."""

    def loads(
        self, readings: Mapping[str, Readings], expected: Mapping[Role, int], silent: str
    ) -> Mapping[Role, SideLoad] | None:
        """Both sides' loads. None while no gateway tells all of what arrives.

        Args:
            readings: by the name of the application.
            expected: replicas that run, by role.
            silent: who did not answer, as the end of a sentence.
        """
        main = readings.get(names.main_application(self.key))
        if main is None or not main.replicas.get(DEPLOYMENTS[Role.GATEWAY]):
            return None
        if not all(series in main.rates for series in _ARRIVING):
            return None
        if not all(series in main.gauges for series in _WAITING[Role.GATEWAY]):
            return None
        vision = readings.get(names.vision_application(self.key))
        self.means = self.means.after(main, vision)
        tells_full = self.full_at is None or not 0 <= main.at - self.full_at < main.window_s
        self.full_at = main.at if tells_full else self.full_at
        found = {Role.VISION: _vision(main, vision), Role.LANGUAGE: _language(main, self.means)}
        return {
            role: replace(
                load,
                work=self._full_told(load.work) if tells_full else _untold(load.work),
                answered_replicas=_answered(role, main, vision, expected),
                expected_replicas=expected.get(role, 0) + expected.get(Role.GATEWAY, 0),
                silent=silent,
            )
            for role, load in found.items()
        }

    def _full_told(self, work: Mapping[WorkKind, Work]) -> Mapping[WorkKind, Work]:
        """With the work of full replicas that was kept back; where it is too little yet, without any.

        Of one replica that mostly decodes, prefill is a tenth of the time or less: never enough in one window.
        """
        whole = {kind: _joined(item, self.short.get(kind)) for kind, item in work.items()}
        short = {kind: item for kind, item in whole.items() if _is_kept_back(item)}
        self.short = {**{kind: item for kind, item in self.short.items() if kind not in whole}, **short}
        return {**whole, **_untold(short)}


def _is_kept_back(work: Work) -> bool:
    seconds = work.seconds_while_full
    has_not_ended = work.done_while_full < SLOWEST * seconds and seconds <= LONGEST_BATCH_S
    return seconds < LEAST_EVIDENCE_S or has_not_ended


def _joined(work: Work, before: Work | None) -> Work:
    if before is None:
        return work
    return replace(
        work,
        done_while_full=work.done_while_full + before.done_while_full,
        seconds_while_full=work.seconds_while_full + before.seconds_while_full,
        outputs_beside=work.outputs_beside + before.outputs_beside,
    )


def _answered(role: Role, main: Readings, vision: Readings | None, expected: Mapping[Role, int]) -> int:
    """Of the replicas of the side and the gateways that run: without either a part of its load is not known.

    Each for itself: a replica that is drained still tells, but not for a gateway that is silent.
    """
    side = vision if role is Role.VISION else main
    told = {
        role: _told(role, side),
        Role.GATEWAY: main.replicas.get(DEPLOYMENTS[Role.GATEWAY], 0),
    }
    return sum(min(count, expected.get(one, 0)) for one, count in told.items())


def _told(role: Role, side: Readings | None) -> int:
    """Replicas that have told what waits in them: a sum in which one of them is no number is none of any."""
    if side is None or not all(series in side.gauges for series in _WAITING[role]):
        return 0
    return side.replicas.get(DEPLOYMENTS[role], 0)


def _vision(main: Readings, vision: Readings | None) -> SideLoad:
    # A queue whose replica is gone waits in the gateway again, and its last figure may still be told.
    tells = vision is not None and vision.replicas.get(DEPLOYMENTS[Role.VISION])
    inside = vision.gauge(metrics.QUEUE_DEPTH, Stage.VISION) if vision is not None and tells else 0.0
    tiles = Work(
        arriving=main.rate(metrics.TILES_ADMITTED),
        waiting=main.gauge(metrics.AWAITED_TILES) + inside,
        done_while_full=_full(vision, metrics.SATURATED_WORK, Stage.VISION),
        seconds_while_full=_full(vision, metrics.SATURATED_SECONDS, Stage.VISION),
    )
    return SideLoad(
        at=main.at,
        window_s=main.window_s,
        work={WorkKind.TILES: tiles},
        requests=main.rate(metrics.REQUESTS_ADMITTED, Input.PICTURES),
        running=main.gauge(metrics.AWAITED, Input.PICTURES),
    )


def _language(main: Readings, means: Means) -> SideLoad:
    # Replicas refuse what is more than they let wait, so that nothing stays before them while there are any.
    has_replicas = bool(main.replicas.get(DEPLOYMENTS[Role.LANGUAGE]))
    waiting = main.gauge(metrics.QUEUE_DEPTH, Role.LANGUAGE) if has_replicas else main.gauge(metrics.AWAITED)
    requests = main.rate(metrics.REQUESTS_ADMITTED)
    most = main.rate(metrics.OUTPUT_TOKENS_ADMITTED)
    answer = means.answer_tokens
    visual = main.rate(metrics.PROMPT_TOKENS_ADMITTED, "visual") * means.visual_share
    prompt = Work(
        arriving=main.rate(metrics.PROMPT_TOKENS_ADMITTED, "prompt") + visual,
        waiting=waiting * means.request_tokens,
        done_while_full=_full(main, metrics.SATURATED_WORK, Stage.PREFILL),
        seconds_while_full=_full(main, metrics.SATURATED_SECONDS, Stage.PREFILL),
        outputs_beside=_full(main, metrics.SATURATED_WORK, BESIDE_PREFILL),
    )
    output = Work(
        arriving=min(most, requests * answer),
        waiting=waiting * answer,
        done_while_full=_full(main, metrics.SATURATED_WORK, Stage.DECODE),
        seconds_while_full=_full(main, metrics.SATURATED_SECONDS, Stage.DECODE),
    )
    return SideLoad(
        at=main.at,
        window_s=main.window_s,
        work={WorkKind.PROMPT_TOKENS: prompt, WorkKind.OUTPUT_TOKENS: output},
        requests=requests,
        running=main.gauge(metrics.RUNNING_SEQUENCES),
    )


def _full(readings: Readings | None, metric: metrics.Metric, stage: str) -> float:
    """Units of the whole window."""
    return 0.0 if readings is None else readings.rate(metric, stage) * readings.window_s


def _untold(work: Mapping[WorkKind, Work]) -> Mapping[WorkKind, Work]:
    nothing = {"done_while_full": 0.0, "seconds_while_full": 0.0, "outputs_beside": 0.0}
    return {kind: replace(item, **nothing) for kind, item in work.items()}
