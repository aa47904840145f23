"""`python -m e2e.bench.autoscaling`: run the cases, print the tables and goals, write JSON and plots.

It goes on where it was interrupted. Exit status 1 when a goal was missed; nothing in the tests depends on it.
"""

import argparse
import os
import sys
from pathlib import Path

from e2e.bench.autoscaling import running, store
from e2e.bench.autoscaling.judge import goals, plots, tables
from e2e.bench.autoscaling.judge.record import Record
from e2e.bench.autoscaling.plan import Depth, cases, chosen
from e2e.bench.autoscaling.site import SITES
from e2e.bench.autoscaling.traces.catalogue import TRACES
from e2e.bench.result import ROOT

SHARED_TRACES = ROOT.parent / "shared" / "traces"


def main() -> int:
    """Run what is wanted; the exit status."""
    options = _options()
    folder = options.traces if options.traces.is_dir() else None
    wanted = chosen(
        sites=options.site,
        fleets=options.fleet,
        traces=options.trace,
        depth=None if options.depth is None else Depth[options.depth.upper()],
    )
    if not options.report:
        running.run_all(wanted, folder, options.out, options.processes)
    records = [record for case in cases() if (record := Record.read(options.out, case.name)) is not None]
    if not records:
        print("no case has been run", file=sys.stderr)
        return 1
    judged = goals.judge(records)
    text = "\n\n".join((*tables.all_tables(records), "\n".join(goal.line() for goal in judged)))
    print(text)
    (options.out / "tables.txt").write_text(text + "\n")
    for path in plots.draw_all(records, options.out):
        print(path)
    return 0 if all(goal.is_ok for goal in judged) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.bench.autoscaling", description=__doc__)
    parser.add_argument("--traces", type=Path, default=SHARED_TRACES, help="folder of published traces")
    parser.add_argument("--site", action="append", default=[], choices=sorted(SITES))
    parser.add_argument("--fleet", action="append", default=[], type=int, help="replicas of both sides")
    parser.add_argument("--trace", action="append", default=[], choices=list(TRACES))
    parser.add_argument("--depth", choices=[depth.name.lower() for depth in Depth], help="how fine a sweep")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=store.FOLDER, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="run nothing; tables of what is there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
