"""The pictures: what each policy attains for its GPU-hours, and how replicas follow the load."""

from collections.abc import Sequence
from pathlib import Path

from e2e.bench.autoscaling.judge.chart import COLOURS, Axis, Panel, Series, draw
from e2e.bench.autoscaling.judge.record import Record
from e2e.bench.autoscaling.policies.catalogue import ENTRIES, OURS

COLUMNS = 4
PANEL = (250, 190)
LEAST_SHARE = 0.8
DEAREST = 4.0
"""GPU-hours beyond so many times the oracle's are not shown."""
FOLLOWED = ("bursts", "azure", "swings", "step")


def draw_all(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write the pictures that these cases have results for; returns their paths."""
    paths = []
    for site, fleet in sorted({(record.site, record.fleet) for record in records}):
        some = [record for record in records if (record.site, record.fleet) == (site, fleet)]
        paths += _write(_frontiers(some), folder / f"frontier-{site}-{fleet}.png")
        paths += _write(_followed(some), folder / f"replicas-{site}-{fleet}.png")
    return paths


def _write(panels: tuple[list[Panel], list[Series]], path: Path) -> list[Path]:
    if not panels[0]:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = min(COLUMNS, len(panels[0]))
    draw(panels[0], columns=columns, size=PANEL, legend=panels[1]).save(path, optimize=True)
    return [path]


def _frontiers(records: Sequence[Record]) -> tuple[list[Panel], list[Series]]:
    """Share attained over GPU-hours, relative to the oracle at 99 %: one point a setting, ours on top."""
    colours = dict(zip((*ENTRIES, "oracle"), COLOURS, strict=True))
    order = ("oracle", *reversed(ENTRIES))
    panels = []
    for record in records:
        oracle = record.cheapest("oracle")
        if oracle is None:
            continue
        series = [
            Series(
                policy,
                [
                    (result.gpu_hours / oracle.gpu_hours, result.attained)
                    for result in record.of(policy)
                    if result.gpu_hours <= DEAREST * oracle.gpu_hours and result.attained >= LEAST_SHARE
                ],
                colours[policy],
                joined=False,
            )
            for policy in order
        ]
        x = Axis("GPU-hours / oracle's at 99 %", 0.0, DEAREST)
        panels.append(Panel(record.name, x, Axis("", LEAST_SHARE, 1.0, percent=True), series))
    legend = [
        Series(ENTRIES[name].title if name in ENTRIES else name, (), colour)
        for name, colour in colours.items()
    ]
    return panels, legend


def _followed(records: Sequence[Record]) -> tuple[list[Panel], list[Series]]:
    """Load and replicas of the language side over the hours, ours and the utilisation rule that most people have."""
    panels = []
    for record in records:
        ours, other = record.default(OURS.name), record.default("hpa")
        if record.trace not in FOLLOWED or ours is None or not ours.series:
            continue
        lines = [
            Series("load", _hours(ours.series["language_load"]), COLOURS[5]),
            Series("replicas", _hours(ours.series["language"]), COLOURS[0]),
        ]
        if other is not None and other.series:
            lines.insert(1, Series("hpa", _hours(other.series["language"]), COLOURS[1]))
        most = max(value for line in lines for _, value in line.points)
        hours = len(ours.series["language"]) / 60
        panels.append(Panel(f"{record.name}, language", Axis("hours", 0, hours), Axis("", 0, most), lines))
    legend = [
        Series("load, in replicas", (), COLOURS[5]),
        Series(ENTRIES[OURS.name].title, (), COLOURS[0]),
        Series(ENTRIES["hpa"].title, (), COLOURS[1]),
    ]
    return panels, legend


def _hours(values: Sequence[float]) -> list[tuple[float, float]]:
    return [(minute / 60, value) for minute, value in enumerate(values)]
