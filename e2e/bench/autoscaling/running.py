"""Runs cases in processes of their own."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from e2e.bench.autoscaling import store
from e2e.bench.autoscaling.case import Case, Work
from e2e.bench.autoscaling.judge.record import ATTAINED
from e2e.bench.autoscaling.plan import Planned
from e2e.bench.autoscaling.policies.catalogue import OURS


def run_all(wanted: Sequence[Planned], folder: Path | None, out: Path, processes: int) -> None:
    """Run these cases, several at once, and say how far it is."""
    began = time.monotonic()
    sources = store.sources_digest()
    print(
        f"{len(wanted)} cases, traces {'from ' + str(folder) if folder else 'made up, none given'}",
        flush=True,
    )
    with workers(processes) as pool:
        asked = {
            pool.submit(run_case, planned, folder, out, planned.digest(folder, sources)): planned
            for planned in wanted
        }
        for number, future in enumerate(as_completed(asked), start=1):
            ran, seconds = future.result()
            name = asked[future].name
            print(
                f"[{time.monotonic() - began:6.1f} s] {number} of {len(wanted)} {name}: {ran} runs, {seconds:.0f} s",
                flush=True,
            )


def run_case(planned: Planned, folder: Path | None, out: Path, digest: str) -> tuple[int, float]:
    """Make the runs of one case that are not there yet; how many, and seconds."""
    began = time.monotonic()
    case = Case(planned.site, planned.fleet, planned.trace, folder)
    file = store.CaseFile(out, case.name, digest, case.note)
    file.body["traffic"] = file.body.get("traffic") or case.description()
    before = len(file.body["runs"])
    ours = 1.0
    for work in case.works(planned.depth):
        share = attained(case, work, file)
        if work.policy == OURS.name and work.setting == OURS.default:
            ours = share

    def attains(work: Work, wanted: float = ATTAINED) -> bool:
        return attained(case, work, file) >= wanted

    least = 0
    for works in case.oracles():
        least = first_that_attains(works, attains, least=least)
    static_peaks = case.static_peaks()
    first_that_attains(static_peaks, attains)
    if case.trace.name == "step":
        # Nobody attains much there; so also the plan that attains what ours does.
        first_that_attains(static_peaks, lambda work: attains(work, ours))
    return len(file.body["runs"]) - before, time.monotonic() - began


def workers(processes: int) -> ProcessPoolExecutor:
    """Processes that end when whoever started them is gone, also by SIGKILL; else each would go on with its case for minutes."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "this is the parent"

    def wait_and_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


def first_that_attains(works: Sequence[Work], attains: Callable[[Work], bool], *, least: int = 0) -> int:
    """Where the cheapest one is, from `least` on; what costs more attains too. The last one where none does.

    By ever longer steps, then by halving: it is seldom far from where the search begins.
    """
    most, step = len(works) - 1, 1
    tried = least
    while tried < most and not attains(works[tried]):
        least, tried, step = tried + 1, tried + step, 2 * step
    most = min(tried, most)
    while least < most:
        middle = (least + most) // 2
        if attains(works[middle]):
            most = middle
        else:
            least = middle + 1
    attains(works[least])
    return least


def attained(case: Case, work: Work, file: store.CaseFile) -> float:
    """Share of the second half, of a run that is made unless it was before."""
    runs: dict[str, dict[str, Any]] = file.body["runs"]
    if not file.has(work.key):
        like = work.like or case.unbound_like(work, runs)
        same = {"policy": work.policy, "setting": dict(work.setting)}
        file.add(work.key, {**runs[like], **same} if like else case.run(work))
    return float(runs[work.key]["judged"]["attained"])
