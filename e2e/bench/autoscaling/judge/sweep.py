"""Every run of every setting, for who wants to choose or to judge otherwise."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from e2e.bench.autoscaling.judge.record import Record, Result
from e2e.bench.autoscaling.policies.catalogue import ENTRIES

NAME = "sweep.csv"
_FORMATS = {"attained": ".4f", "gpu_hours": ".1f", "worst_minute": ".4f", "changes": "g"}
_COLUMNS = (
    "site",
    "fleet",
    "trace",
    "policy",
    "setting",
    "is_default",
    "is_chosen",
    "tuning_attained",
    "tuning_gpu_hours",
    *(f"judged_{figure}" for figure in _FORMATS),
)


def write(records: Iterable[Record], folder: Path) -> Path:
    """One row a run, as CSV; the file's path.

    `is_default` is 1 for the defaults of a policy that can be tuned, and `is_chosen` for what a person takes of it who
    knows the first half ("tuning"); the second half is "judged".
    """
    path = folder / NAME
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for record in records:
            rows.writerows(_row(record, result) for result in record.results)
    return path


def _row(record: Record, result: Result) -> Sequence[object]:
    is_tuned = result.policy in ENTRIES
    return (
        record.site,
        record.fleet,
        record.trace,
        result.policy,
        " ".join(f"{name}={value:g}" for name, value in result.setting.items()),
        int(is_tuned and record.default(result.policy) is result),
        int(is_tuned and record.tuned(result.policy) is result),
        *(f"{result.tuning[figure]:{_FORMATS[figure]}}" for figure in ("attained", "gpu_hours")),
        *(f"{result.judged[figure]:{form}}" for figure, form in _FORMATS.items()),
    )
