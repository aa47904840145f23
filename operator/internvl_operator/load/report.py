"""What a load came to: a table for people, and the same as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from internvl_operator.load.quantiles import Quantiles
from internvl_operator.load.tally import Tally

QUANTILES = (0.5, 0.95, 0.99)
LATE_S = 0.05
"""Sent so much later than due, at the 99th of a hundred, this machine was too slow for the load."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked of whom."""

    url: str
    model: str
    load: str
    """In one line."""
    started_at: float
    """When its plan began, in seconds since 1970."""


def encode_table(run: Run, tally: Tally) -> str:
    """The table that is printed at the end."""
    return "\n".join(_lines(run, tally))


def encode_json(run: Run, tally: Tally) -> dict[str, Any]:
    """The same, for programs. Seconds are seconds; the moments of the timeline are seconds after the start."""
    timeline = tally.timeline
    return {
        "url": run.url,
        "model": run.model,
        "load": run.load,
        "started_at": run.started_at,
        "seconds": tally.offered_s,
        "requests": {"due": tally.due, "answered": tally.answered, "failed": tally.failed},
        "errors": dict(tally.errors.most_common()),
        "rates": _rates(tally),
        "within_objectives": _share(tally.met, tally.due),
        "objectives": {
            "first_token_s": tally.objectives.first_token_s,
            "between_tokens_s": tally.objectives.between_tokens_s,
        },
        "seconds_by": {name: _quantiles(values) for name, values in _rows(tally)},
        "sent_late_s": _quantiles(tally.late),
        "timeline": {
            "width_s": timeline.width_s,
            "due": [each.due for each in timeline.bins],
            "answered": [each.answered for each in timeline.bins],
            "failed": [each.failed for each in timeline.bins],
            "first_token_p50_s": [each.first_token.quantile(0.5) for each in timeline.bins],
            "first_token_p95_s": [each.first_token.quantile(0.95) for each in timeline.bins],
        },
    }


def _lines(run: Run, tally: Tally) -> Iterator[str]:
    rates, objectives = _rates(tally), tally.objectives
    yield f"{run.url}  model {run.model}  {run.load}"
    yield ""
    yield f"{'requests':<24}{'due':>10}{'answered':>10}{'failed':>10}"
    yield f"{'':<24}{tally.due:>10}{tally.answered:>10}{tally.failed:>10}"
    due = "" if rates["due"] is None else f"{rates['due']:.2f}"
    yield f"{'per second':<24}{due:>10}{rates['answered']:>10.2f}{rates['failed']:>10.2f}"
    yield f"{'output tokens/s':<24}{'':>10}{rates['output_tokens']:>10.1f}"
    yield ""
    yield f"{'seconds':<24}{'p50':>10}{'p95':>10}{'p99':>10}{'largest':>10}"
    for name, values in _rows(tally):
        if values.count:
            yield f"{name:<24}" + "".join(
                f"{value:>10.3f}" for value in (*map(values.quantile, QUANTILES), values.largest)
            )
    yield ""
    yield (
        f"within {objectives.first_token_s:g} s to the first token and {objectives.between_tokens_s * 1000:g} ms "
        f"between tokens: {_share(tally.met, tally.due):.1%} of all that were due"
    )
    if tally.errors:
        yield ""
        for error, times in tally.errors.most_common():
            yield f"{times:>8} failed: {error}"
    if (tally.late.quantile(0.99) or 0.0) > LATE_S:
        yield ""
        yield (
            f"This machine was too slow for the load: 1 in 100 went out {tally.late.quantile(0.99):.3f} s late or "
            "more. That is in the figures above; send less, or from a faster machine."
        )


def _rows(tally: Tally) -> tuple[tuple[str, Quantiles], ...]:
    return (
        ("first token, text", tally.first_token[False]),
        ("first token, pictures", tally.first_token[True]),
        ("between tokens", tally.between_tokens),
        ("whole answer", tally.whole),
    )


def _rates(tally: Tally) -> dict[str, float | None]:
    """Per second: what was due in the time of the plan, and what came of it until the last one ended.

    What was due at one moment has no rate.
    """
    ended_s = max(tally.ended_s, 1e-9)
    return {
        "due": tally.due / tally.offered_s if tally.offered_s else None,
        "answered": tally.answered / ended_s,
        "failed": tally.failed / ended_s,
        "output_tokens": tally.tokens / ended_s,
    }


def _quantiles(values: Quantiles) -> dict[str, float | int | None]:
    return {
        "count": values.count,
        **{f"p{share * 100:g}": values.quantile(share) for share in QUANTILES},
        "largest": values.largest if values.count else None,
        "mean": values.sum / values.count if values.count else None,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
