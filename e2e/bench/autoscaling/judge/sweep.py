"""Every run of every setting, for who wants to choose or to judge otherwise."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from e2e.bench.autoscaling.judge.record import Record, Result

NAME = "sweep.csv"
_FIGURES = ("attained", "gpu_hours", "worst_minute", "changes")
_COLUMNS = (
    "site",
    "fleet",
    "trace",
    "policy",
    "setting",
    "chosen",
    "tuning_attained",
    "tuning_gpu_hours",
    *(f"judged_{figure}" for figure in _FIGURES),
)


def write(records: Iterable[Record], folder: Path) -> Path:
    """One row a run, as CSV; the file's path.

    `setting` is empty for a policy's defaults. `chosen` is 1 for the one that a person takes who knows the first half
    ("tuning"); the second half is "judged".
    """
    path = folder / NAME
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for record in records:
            rows.writerows(_row(record, result) for result in record.results)
    return path


def _row(record: Record, result: Result) -> Sequence[object]:
    return (
        record.site,
        record.fleet,
        record.trace,
        result.policy,
        " ".join(f"{name}={value:g}" for name, value in result.setting.items()),
        int(record.tuned(result.policy) is result),
        f"{result.tuning['attained']:.4f}",
        f"{result.tuning['gpu_hours']:.1f}",
        *(f"{result.judged[figure]:.4g}" for figure in _FIGURES),
    )
