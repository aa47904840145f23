"""`python -m e2e.bench [NAME [SIZE ...]] ...`: run the benchmarks, print their tables, write their JSON.

Sizes are for those that measure at several, `upkeep 100 300 1000`.

Exit status 1 when a goal was missed, so that a person or a script sees it; nothing in the tests depends on it.
"""

import importlib
import sys
import time

from e2e.bench.result import BenchResult

BENCHMARKS = {
    "continuous-batching": "e2e.bench.continuous_batching",
    "apply-to-ready": "e2e.bench.apply_to_ready",
    "measuring": "e2e.bench.measuring",
    "operator-at-rest": "e2e.bench.operator_at_rest",
    "replica-decisions": "e2e.bench.replica_decisions",
    "scaling-round": "e2e.bench.scaling_round",
    "two-writers": "e2e.bench.two_writers",
    "upkeep": "e2e.bench.upkeep",
    "upkeep-scaled": "e2e.bench.upkeep_scaled",
}
WHEN_NAMED = {
    "apply-to-answer": "e2e.bench.apply_to_answer",
    "load-to-target": "e2e.bench.load_to_target",
    "simulator-against-live": "e2e.bench.simulator_against_live",
}
"""Run only when named: they need root, or take many minutes."""


def main(words: list[str]) -> int:
    """Run the named benchmarks, or all; returns the exit status."""
    known = {**BENCHMARKS, **WHEN_NAMED}
    chosen: dict[str, list[int]] = {}
    for word in words:
        if word.isdecimal() and chosen:
            chosen[list(chosen)[-1]].append(int(word))
        else:
            chosen[word] = []
    unknown = [name for name in chosen if name not in known]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    missed = 0
    for name, sizes in (chosen or {name: [] for name in BENCHMARKS}).items():
        started = time.monotonic()
        print(f"==> {name}", flush=True)
        run = importlib.import_module(known[name]).run
        result: BenchResult = run(tuple(sizes)) if sizes else run()
        path = result.write()
        print(f"\n{result.table()}\n{path} ({time.monotonic() - started:.0f} s)\n", flush=True)
        missed += sum(not goal.ok for goal in result.goals)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
