"""What one run came to, in one span of time."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e2e.bench.autoscaling.requests import Floats, RequestClass
from e2e.bench.autoscaling.simulator.language_stage import allowed_s
from e2e.bench.autoscaling.simulator.run import Run

FEW = 20
"""A minute with fewer requests is not judged alone: one late request would be all of it."""
RECOVERED = 0.99
BIN_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Requests count where they arrive, replicas while they are paid for."""

    requests: int
    attained: float
    """Share with the first token and the tokens after it in time."""
    attained_by_class: dict[str, float]
    worst_minute: float
    """Least share attained in a minute of enough requests."""
    gpu_hours: float
    vision_gpu_hours: float
    changes: int
    """Of both targets, in the whole run."""
    first_token_p50_s: float
    first_token_p99_s: float
    inter_token_p99_s: float
    unanswered: int
    last_late_s: float
    """End of the last ten seconds in which fewer than 99 % attained, from the beginning of the run; 0: none."""

    def as_json(self) -> dict[str, Any]:
        """Numbers, rounded to what they are good for."""
        return {
            key: round(value, 5) if isinstance(value, float) else value for key, value in asdict(self).items()
        }


def attained(run: Run) -> NDArray[np.bool_]:
    """Which requests had their first token and the tokens after it in time."""
    requests, objectives = run.requests, run.site.objectives
    is_early = run.first_token - requests.at <= allowed_s(requests, run.site)
    good: NDArray[np.bool_] = is_early & (inter_token(run) <= objectives.inter_token_s)
    return good


def inter_token(run: Run) -> Floats:
    """Mean seconds between the tokens of each answer; infinite where it has no end."""
    has_ended = np.isfinite(run.ended)
    each: Floats = np.full(len(run.requests), np.inf)
    lasted = run.ended[has_ended] - run.first_token[has_ended]
    each[has_ended] = lasted / run.requests.output_tokens[has_ended]
    return each


def outcome(run: Run, begin_s: float, end_s: float) -> Outcome:
    """Judge the requests that arrive, and the replicas that are paid, between two times."""
    requests = run.requests
    chosen = (requests.at >= begin_s) & (requests.at < end_s)
    good = attained(run)
    at, ok = requests.at[chosen], good[chosen]
    first = (run.first_token - requests.at)[chosen]
    answered = np.isfinite(run.ended[chosen])
    each = inter_token(run)[chosen]
    vision = run.vision.replica_seconds(begin_s, end_s) * run.site.vision.gpus / 3600
    language = run.language.replica_seconds(begin_s, end_s) * run.site.language.gpus / 3600
    return Outcome(
        requests=len(at),
        attained=_share(ok),
        attained_by_class={kind.value: _share(good[chosen & requests.of(kind)]) for kind in RequestClass},
        worst_minute=float(np.min(_by_bin(at, ok, 60, FEW), initial=1.0)),
        gpu_hours=vision + language,
        vision_gpu_hours=vision,
        changes=run.vision.changes + run.language.changes,
        first_token_p50_s=_percentile(first[answered], 50),
        first_token_p99_s=_percentile(first[answered], 99),
        inter_token_p99_s=_percentile(each[answered], 99),
        unanswered=int(np.sum(~answered)),
        last_late_s=_last_late_s(at, ok),
    )


def _share(ok: NDArray[np.bool_]) -> float:
    return float(np.mean(ok)) if len(ok) else 1.0


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0


def _by_bin(at: NDArray[np.float64], ok: NDArray[np.bool_], seconds: int, least: int) -> NDArray[np.float64]:
    """Share attained in each span of so many seconds with at least so many requests; 1 in the others."""
    if not len(at):
        return np.ones(0)
    index = (at / seconds).astype(np.int64)
    count = np.bincount(index)
    shares = np.bincount(index, ok) / np.maximum(count, 1)
    return np.where(count >= least, shares, 1.0)


def _last_late_s(at: NDArray[np.float64], ok: NDArray[np.bool_]) -> float:
    late = np.flatnonzero(_by_bin(at, ok, BIN_S, FEW) < RECOVERED)
    return float(late[-1] + 1) * BIN_S if len(late) else 0.0
