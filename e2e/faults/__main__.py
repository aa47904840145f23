"""`python -m e2e.faults [NAME ...] [--again]`: run the cases, print their table, write `build/bench/faults.json`.

A case that reached its goals with these images is not run again, unless it is named or `--again` is given.
Exit status 1 when a goal was missed.
"""

import argparse
import sys
from pathlib import Path

from e2e.bench.result import FOLDER
from e2e.cluster.errors import ClusterFailed
from e2e.faults import document
from e2e.faults.case import Case, run_case
from e2e.faults.cases import CASES
from e2e.faults.endings import ENDINGS, Ending, run_ending
from e2e.faults.record import Record
from e2e.platform.world import standing_world

ALL: tuple[Case | Ending, ...] = (*CASES, *ENDINGS)


def main() -> int:
    """Run what is wanted; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m e2e.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to run, whatever is known of them")
    parser.add_argument("--again", action="store_true", help="run all of them, whatever is known")
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where faults.json lies")
    parser.add_argument(
        "--document", action="store_true", help="write the table of docs/failure-modes.md and end"
    )
    options = parser.parse_args()
    unknown = set(options.names) - {case.name for case in ALL}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; --list shows them")
    if options.list:
        for case in ALL:
            print(f"{case.name:36} {case.title}")
        return 0
    if options.document:
        document.write_table(Record.read(options.folder, images=()).cases)
        return 0
    try:
        with standing_world() as world:
            record = Record.read(options.folder, images=(world.operator.tag, world.runtime.tag))
            wanted = [
                case
                for case in ALL
                if case.name in options.names
                or (not options.names and (options.again or not record.has_passed(case.name)))
            ]
            for number, case in enumerate(wanted, start=1):
                print(f"==> {number} of {len(wanted)}: {case.title}", flush=True)
                outcome = run_ending(case, world) if isinstance(case, Ending) else run_case(case, world)
                record.add(outcome)
                print(record.lines_of(outcome), flush=True)
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result = record.result()
    print(f"\n{result.table()}\n{result.write(options.folder)}")
    return 0 if all(goal.ok for goal in result.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
