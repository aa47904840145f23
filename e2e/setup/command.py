"""What `python3 -m e2e.setup` does: make the named things, each only when it is not there yet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from e2e.cluster import binaries
from e2e.cluster.nodes.programs import ensure_helm
from e2e.setup import progress, tools
from e2e.setup.cache import Cache
from e2e.setup.checkout import ensure_thin_environment
from e2e.setup.environments import DEV, RUN, ensure_environment, lock_constraints
from e2e.setup.errors import SetupFailed

ROOT = Path(__file__).resolve().parents[2]
_THIN_NAMES = {RUN.name: ".venv", DEV.name: ".venv-dev"}


def main(arguments: list[str]) -> int:
    """Make what was asked for; exit status 1 with one message when it cannot be."""
    parser = argparse.ArgumentParser(prog="python3 -m e2e.setup", description=__doc__)
    parser.add_argument(
        "what",
        nargs="+",
        choices=["run", "dev", "cluster", "helm", "lock"],
        help="environments, programs, constraints.txt",
    )
    wanted = parser.parse_args(arguments).what
    cache = Cache.from_environment()
    try:
        for environment in (RUN, DEV):
            if environment.name in wanted:
                heavy = ensure_environment(environment, cache=cache, root=ROOT)
                name = _THIN_NAMES[environment.name]
                ensure_thin_environment(name, heavy=heavy, root=ROOT, cache=cache)
        if RUN.name in wanted:
            tools.ensure_curl(cache)
        if "lock" in wanted:
            lock_constraints(cache=cache, root=ROOT)
        if "cluster" in wanted:
            binaries.ensure_binaries(cache)
        if "helm" in wanted:
            ensure_helm(cache)
    except SetupFailed as error:
        sys.stderr.write(f"\nerror: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"\nerror: {error}\nThe cache is {cache.root}; for another place: export INTERNVL_CACHE=/path\n"
        )
        return 1
    except KeyboardInterrupt:
        progress.say("interrupted; run the same command again and it goes on from here")
        return 130
    return 0
