"""Which cases the benchmark consists of, and how finely each is swept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

from e2e.bench.autoscaling import store
from e2e.bench.autoscaling.traces.catalogue import TRACES

Item = TypeVar("Item")


class Depth(IntEnum):
    """How many settings of a policy are tried, beside its defaults."""

    DEFAULTS = 0
    COARSE = 5
    """Every fifth, ours and peers' alike: no choice has five values, so several of each are tried."""
    FULL = 1
    """All."""

    def thinned(self, settings: Sequence[Item]) -> Sequence[Item]:
        """Those that are tried."""
        return settings[:: int(self)] if self else ()


@dataclass(frozen=True, slots=True)
class Planned:
    """One case to run."""

    site: str
    fleet: int
    trace: str
    depth: Depth

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.site}-{self.fleet}-{self.trace}"

    def digest(self, folder: Path | None, sources: str) -> str:
        """Of what its runs are of, when they are made now."""
        return store.case_digest(sources, TRACES[self.trace].files(folder))


LARGE = ("smooth", "servegen", "azure", "flash")
"""A hundred replicas answer a million requests, so these traces must do; of the light site it would be several millions."""


def cases() -> tuple[Planned, ...]:
    """All, those first that the tables rest on, and short ones last: no process ends long before the others."""
    return (
        *(Planned("heavy", 20, trace, Depth.FULL) for trace in TRACES),
        *(Planned("light", 20, trace, Depth.COARSE) for trace in TRACES),
        *(Planned("heavy", 4, trace, Depth.COARSE) for trace in TRACES),
        *(Planned("heavy", 100, trace, Depth.DEFAULTS) for trace in LARGE),
        *(Planned("light", 4, trace, Depth.DEFAULTS) for trace in TRACES),
    )


def chosen(
    *, sites: Iterable[str], fleets: Iterable[int], traces: Iterable[str], depth: Depth | None
) -> list[Planned]:
    """Those of `cases` that are wanted; nothing given means all."""
    wanted_sites, wanted_fleets, wanted_traces = set(sites), set(fleets), set(traces)
    return [
        Planned(case.site, case.fleet, case.trace, case.depth if depth is None else depth)
        for case in cases()
        if (not wanted_sites or case.site in wanted_sites)
        and (not wanted_fleets or case.fleet in wanted_fleets)
        and (not wanted_traces or case.trace in wanted_traces)
    ]
