"""The operator's own rule: `internvl_operator.scaling.decide`, fed with what the operator would have seen."""

from collections import deque

from e2e.bench.autoscaling.policies.base import Context, Entry, Setting, SideContext, grid
from e2e.bench.autoscaling.simulator.sample import Full, Sample, SideSample, Targets
from internvl_operator.api.names import Role
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

ROUND_S = 5.0
"""Between two rounds; rates are over as long."""
AGE_S = 2.5
"""From a sample to what was decided on it."""
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
        window_s: float = ROUND_S,
    ) -> None:
        self.interval_s = interval_s
        self.age_s = age_s
        self._settings = settings
        self._history = History()
        self._samples: deque[Sample] = deque(maxlen=round(window_s / interval_s) + 1)

    def decide(self, sample: Sample) -> Targets:
        """One round of the operator."""
        self._samples.append(sample)
        before = self._samples[0]
        if before is sample:
            return Targets(0 if sample.vision is None else sample.vision.target, sample.language.target)
        seen = {Role.LANGUAGE: _seen(Role.LANGUAGE, before.language, sample.language, sample, before)}
        if sample.vision is not None and before.vision is not None:
            seen[Role.VISION] = _seen(Role.VISION, before.vision, sample.vision, sample, before)
        decision = decide(Observation(sides=seen), self._history, self._settings, EPOCH_S + sample.at)
        self._history = decision.history
        return Targets(decision.targets.get(Role.VISION, 0), decision.targets[Role.LANGUAGE])


def make(context: Context, setting: Setting) -> Ours:
    """The rule as whoever tunes it has set it."""
    return Ours(_settings(context, setting))


def _settings(context: Context, setting: Setting) -> Settings:
    site = context.site
    return Settings(
        sides={
            Role.VISION: _side(
                context.vision,
                setting,
                site.vision.gpus,
                {WorkKind.TILES: site.vision.tiles_per_s},
                site.vision.start.total_s,
            ),
            Role.LANGUAGE: _side(
                context.language,
                setting,
                site.language.gpus,
                {
                    WorkKind.PROMPT_TOKENS: site.language.prompt_tokens_per_s,
                    WorkKind.OUTPUT_TOKENS: site.language.output_tokens_per_s,
                },
                site.language.start.total_s,
            ),
        },
        first_token_s=setting.get("first_token_s", site.objectives.first_token_s),
        quiet_s=setting.get("quiet_s", 300.0),
    )


def _side(
    side: SideContext, setting: Setting, gpus: int, capacity: dict[WorkKind, float], start_s: float
) -> SideSettings:
    return SideSettings(
        minimum=side.least(setting), maximum=side.most, gpus=gpus, capacity=capacity, start_s=start_s
    )


def _seen(role: Role, old: SideSample, new: SideSample, sample: Sample, before: Sample) -> SideSeen:
    seconds = sample.at - before.at
    if role is Role.VISION:
        work = {WorkKind.TILES: _work(old.arrived, new.arrived, new.waiting, old.full, new.full, seconds)}
    else:
        work = {
            WorkKind.PROMPT_TOKENS: _work(
                old.arrived_prompt_tokens,
                new.arrived_prompt_tokens,
                new.waiting_prompt_tokens,
                old.full,
                new.full,
                seconds,
            ),
            WorkKind.OUTPUT_TOKENS: _work(
                old.arrived_output_tokens,
                new.arrived_output_tokens,
                new.waiting_output_tokens,
                old.full_output,
                new.full_output,
                seconds,
            ),
        }
    return SideSeen(
        load=SideLoad(
            at=EPOCH_S + sample.at,
            window_s=seconds,
            work=work,
            requests=(new.arrived_requests - old.arrived_requests) / seconds,
            running=new.running,
            answered_replicas=new.ready,
            expected_replicas=new.ready,
        ),
        target=new.target,
        ready=new.ready,
    )


def _work(arrived: float, now: float, waiting: float, old: Full, new: Full, seconds: float) -> Work:
    return Work(
        arriving=(now - arrived) / seconds,
        waiting=waiting,
        done_while_full=new.done - old.done,
        seconds_while_full=new.seconds - old.seconds,
    )


ENTRY = Entry(
    name="ours",
    title="this operator",
    make=make,
    default={},
    sweep=grid(first_token_s=(0.5, 1.0, 2.0, 4.0), quiet_s=(120.0, 300.0), least=(0.0, 0.8)),
)
