"""Runs cases in processes of their own."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from e2e.bench.autoscaling import store
from e2e.bench.autoscaling.case import Case
from e2e.bench.autoscaling.plan import Planned


def run_all(wanted: Sequence[Planned], folder: Path | None, out: Path, processes: int) -> None:
    """Run these cases, several at once, and say how far it is."""
    began = time.monotonic()
    sources = store.sources_digest()
    print(
        f"{len(wanted)} cases, traces {'from ' + str(folder) if folder else 'made up, none given'}",
        flush=True,
    )
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(run_case, planned, folder, out, sources): planned for planned in wanted}
        for number, future in enumerate(as_completed(asked), start=1):
            ran, seconds = future.result()
            name = asked[future].name
            print(
                f"[{time.monotonic() - began:6.1f} s] {number} of {len(wanted)} {name}: {ran} runs, {seconds:.0f} s",
                flush=True,
            )


def run_case(planned: Planned, folder: Path | None, out: Path, sources: str) -> tuple[int, float]:
    """Make the runs of one case that are not there yet; how many, and seconds."""
    began = time.monotonic()
    case = Case(planned.site, planned.fleet, planned.trace, folder)
    file = store.CaseFile(out, case.name, sources, case.note)
    file.body["traffic"] = file.body.get("traffic") or case.description()
    ran = 0
    for work in case.works(planned.depth):
        if not file.has(work.key):
            file.add(work.key, case.run(work))
            ran += 1
    return ran, time.monotonic() - began
