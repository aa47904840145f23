"""All policies by name."""

from e2e.bench.autoscaling.policies import aibrix, dynamo, hpa, knative, modserve, ours, ray_serve
from e2e.bench.autoscaling.policies.base import Entry

OURS = ours.ENTRY
UNSTATED = ours.UNSTATED
"""Beside ours, and never tuned."""
PEERS: tuple[Entry, ...] = (
    ray_serve.ENTRY,
    hpa.UTILISATION,
    hpa.QUEUE,
    knative.ENTRY,
    aibrix.ENTRY,
    modserve.ENTRY,
    dynamo.ENTRY,
)
ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (OURS, *PEERS)}
"""Those that are tuned."""
