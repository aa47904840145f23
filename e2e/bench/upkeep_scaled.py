"""What many services cost one operator that scale by a load: `upkeep` with two InternVLScales a service.

A played Prometheus tells a light load that is a little different in every round: what is decided stays the same, so
nothing may be written at rest.
"""

from e2e.bench import upkeep
from e2e.bench.result import BenchResult


def run(sizes: tuple[int, ...] = upkeep.SIZES) -> BenchResult:
    """Measure at each of these sizes."""
    return upkeep.run_with(sizes, scaled=True)
