"""The operator's own rule: `internvl_operator.scaling.decide`, fed with what the operator would have seen.

Twice: a service whose user states what a replica manages (`spec.vision.capacity`, `spec.language.capacity`; here the
site's own speeds), and one whose user states nothing, so that a number is held until a replica was full. How long a
replica takes to start cannot be stated: both begin with `FIRST_START_S`, and go on with the starts they have seen.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from e2e.bench.autoscaling.policies.base import Context, Entry, Setting, grid
from e2e.bench.autoscaling.simulator.sample import Full, Sample, SideSample, Targets
from internvl_operator.api.names import Role
from internvl_operator.scaling.capacity import LEAST_EVIDENCE_S
from internvl_operator.scaling.decide import decide
from internvl_operator.scaling.history import History
from internvl_operator.scaling.model import (
    Observation,
    Settings,
    SideLoad,
    SideSeen,
    SideSettings,
    Work,
    WorkKind,
)

ROUND_S, WINDOW_S = 1.0, 5.0
"""Between two rounds, and of rates: the operator's, where it reads the nodes' pages."""
AGE_S = 1.0
"""From what happened to what was decided on it: half a report, and the write."""
EPOCH_S = 1.7e9
"""The decision wants seconds since 1970."""


class Ours:
    """Remembers the history between rounds, as the operator does.

    Args:
        settings: of the service.
        interval_s: between two rounds.
        age_s: from a sample to what was decided on it.
        window_s: of rates.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        interval_s: float = ROUND_S,
        age_s: float = AGE_S,
        window_s: float = WINDOW_S,
    ) -> None:
        self.interval_s = interval_s
        self.age_s = age_s
        self._settings = settings
        self._history = History()
        self._samples: deque[Sample] = deque(maxlen=round(window_s / interval_s) + 1)
        self._window_s = window_s
        self._told_at = -math.inf
        self._told: dict[WorkKind, Full] = {}
        """Of the work of full replicas, what the rule was told of, and when: once a window, as the operator is."""

    def decide(self, sample: Sample) -> Targets:
        """One round of the operator."""
        self._samples.append(sample)
        before = self._samples[0]
        self._tells_full = sample.at - self._told_at >= self._window_s
        if self._tells_full:
            self._told_at = sample.at
        if before is sample:
            return Targets(0 if sample.vision is None else sample.vision.target, sample.language.target)
        seen = {Role.LANGUAGE: self._seen(Role.LANGUAGE, before.language, sample.language, sample, before)}
        if sample.vision is not None and before.vision is not None:
            seen[Role.VISION] = self._seen(Role.VISION, before.vision, sample.vision, sample, before)
        decision = decide(Observation(sides=seen), self._history, self._settings, EPOCH_S + sample.at)
        self._history = decision.history
        return Targets(decision.targets.get(Role.VISION, 0), decision.targets[Role.LANGUAGE])

    def _seen(self, role: Role, old: SideSample, new: SideSample, sample: Sample, before: Sample) -> SideSeen:
        seconds = sample.at - before.at
        if role is Role.VISION:
            work = {
                WorkKind.TILES: Work(arriving=(new.arrived - old.arrived) / seconds, waiting=new.waiting),
            }
            full = {WorkKind.TILES: new.full}
        else:
            prompt = new.arrived_prompt_tokens - old.arrived_prompt_tokens
            output = new.arrived_output_tokens - old.arrived_output_tokens
            work = {
                WorkKind.PROMPT_TOKENS: Work(arriving=prompt / seconds, waiting=new.waiting_prompt_tokens),
                WorkKind.OUTPUT_TOKENS: Work(arriving=output / seconds, waiting=new.waiting_output_tokens),
            }
            full = {WorkKind.PROMPT_TOKENS: new.full, WorkKind.OUTPUT_TOKENS: new.full_output}
        return SideSeen(
            load=SideLoad(
                at=EPOCH_S + sample.at,
                window_s=seconds,
                work={kind: self._with_full(kind, item, full[kind]) for kind, item in work.items()},
                requests=(new.arrived_requests - old.arrived_requests) / seconds,
                running=new.running,
                answered_replicas=new.ready,
                expected_replicas=new.ready,
            ),
            target=new.target,
            ready=new.ready,
        )

    def _with_full(self, kind: WorkKind, work: Work, full: Full) -> Work:
        """What is too little to be measured is told with that of the next rounds, as the operator's readings are."""
        told = self._told.get(kind, Full())
        seconds = full.seconds - told.seconds
        if not self._tells_full or seconds < LEAST_EVIDENCE_S:
            return work
        self._told[kind] = full
        return replace(
            work,
            done_while_full=full.done - told.done,
            seconds_while_full=seconds,
            outputs_beside=full.outputs - told.outputs,
        )


def make(context: Context, setting: Setting) -> Ours:
    """The rule where the user states what a replica manages, with what tuning has set."""
    site = context.site
    return _make(
        context,
        setting,
        {
            Role.VISION: {WorkKind.TILES: site.vision.tiles_per_s},
            Role.LANGUAGE: {
                WorkKind.PROMPT_TOKENS: site.language.prompt_tokens_per_s,
                WorkKind.OUTPUT_TOKENS: site.language.output_tokens_per_s,
            },
        },
    )


def make_unstated(context: Context, setting: Setting) -> Ours:
    """The rule where the user states nothing."""
    return _make(context, setting, {Role.VISION: {}, Role.LANGUAGE: {}})


def _make(context: Context, setting: Setting, stated: Mapping[Role, Mapping[WorkKind, float]]) -> Ours:
    sides = {
        Role.VISION: (context.vision, context.site.vision.gpus),
        Role.LANGUAGE: (context.language, context.site.language.gpus),
    }
    return Ours(
        Settings(
            sides={
                role: SideSettings(
                    minimum=side.least(setting), maximum=side.most, gpus=gpus, capacity=stated[role]
                )
                for role, (side, gpus) in sides.items()
            },
            first_token_s=setting.get("first_token_s", context.site.objectives.first_token_s),
        )
    )


ENTRY = Entry(
    name="ours",
    title="this operator",
    make=make,
    default={},
    sweep=grid(first_token_s=(0.5, 2.0, 4.0), least=(0.0, 0.8)),
)

UNSTATED = Entry(
    name="ours-unstated",
    title="this operator, nothing stated",
    make=make_unstated,
    default={},
    sweep=(),
)
