"""The tables that a person reads."""

from collections.abc import Callable, Sequence

from e2e.bench.autoscaling.judge.record import Record, Result
from e2e.bench.autoscaling.policies.catalogue import ENTRIES, OURS
from e2e.bench.autoscaling.site import SITES
from e2e.bench.autoscaling.traces.catalogue import TRACES

OTHERS = ("coupled-measured", "coupled-ideal", "static-peak", "minute-oracle", "oracle")
NONE = "-"


def all_tables(records: Sequence[Record]) -> list[str]:
    """Traffic first, then for each site and fleet: untuned, tuned, and both at equal cost."""
    tables = [_traffic(records)]
    for site in SITES:
        for fleet in sorted({record.fleet for record in records if record.site == site}):
            some = [record for record in records if record.site == site and record.fleet == fleet]
            title = f"{SITES[site].title}, fleet of {fleet}"
            tables.append(_by_trace(f"{title}: defaults, share attained / GPU-h", some, _default, OTHERS[:2]))
            tables.append(_by_trace(f"{title}: defaults, worst minute / changes", some, _worst, OTHERS[:2]))
            if all(len(record.of(OURS.name)) > 1 for record in some):
                tables += [
                    _by_trace(f"{title}: tuned on the first half, judged on the second", some, _tuned, ()),
                    _by_trace(f"{title}: share attained at the GPU-hours of our defaults", some, _equal, ()),
                ]
            tables.append(
                _by_trace(f"{title}: least GPU-hours at 99 %, over the oracle's", some, _least, OTHERS)
            )
    return tables


def rendered(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal."""
    lines = [list(columns), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([title, "", text[0], "  ".join("-" * width for width in widths), *text[1:]])


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
    title: str, records: Sequence[Record], cell: Callable[[Record, str], str], others: Sequence[str]
) -> str:
    names = {record.trace: TRACES[record.trace].name for record in records}
    rows = [
        [
            ENTRIES[policy].title if policy in ENTRIES else policy,
            *(cell(record, policy) for record in records),
        ]
        for policy in (*ENTRIES, *others)
    ]
    return rendered(title, ("", *names.values()), rows)


def _figures(result: Result | None) -> str:
    return NONE if result is None else f"{result.attained:.1%} / {result.gpu_hours:.0f}"


def _default(record: Record, policy: str) -> str:
    return _figures(record.default(policy))


def _tuned(record: Record, policy: str) -> str:
    return _figures(record.tuned(policy))


def _worst(record: Record, policy: str) -> str:
    result = record.default(policy)
    return NONE if result is None else f"{result.judged['worst_minute']:.0%} / {result.judged['changes']}"


def _equal(record: Record, policy: str) -> str:
    ours = record.default(OURS.name)
    share = None if ours is None else record.at_cost(policy, ours.gpu_hours)
    return NONE if share is None else f"{share:.1%}"


def _least(record: Record, policy: str) -> str:
    found, oracle = record.cheapest(policy), record.cheapest("oracle")
    return NONE if found is None or oracle is None else f"{found.gpu_hours / oracle.gpu_hours:.2f}"
