"""`python -m e2e.bench.autoscaling`: run the cases, print the tables and goals, write JSON, CSV and plots.

It goes on where it was interrupted. Exit status 1 when a goal was missed; nothing in the tests depends on it.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from e2e.bench.autoscaling import running, store
from e2e.bench.autoscaling.judge import goals, plots, sweep, tables
from e2e.bench.autoscaling.judge.record import Record
from e2e.bench.autoscaling.plan import Depth, cases, chosen
from e2e.bench.autoscaling.site import SITES
from e2e.bench.autoscaling.traces.catalogue import TRACES
from e2e.bench.result import ROOT

SHARED_TRACES = ROOT.parent / "shared" / "traces"


def main() -> int:
    """Run what is wanted; the exit status."""
    options = _options()
    folder = options.traces
    wanted = chosen(
        sites=options.site,
        fleets=options.fleet,
        traces=options.trace,
        depth=None if options.depth is None else Depth[options.depth.upper()],
    )
    if not options.report:
        for sentence in missing(folder, [case.trace for case in wanted]):
            print(sentence, file=sys.stderr)
        running.run_all(wanted, folder, options.out, options.processes)
    sources = store.sources_digest()
    records, outdated = read_records(options.out, folder, sources)
    if outdated:
        print(
            f"Left out, run with other code or other traces ({len(outdated)}): {', '.join(outdated)}. "
            "Without --report they are run anew.\n"
        )
    if not records:
        print("no case has been run", file=sys.stderr)
        return 1
    judged = goals.judge(records)
    text = "\n\n".join(
        (*tables.all_tables(records), tables.of_goals(judged), tables.origin(records, sources))
    )
    print(text)
    (options.out / "tables.txt").write_text(text + "\n")
    for path in (sweep.write(records, options.out), *plots.draw_all(records, options.out)):
        print(path)
    return 1 if any(goal.is_ok is False for goal in judged) else 0


def missing(folder: Path | None, traces: Iterable[str]) -> Iterator[str]:
    """A sentence for each of these traces that is published, but not in this folder; none without a folder."""
    for trace in (TRACES[name] for name in dict.fromkeys(traces)):
        if folder is None or trace.published is None:
            continue
        try:
            trace.published(folder, 1)
        except FileNotFoundError as error:
            what = str(error) if error.filename is None else f"{error.filename} is missing"
            yield f"{trace.name} is made up: {what}"


def read_records(out: Path, folder: Path | None, sources: str) -> tuple[list[Record], list[str]]:
    """The cases that were run with this code on these traces, and the names of those that were with others."""
    records, outdated = [], []
    for case in cases():
        record = Record.read(out, case.name)
        if record is None:
            continue
        if record.digest == case.digest(folder, sources):
            records.append(record)
        else:
            outdated.append(record.name)
    return records, outdated


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.bench.autoscaling", description=__doc__)
    parser.add_argument(
        "--traces", type=Path, help="folder of published traces; else ../shared/traces, if it is there"
    )
    parser.add_argument("--site", action="append", default=[], choices=sorted(SITES))
    parser.add_argument("--fleet", action="append", default=[], type=int, help="replicas of both sides")
    parser.add_argument("--trace", action="append", default=[], choices=list(TRACES))
    parser.add_argument("--depth", choices=[depth.name.lower() for depth in Depth], help="how fine a sweep")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=store.FOLDER, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="run nothing; tables of what is there")
    options = parser.parse_args()
    if options.traces is None:
        options.traces = SHARED_TRACES if SHARED_TRACES.is_dir() else None
    elif not options.traces.is_dir():
        parser.error(
            f"--traces {options.traces} is no folder: name the one in which the published traces lie, or leave it out"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
