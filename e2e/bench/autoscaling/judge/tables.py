"""The tables that a person reads, in Markdown."""

from collections.abc import Callable, Iterable, Sequence

from e2e.bench.autoscaling.judge.goals import Goal
from e2e.bench.autoscaling.judge.record import Record, Result, percent
from e2e.bench.autoscaling.policies.catalogue import ENTRIES, OURS, PEERS, UNSTATED
from e2e.bench.autoscaling.site import SITES

OTHERS = {
    "coupled-measured": "coupled, measured, our rule",
    "coupled-ideal": "coupled, ideal, our rule",
    "static-peak": "static peak",
    "minute-oracle": "minute oracle",
    "oracle": "oracle",
}
COUPLED = tuple(OTHERS)[:2]
TITLES = {**{entry.name: entry.title for entry in (OURS, UNSTATED, *PEERS)}, **OTHERS}
DEFAULTS = (OURS.name, UNSTATED.name, *(peer.name for peer in PEERS), *COUPLED)
NONE = "-"


def all_tables(records: Sequence[Record]) -> list[str]:
    """Traffic first, then for each site and fleet: untuned, tuned, and both at equal cost."""
    tables = [_traffic(records)]
    for site in SITES:
        for fleet in sorted({record.fleet for record in records if record.site == site}):
            some = [record for record in records if record.site == site and record.fleet == fleet]
            title = f"{SITES[site].title}, fleet of {fleet}"
            over = ["ours over the cheapest oracle at 99 %", *(_over_oracle(record) for record in some)]
            tables += [
                _by_trace(f"{title}: defaults, share attained / GPU-hours", some, _default, DEFAULTS, over),
                _by_trace(f"{title}: defaults, worst minute / changes of a number", some, _worst, DEFAULTS),
            ]
            if all(len(record.of(OURS.name)) > 1 for record in some):
                tables += [
                    _by_trace(
                        f"{title}: tuned on the first half, judged on the second: share attained / GPU-hours",
                        some,
                        _tuned,
                        ENTRIES,
                    ),
                    _by_trace(
                        f"{title}: share attained at the GPU-hours of our defaults", some, _equal, ENTRIES
                    ),
                ]
            tables.append(
                _by_trace(
                    f"{title}: least GPU-hours at 99 %, over the oracle's", some, _least, (*ENTRIES, *OTHERS)
                )
            )
    return tables


def of_goals(judged: Sequence[Goal]) -> str:
    """Each goal with its figures."""
    return rendered(
        "Goals", ("goal", "figures", ""), [(goal.what, goal.figures, goal.mark) for goal in judged]
    )


def origin(records: Sequence[Record], sources: str) -> str:
    """Which code the figures are of, and when it ran."""
    days = sorted({record.day for record in records})
    return f"Of the code {sources}, run on {' to '.join(dict.fromkeys((days[0], days[-1])))}."


def rendered(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that can be read in a terminal and pasted into a page."""
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

    rule = f"| {' | '.join('-' * max(width, 3) for width in widths)} |"
    return "\n".join([f"{title}:", "", line(columns), rule, *map(line, rows)])


def _traffic(records: Sequence[Record]) -> str:
    rows = [
        [
            record.name,
            f"{record.traffic['requests']:,}",
            f"{record.traffic['mean_vision']:.1f} + {record.traffic['mean_language']:.1f}",
            f"{record.traffic['peak_minute_vision']:.1f} + {record.traffic['peak_minute_language']:.1f}",
            f"{record.traffic['correlation_requests']:+.2f}",
            f"{record.traffic['correlation_work']:+.2f}",
            record.traffic["note"],
        ]
        for record in records
    ]
    columns = ("case", "requests", "mean load", "highest minute", "requests corr.", "work corr.", "from")
    return rendered("Traffic; loads in replicas, vision + language", columns, rows)


def _by_trace(
    title: str,
    records: Sequence[Record],
    cell: Callable[[Record, str], str],
    policies: Iterable[str],
    *more: Sequence[str],
) -> str:
    """One row a policy that was run, then `more` rows."""
    rows = [
        [TITLES[policy], *(cell(record, policy) for record in records)]
        for policy in policies
        if any(record.of(policy) for record in records)
    ]
    return rendered(title, ("", *(record.trace for record in records)), [*rows, *more])


def _figures(result: Result | None) -> str:
    return NONE if result is None else f"{percent(result.attained)} / {result.gpu_hours:.0f}"


def _default(record: Record, policy: str) -> str:
    return _figures(record.default(policy))


def _tuned(record: Record, policy: str) -> str:
    return _figures(record.tuned(policy))


def _worst(record: Record, policy: str) -> str:
    result = record.default(policy)
    return (
        NONE
        if result is None
        else f"{percent(result.judged['worst_minute'], 0)} / {result.judged['changes']}"
    )


def _equal(record: Record, policy: str) -> str:
    ours = record.default(OURS.name)
    share = None if ours is None else record.at_cost(policy, ours.gpu_hours)
    return NONE if share is None else percent(share)


def _least(record: Record, policy: str) -> str:
    found, oracle = record.cheapest(policy), record.cheapest("oracle")
    return NONE if found is None or oracle is None else f"{found.gpu_hours / oracle.gpu_hours:.2f}"


def _over_oracle(record: Record) -> str:
    ours, oracle = record.default(OURS.name), record.cheapest("oracle")
    if ours is None or oracle is None or not ours.is_comparable:
        return NONE
    return f"{ours.gpu_hours / oracle.gpu_hours:.2f}"
